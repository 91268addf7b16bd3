"""One shard as an independent, idempotent task.

While a conversion runs, `.progress/` in the dataset directory holds the plan, the shards being
written and, for every finished shard, a small file with its size and checksum. A shard that is
there and agrees with that file is not written again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfrecords_tools.cut import Window, read_window
from tfrecords_tools.errors import SourceError
from tfrecords_tools.images import pixel_hash, read_stack
from tfrecords_tools.pool import check_stop
from tfrecords_tools.records import encode_example

PROGRESS_FOLDER = ".progress"

_HASH_BLOCK_BYTES = 1 << 20
# The place of an example is where it stands; its class index is a feature of its own.
_WINDOW = ("top_px", "left_px", "height_px", "width_px")
_NOT_IN_RECORDS = ("shard", "index", "class_index")


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to write one shard; `examples` are its rows of the plan, in order."""

    folder: Path
    source: Path
    file: str
    encoding: str
    first_row: int
    examples: pd.DataFrame


@dataclass(frozen=True)
class ShardFacts:
    """A finished shard, as listed in deadlib.json."""

    file: str
    split: str
    examples: int
    bytes: int
    sha256: str


def write_shard(task: ShardTask) -> ShardFacts:
    """Write one shard, unless it is there already, and return its facts.

    Raises OSError where the disk refuses, SourceError where an image has vanished or changed.
    """
    facts = finished_shard(task.folder, task.file)
    if facts is not None:
        return facts
    progress = task.folder / PROGRESS_FOLDER
    partial = progress / f"{task.file}.{os.getpid()}.partial"
    try:
        _write_records(task, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        facts = ShardFacts(
            file=task.file,
            split=str(task.examples["split"].iloc[0]),
            examples=len(task.examples),
            bytes=partial.stat().st_size,
            sha256=file_hash(partial),
        )
        write_whole(progress / f"{task.file}.json", json.dumps(asdict(facts)).encode(), progress)
        os.replace(partial, task.folder / task.file)
    finally:
        partial.unlink(missing_ok=True)
    return facts


def finished_shard(folder: Path, file: str) -> ShardFacts | None:
    """The facts of a shard that an earlier run finished, or None where it must be written."""
    try:
        tree = json.loads((folder / PROGRESS_FOLDER / f"{file}.json").read_bytes())
        facts = ShardFacts(**tree)
        whole = (folder / file).stat().st_size == facts.bytes
        return facts if whole and file_hash(folder / file) == facts.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_whole(path: Path, data: bytes, scratch: Path) -> None:
    """Write a file by way of the folder `scratch`: it is there whole or not at all."""
    partial = scratch / f"{path.name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_records(task: ShardTask, path: Path) -> None:
    import tensorflow as tf

    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for offset, (columns, image) in enumerate(_windows(task)):
                check_stop()
                writer.write(
                    encode_example(
                        {name: v for name, v in columns.items() if name not in _NOT_IN_RECORDS},
                        image,
                        task.encoding,
                        row=task.first_row + offset,
                        class_index=int(columns["class_index"]),
                    )
                )
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, str(error), str(path)) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, str(error), str(path)) from None


def _windows(task: ShardTask) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The rows of a shard with their pixels; an image is decoded once for its neighbours."""
    source_id, image = None, np.empty(0)
    for columns in task.examples.to_dict("records"):
        if columns["source_id"] != source_id:
            image = _read_source(task.source, columns)
            source_id = columns["source_id"]
        top, left, height, width = (int(columns[name]) for name in _WINDOW)
        window = Window(top, left, height, width)
        yield {str(name): value for name, value in columns.items()}, read_window(image, window)


def _read_source(source: Path, columns: dict[Any, Any]) -> np.ndarray:
    paths = [source / path for path in columns["source_paths"]]
    image = read_stack(paths)
    if pixel_hash(image) != columns["image_sha256"]:
        raise SourceError(
            f"{paths[0]}: the pixels have changed since the conversion was planned; leave the "
            "source folder alone while it is converted, and start again with --overwrite"
        )
    return image

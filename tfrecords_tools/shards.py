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
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords_tools.cut import WINDOW, Window, read_window
from tfrecords_tools.errors import ChangedImageError
from tfrecords_tools.images import pixel_checksum, read_stack
from tfrecords_tools.pool import check_stop
from tfrecords_tools.records import encode_example
from tfrecords_tools.tfrecord import write_records
from tfrecords_tools.wire import Bytes

PROGRESS_FOLDER = ".progress"
# The place of an example is where it stands; its class index is a feature of its own.
NOT_IN_RECORDS = ("shard", "index", "class_index")

_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to write one shard.

    `examples` holds the columns of its rows of the plan, in order, with None for what is absent:
    plain values, as a worker that knows pandas is ten times the size.
    """

    folder: Path
    source: Path
    file: str
    encoding: str
    first_row: int
    examples: dict[str, list[Any]]


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
    partial = _partial(progress, task.file)
    try:
        written = write_records(partial, _records(task))
        facts = ShardFacts(
            file=task.file,
            split=task.examples["split"][0],
            examples=written.records,
            bytes=written.bytes,
            sha256=written.sha256,
        )
        write_whole(progress / f"{task.file}.json", json.dumps(asdict(facts)).encode(), progress)
        os.replace(partial, task.folder / task.file)
    finally:
        partial.unlink(missing_ok=True)
    return facts


def finished_shard(folder: Path, file: str) -> ShardFacts | None:
    """The facts of a shard that an earlier run finished, or None where it must be written."""
    facts = noted_shard(folder, file)
    try:
        return facts if facts and file_hash(folder / file) == facts.sha256 else None
    except OSError:
        return None


def noted_shard(folder: Path, file: str) -> ShardFacts | None:
    """As `finished_shard`, but only the size of the shard is compared, not its checksum."""
    try:
        tree = json.loads((folder / PROGRESS_FOLDER / f"{file}.json").read_bytes())
        facts = ShardFacts(**tree)
        return facts if (folder / file).stat().st_size == facts.bytes else None
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
    partial = _partial(scratch, path.name)
    try:
        _write_through(partial, data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_first(path: Path, data: bytes, scratch: Path) -> None:
    """As `write_whole`, but of several that do so at once the first one's file stays."""
    partial = _partial(scratch, path.name)
    try:
        _write_through(partial, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            os.replace(partial, path)  # a file system without hard links
    finally:
        partial.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _partial(scratch: Path, name: str) -> Path:
    """A temporary name that no other process has, on whichever machine of a shared disk."""
    return scratch / f"{name}.{secrets.token_hex(8)}.partial"


def _records(task: ShardTask) -> Iterator[list[Bytes]]:
    for offset, (columns, image) in enumerate(_windows(task)):
        check_stop()
        yield encode_example(
            {name: value for name, value in columns.items() if name not in NOT_IN_RECORDS},
            image,
            task.encoding,
            row=task.first_row + offset,
            class_index=columns["class_index"],
        )


def _windows(task: ShardTask) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The rows of a shard with their pixels; an image is decoded once for its neighbours."""
    source_id, image = None, np.empty(0)
    for values in zip(*task.examples.values(), strict=True):
        columns = dict(zip(task.examples, values, strict=True))
        if columns["source_id"] != source_id:
            image = _read_source(task.source, columns)
            source_id = columns["source_id"]
        yield columns, read_window(image, Window(*(columns[name] for name in WINDOW)))


def _read_source(source: Path, columns: dict[str, Any]) -> np.ndarray:
    paths = [source / path for path in columns["source_paths"]]
    image = read_stack(paths)
    if pixel_checksum(image) != columns["image_crc32c"]:
        raise ChangedImageError(
            f"{paths[0]}: the pixels have changed since the conversion was planned"
        )
    return image

"""A split read once and kept, decoded and resized: in memory, or in one file on the disk.

The file is the images of `Source.batches` in order, as arrays one after another. Its name holds the
dataset's fingerprint and what was done to the images, so another dataset or another size is
another file. It is written beside under a lock and renamed: what stands under its name is whole,
and of several runs that want it one writes it while the others wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from deadlib.data.pipeline import LOADING_BATCH, Source, from_numpy
from deadlib.errors import RecipeError
from deadlib.outputs import write_errors
from deadlib.recipe import InputSection
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.random_access import aligned_empty

Progress = Callable[[str, int, int], None]

VERSION = 1
"""Of what stands in the file; another one for whatever changes the images of a batch."""

TAKEN_AT_MOST = 0.9
"""Share of the free memory that images may take; the network and its batches need some too."""

_MEMORY = Path("/proc/meminfo")


def hold(source: Source, progress: Progress | None = None) -> Source:
    """The same examples, with their images copied into memory."""
    images = aligned_empty((len(source.rows), *source.shape), source.dtype)
    for start, part in _parts(source, progress, "reading into memory"):
        images[start : start + len(part)] = part
    # Taken over without a copy, on the host, where tf.data gathers from it.
    held = tf.experimental.dlpack.from_dlpack(images.__dlpack__())
    return replace(source, read=lambda chosen: tf.gather(held, chosen))


def check_memory(needed_bytes: int, split: str) -> None:
    """Raise RecipeError where images of so many bytes cannot be held."""
    free_bytes = available_memory_bytes()
    if free_bytes is not None and needed_bytes > TAKEN_AT_MOST * free_bytes:
        raise RecipeError(
            f"input.cache: memory: the images of the split {split} take {_gib(needed_bytes)}, and "
            f"{_gib(free_bytes)} of memory are free; take disk or off, or a smaller input.size_px"
        )


def available_memory_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    if not _MEMORY.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _rows_hash(dataset: Dataset, split: str) -> str:
    """Which rows a split has, as a view may give it others."""
    rows = np.flatnonzero((dataset.manifest["split"] == split).to_numpy()).astype("<i8")
    return hashlib.sha256(rows.tobytes()).hexdigest()


def cache_path(folder: Path, dataset: Dataset, split: str, section: InputSection) -> Path:
    """Where `on_disk` keeps a split, by the dataset's fingerprint and the input section."""
    key = {
        "version": VERSION,
        "fingerprint": dataset.fingerprint,
        "split": split,
        "rows": _rows_hash(dataset, split),
        "input": section.model_dump(mode="json", exclude={"cache", "cache_folder"}),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / f"{dataset.name}-{split}-{digest[:16]}.images"


def on_disk(source: Source, path: Path, progress: Progress | None = None) -> Source:
    """The same examples, with their images in the file `path`, written now unless it is there.

    Raises WriteError where the disk refuses, RecipeError where it has no room.
    """
    size = source.image_bytes
    if not _is_whole(path, size):
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_name(f".{path.name}.partial")) as file:
                # While this process waited, another one may have written it.
                if not _is_whole(path, size):
                    _check_room(path, size)
                    _fill(file, source, progress)
                    os.replace(file.name, path)
                else:
                    Path(file.name).unlink(missing_ok=True)
    images = np.memmap(path, source.dtype, "r", shape=(len(source.rows), *source.shape))
    return replace(source, read=from_numpy(lambda chosen: images[chosen], source.dtype))


def _is_whole(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes


def _check_room(path: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(path.parent).free
    if size_bytes > free_bytes:
        raise RecipeError(
            f"input.cache: disk: {path} would take {_gib(size_bytes)}, and {_gib(free_bytes)} are "
            "free there; name a folder with more room in input.cache_folder, or take off"
        )


def _fill(file: BinaryIO, source: Source, progress: Progress | None) -> None:
    file.truncate(0)
    for _, part in _parts(source, progress, "writing the cache"):
        file.write(part.data)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file to write, which no other process writes; a lock ends with the process."""
    try:
        import fcntl
    except ImportError:
        raise RecipeError(
            "input.cache: disk needs file locks, which this system has not; use memory or off"
        ) from None

    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _parts(
    source: Source, progress: Progress | None, stage: str
) -> Iterator[tuple[int, np.ndarray]]:
    """The images in order, with where each part begins."""
    start = 0
    for part in source.batches(batch=LOADING_BATCH).as_numpy_iterator():
        yield start, part["image"]
        start += len(part["image"])
        if progress is not None:
            progress(stage, start, len(source.rows))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"

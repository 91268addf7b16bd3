"""Any image of a split, in any order, straight from its shard.

An index of where each record lies is made once, from the beginnings of the records. A raw image is
then read from its file into the very place where it is wanted, with no copy between, and checked
against the checksum of its record on the way. So the order of an epoch is any list of numbers, and
to go on in the middle of one is to begin at a later number.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from tfrecords_tools.dataset import MANIFEST, Dataset
from tfrecords_tools.errors import DatasetError
from tfrecords_tools.records import decode_example
from tfrecords_tools.tfrecord import Head, read_heads, read_into, read_record
from tfrecords_tools.wire import byte_spans

OPEN_FILES = 256
"""Shards kept open; below the 1,024 files that a process may usually open."""

_BEGINNING_BYTES = 4096
_INDEXED_TOGETHER = 8
_NO_RAW_IMAGE = (-1, -1)


class SplitReader:
    """Reads the images of one split by their number; safe to share between threads.

    Args:
        dataset: an open dataset.
        split: one of its splits.

    Raises DatasetError where the split is empty, or a shard is damaged or not that of the manifest.
    """

    def __init__(self, dataset: Dataset, split: str) -> None:
        manifest = dataset.manifest
        self.rows = np.flatnonzero((manifest["split"] == split).to_numpy())
        """(N,) int64, the manifest rows of the images, in order."""
        if not len(self.rows):
            raise DatasetError(
                f"{dataset.folder}: no split {split!r}; it has {', '.join(dataset.splits)}"
            )
        holding = set(manifest["shard"].iloc[self.rows])
        # of a view only some of the records, from shards of any split
        self._paths = [
            dataset.folder / shard["file"]
            for shard in dataset.info["shards"]
            if shard["file"] in holding
        ]
        shard_of = {path.name: place for place, path in enumerate(self._paths)}
        self._shard = manifest["shard"].iloc[self.rows].map(shard_of).to_numpy()
        self._index = manifest["index"].to_numpy()[self.rows]
        with ThreadPoolExecutor(_INDEXED_TOGETHER) as pool:
            found = list(pool.map(_spans, self._paths))
        for shard, path in enumerate(self._paths):
            listed = self._index[self._shard == shard]
            if len(listed) and listed.max() >= len(found[shard]):
                raise DatasetError(
                    f"{path}: ends before the record that {MANIFEST} lists; convert the images "
                    "again with --overwrite"
                )
        first = np.cumsum([0, *(len(spans) for spans in found)])
        self._spans = np.concatenate(found)[first[self._shard] + self._index]
        """(N, 4) int64, as `_spans`."""
        self._file = lru_cache(OPEN_FILES)(_File)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, number: int) -> np.ndarray:
        """The image of one number, (height, width, channel) in the data type of its record.

        Raises DatasetError where the record is damaged.
        """
        data = np.empty(self._spans[number, 1], np.uint8)
        self._read_into(number, [data])
        return decode_example(data.tobytes())[0]

    def read_batch(
        self, numbers: Sequence[int] | np.ndarray, shape: tuple[int, int, int], dtype: str
    ) -> np.ndarray:
        """Images of one size and data type as an array (len(numbers), *shape).

        Raises DatasetError where a record is damaged, or its image has another size or data type.
        """
        images = aligned_empty((len(numbers), *shape), dtype)
        for number in numbers:
            self._opened(number).will_need(*self._spans[number, :2].tolist())
        for image, number in zip(images, numbers, strict=True):
            _, length, start, image_bytes = self._spans[number].tolist()
            if image_bytes != image.nbytes:
                image[:] = self._read_alike(number, shape, dtype)
                continue
            before, pixels = np.empty(start, np.uint8), image.reshape(-1).view(np.uint8)
            after = np.empty(length - start - image_bytes, np.uint8)
            self._read_into(number, [before, pixels, after])
        return images

    def _read_alike(self, number: int, shape: tuple[int, int, int], dtype: str) -> np.ndarray:
        image = self.read(number)
        if image.shape != shape or image.dtype != dtype:
            raise DatasetError(
                f"{self._paths[self._shard[number]]}: record {self._index[number]} is an image of "
                f"{image.shape} {image.dtype}, {MANIFEST} and deadlib.json say {shape} {dtype}; "
                "convert the images again"
            )
        return image

    def _read_into(self, number: int, parts: list[np.ndarray]) -> None:
        path, index = self._paths[self._shard[number]], int(self._index[number])
        file = self._opened(number)  # held, as another thread may make it leave the cache
        read_into(file.number, int(self._spans[number, 0]), parts, path, index)

    def _opened(self, number: int) -> _File:
        return self._file(self._paths[self._shard[number]])


def aligned_empty(shape: Sequence[int], dtype: str) -> np.ndarray:
    """An array whose memory TensorFlow takes over as it is, which it does at multiples of 64."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class _File:
    """A file open for reading at any place; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        try:
            self.number = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def will_need(self, start: int, length: int) -> None:
        """Have the system fetch these bytes while others are being read."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.number, start, length, os.POSIX_FADV_WILLNEED)


def _spans(path: Path) -> np.ndarray:
    """Of every record of a shard: where its data start in the file and how long they are, and where
    the bytes of a raw image start in the data and how long they are, or -1 twice: (R, 4) int64."""
    found = [
        (head.start, head.length, *_raw_span(path, number, head))
        for number, head in enumerate(read_heads(path, _BEGINNING_BYTES))
    ]
    return np.array(found, np.int64).reshape(-1, 4)


def _raw_span(path: Path, number: int, head: Head) -> tuple[int, int]:
    data = head.beginning
    try:
        spans = byte_spans(data)
    except ValueError:
        spans = {}
    if "image" not in spans and len(data) < head.length:
        # Much text stands before the image.
        data = read_record(path, number)
        spans = byte_spans(data)
    start, length = spans.get("encoding", (0, 0))
    is_raw = data[start : start + length] == b"raw"
    return spans.get("image", _NO_RAW_IMAGE) if is_raw else _NO_RAW_IMAGE

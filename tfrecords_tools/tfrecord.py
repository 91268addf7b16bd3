"""TFRecord files, without TensorFlow.

A file is records one after another, each its length (uint64, little-endian), the masked CRC32C of
those 8 bytes, the data and the masked CRC32C of the data: the format of `tf.io.TFRecordWriter`,
described in tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c
import numpy as np

from tfrecords_tools.errors import DatasetError
from tfrecords_tools.wire import Bytes

HEADER_BYTES, FOOTER_BYTES = 12, 4

_LENGTH, _CRC = struct.Struct("<Q"), struct.Struct("<I")
_MASK = 0xA282EAD8
_BUFFER_BYTES = 1 << 18


class Written(NamedTuple):
    """What a file of records came to."""

    records: int
    bytes: int
    sha256: str


def write_records(path: Path, records: Iterable[Sequence[Bytes]]) -> Written:
    """Write a new file of records, each given in pieces, and flush it to the disk.

    Raises OSError where that fails.
    """
    count, size, digest = 0, 0, hashlib.sha256()
    with path.open("wb", buffering=_BUFFER_BYTES) as file:
        for pieces in records:
            length = _LENGTH.pack(sum(len(piece) for piece in pieces))
            for part in (length + _crc_bytes(length), *pieces, _crc_bytes(*pieces)):
                view = memoryview(part)  # type: ignore[arg-type]  # arrays are buffers
                file.write(view)
                digest.update(view)
                size += len(view)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return Written(count, size, digest.hexdigest())


def read_records(path: Path) -> Iterator[bytes]:
    """Every record of a file in order, its length and data checked against their checksums.

    Raises DatasetError, naming the file and the record (from 0), where one is damaged or cut.
    """
    with _opened(path) as file:
        number = 0
        while header := file.read(HEADER_BYTES):
            yield _data(file, _length(header, path, number), path, number)
            number += 1


def read_record(path: Path, number: int) -> bytes:
    """One record by its place in the file, from 0. Raises DatasetError as `read_records` does."""
    with _opened(path) as file:
        for before in range(number):
            length = _length(file.read(HEADER_BYTES), path, before)
            file.seek(length + FOOTER_BYTES, os.SEEK_CUR)
        return _data(file, _length(file.read(HEADER_BYTES), path, number), path, number)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None


def _length(header: bytes, path: Path, number: int) -> int:
    if len(header) < HEADER_BYTES:
        raise _cut(path, number, len(header), HEADER_BYTES)
    if header[8:] != _crc_bytes(header[:8]):
        raise _damaged(path, number, "its length does not agree with its checksum")
    return int(_LENGTH.unpack(header[:8])[0])


def _data(file: BinaryIO, length: int, path: Path, number: int) -> bytes:
    data, footer = file.read(length), file.read(FOOTER_BYTES)
    if len(footer) < FOOTER_BYTES:
        raise _cut(path, number, len(data) + len(footer), length + FOOTER_BYTES)
    if footer != _crc_bytes(data):
        raise _damaged(path, number, "its bytes do not agree with their checksum (CRC32C)")
    return data


def _cut(path: Path, number: int, found: int, expected: int) -> DatasetError:
    return _damaged(path, number, f"the file ends after {found} of {expected} bytes")


def _damaged(path: Path, number: int, fault: str) -> DatasetError:
    return DatasetError(
        f"{path}: record {number} is damaged: {fault}; copy the file again, or convert the images "
        "again with --overwrite"
    )


def _crc_bytes(*pieces: Bytes) -> bytes:
    """CRC32C, rotated and shifted, as a checksum of data that holds checksums would be weak."""
    crc = 0
    for piece in pieces:
        crc = google_crc32c.extend(crc, piece)
    return _CRC.pack(((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


class Head(NamedTuple):
    """Where the data of one record lies in its file, in bytes, and how it begins."""

    start: int
    length: int
    beginning: bytes


def read_heads(path: Path, beginning_bytes: int) -> Iterator[Head]:
    """The place of every record of a file and its first bytes, without reading the rest.

    Raises DatasetError where the file cannot be read, is cut, or a length is damaged.
    """
    with _opened(path) as file:
        end = os.fstat(file.fileno()).st_size
        number = 0
        while header := file.read(HEADER_BYTES):
            length = _length(header, path, number)
            start = file.tell()
            left = start + length + FOOTER_BYTES
            if left > end:
                raise _cut(path, number, end - start, length + FOOTER_BYTES)
            yield Head(start, length, file.read(min(length, beginning_bytes)))
            file.seek(left)
            number += 1


def read_into(file: int, start: int, parts: Sequence[np.ndarray], path: Path, number: int) -> None:
    """Read the data of one record, which starts at a byte of an open file, into arrays in turn.

    The arrays, contiguous, are together as long as the data, which is checked on the way. `path`
    and `number` name the record in the DatasetError of one that is cut, damaged or not readable.
    """
    footer = bytearray(FOOTER_BYTES)
    left = [*(part.data for part in parts if part.nbytes), memoryview(footer)]
    expected, found = sum(view.nbytes for view in left), 0
    while left:
        try:
            count = _read_at(file, start + found, left, path)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
        if not count:
            raise _cut(path, number, found, expected)
        found += count
        while left and count >= left[0].nbytes:
            count -= left.pop(0).nbytes
        if count:  # a network may give less than was asked for
            left[0] = left[0][count:]
    if footer != _crc_bytes(*parts):
        raise _damaged(path, number, "its bytes do not agree with their checksum (CRC32C)")


def _read_at(file: int, start: int, buffers: list[memoryview], path: Path) -> int:
    """Fill the buffers as far as one read gives; the bytes read, 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(file, buffers, start)
    with path.open("rb") as own:  # Windows, where no two threads can share a place in a file
        own.seek(start)
        return int(own.readinto(buffers[0]))

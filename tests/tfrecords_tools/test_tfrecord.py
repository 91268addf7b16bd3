"""TFRecord files are those of TensorFlow, and damage is named by file and record."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.errors import DatasetError
from tfrecords_tools.tfrecord import (
    HEADER_BYTES,
    read_into,
    read_record,
    read_records,
    write_records,
)

PIECES = st.lists(st.lists(st.binary(max_size=1000), max_size=3), max_size=6)


@settings(max_examples=60, deadline=None)
@given(pieces=PIECES)
def test_files_are_those_of_tensorflow(pieces, tmp_path_factory):
    records = [b"".join(parts) for parts in pieces]
    folder = tmp_path_factory.mktemp("records")
    ours, theirs = folder / "ours", folder / "theirs"
    written = write_records(ours, pieces)
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in records:
            writer.write(record)
    assert ours.read_bytes() == theirs.read_bytes()
    assert list(read_records(theirs)) == records
    assert list(tf.data.TFRecordDataset(str(ours)).as_numpy_iterator()) == records
    assert [read_record(ours, number) for number in range(len(records))] == records
    sha256 = hashlib.sha256(ours.read_bytes()).hexdigest()
    assert written == (len(records), ours.stat().st_size, sha256)


@pytest.fixture
def shard(tmp_path) -> Path:
    path = tmp_path / "shard"
    write_records(path, [[b"first"], [b"sec", b"ond"], [b"third"]])
    return path


def test_every_changed_byte_is_noticed_and_its_record_named(shard):
    whole = shard.read_bytes()
    ends = [5 + 16, 11 + 32, 16 + 48]
    for place in range(len(whole)):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        number = sum(place >= end for end in ends)
        with pytest.raises(DatasetError, match=rf"shard: record {number} is damaged"):
            list(read_records(shard))


def test_every_cut_but_one_between_records_is_noticed(shard):
    whole = shard.read_bytes()
    for size in set(range(1, len(whole))) - {21, 43}:
        shard.write_bytes(whole[:size])
        with pytest.raises(DatasetError, match=r"shard: record \d is damaged: the file ends after"):
            list(read_records(shard))


def test_whole_records_before_a_damaged_one_are_read(shard):
    data = bytearray(shard.read_bytes())
    data[-6] ^= 1
    shard.write_bytes(data)
    assert read_record(shard, 1) == b"second"
    with pytest.raises(DatasetError, match="record 2 is damaged: its bytes do not agree"):
        read_record(shard, 2)


def test_a_record_behind_the_last_and_a_missing_file_are_refused(shard):
    with pytest.raises(DatasetError, match="record 3 is damaged: the file ends after 0 of 12"):
        read_record(shard, 3)
    with pytest.raises(DatasetError, match="cannot be read"):
        list(read_records(shard.with_name("other")))


def short_preadv(file, buffers, start):
    """As over a network: at most two bytes at a time, from the system's own call."""
    data = os.pread(file, 2, start)
    buffers[0][: len(data)] = data[: len(buffers[0])]
    return min(len(data), len(buffers[0]))


@pytest.mark.parametrize("system", ["whole", "in parts", "without preadv"])
def test_a_record_is_read_into_arrays_on_every_system(shard, monkeypatch, system):
    if system == "in parts":
        monkeypatch.setattr(os, "preadv", short_preadv)
    if system == "without preadv":
        monkeypatch.delattr(os, "preadv")
    parts = [np.empty(size, np.uint8) for size in (2, 0, 4)]
    with shard.open("rb") as file:
        read_into(file.fileno(), 21 + HEADER_BYTES, parts, shard, 1)
        assert b"".join(part.tobytes() for part in parts) == b"second"
        shard.write_bytes(shard.read_bytes()[:-5])
        with pytest.raises(DatasetError, match=r"record 2 is damaged: the file ends after 4 of 9"):
            read_into(file.fileno(), 43 + HEADER_BYTES, [np.empty(5, np.uint8)], shard, 2)
    with pytest.raises(DatasetError, match=r"damaged|cannot be read"):
        read_into(10**6, 0, [np.empty(5, np.uint8)], shard, 0)

"""tf.train.Example: the bytes that TensorFlow writes, and all that it may write is read."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools import wire

INT64 = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5)
FLOAT = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5)
BYTES = st.lists(st.binary(max_size=300), min_size=1, max_size=4)
FEATURES = st.dictionaries(st.text(max_size=9), st.one_of(INT64, FLOAT, BYTES), max_size=8)


def _example(features):
    kinds = {
        int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
        float: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
        bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
    }
    feature = {name: kinds[type(values[0])](values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature))


@settings(max_examples=200, deadline=None)
@given(features=FEATURES)
def test_bytes_are_those_of_tensorflow_and_come_back(features):
    data = b"".join(wire.encode(features))
    assert data == _example(features).SerializeToString(deterministic=True)
    assert {name: list(values) for name, values in wire.decode(data).items()} == features


def test_numbers_that_are_not_packed_and_unknown_fields_are_read():
    unpacked = b"\x1a\x04\x08\x07\x08\x05"  # int64_list { value: 7 value: 5 }
    floats = b"\x12\x0a" + b"".join(b"\x0d" + np.float32(x).tobytes() for x in (1.5, -2.0))
    entries = b""
    for name, feature in ((b"i", unpacked), (b"f", floats)):
        entry = b"\x0a\x01" + name + b"\x12" + bytes([len(feature)]) + feature
        entries += b"\x0a" + bytes([len(entry)]) + entry
    data = b"\x0a" + bytes([len(entries)]) + entries + b"\x38\x01"  # and field 7, a number
    parsed = tf.train.Example.FromString(data).features.feature
    assert list(parsed["i"].int64_list.value) == [7, 5]
    assert wire.decode(data) == {"i": [7, 5], "f": [1.5, -2.0]}


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_example_are_read_or_refused(data):
    try:
        wire.decode(data)
    except (ValueError, KeyError):
        return


def test_a_cut_example_is_refused():
    data = b"".join(wire.encode({"a": [b"text"], "b": [1, 2]}))
    for size in range(1, len(data)):
        with pytest.raises(ValueError, match=r"left|number|expected"):
            wire.decode(data[:size])


def test_numbers_of_more_than_64_bits_are_refused():
    with pytest.raises(ValueError, match="64 bits"):
        wire.encode({"a": [2**63]})


def test_what_float32_cannot_hold_is_infinite():
    assert wire.decode(b"".join(wire.encode({"a": [1e40]}))) == {"a": [float("inf")]}

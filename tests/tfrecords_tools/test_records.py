"""Records: what is decoded, by either decoder, is what was encoded."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.records import decode_example, decode_image, encode_example, parse


def _encoded(*arguments, **keywords) -> bytes:
    return b"".join(encode_example(*arguments, **keywords))


RANGE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def _in_graph(serialized):
    parsed = parse(serialized)
    return decode_image(parsed), parsed["class_index"], parsed["row"], parsed["example_id"]


def _image(dtype: str) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
    elements = st.floats(-1e6, 1e6, width=32) if dtype == "float32" else None
    return hnp.arrays(dtype, shape, elements=elements)


IMAGES = st.one_of(
    st.tuples(st.just("raw"), st.sampled_from(["uint8", "uint16", "float32"]).flatmap(_image)),
    st.tuples(st.just("png"), st.sampled_from(["uint8", "uint16"]).flatmap(_image)),
)


@settings(max_examples=80, deadline=None)
@given(
    case=IMAGES,
    row=st.integers(0, 2**40),
    class_index=st.integers(-1, 9),
    example_id=st.text(min_size=1),
)
@example(case=("png", np.zeros((1, 1, 2), np.uint8)), row=0, class_index=0, example_id="a")
def test_both_decoders_give_back_what_was_encoded(case, row, class_index, example_id):
    encoding, image = case
    data = _encoded({"example_id": example_id}, image, encoding, row=row, class_index=class_index)
    decoded, features = decode_example(data)
    assert decoded.dtype == image.dtype
    np.testing.assert_array_equal(decoded, image)
    assert (features["row"], features["class_index"]) == (row, class_index)
    assert features["example_id"] == example_id

    in_graph, graph_class, graph_row, graph_id = _in_graph(data)
    expected = image.astype(np.float32) / np.float32(RANGE[image.dtype.name])
    # The graph may multiply by the reciprocal instead of dividing: one unit in the last place.
    np.testing.assert_array_max_ulp(in_graph.numpy(), expected, maxulp=1)
    assert (int(graph_row), int(graph_class)) == (row, class_index)
    assert graph_id.numpy().decode() == example_id


METADATA = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name != "example_id"),
    st.one_of(
        st.none(),
        st.just(float("nan")),
        st.text(),
        st.integers(-(2**60), 2**60),
        st.floats(allow_nan=False, width=32),
        st.lists(st.text(), min_size=2),
    ),
)


@settings(max_examples=80, deadline=None)
@given(metadata=METADATA)
def test_metadata_comes_back_and_what_is_absent_stays_absent(metadata):
    image = np.zeros((1, 1, 1), np.uint8)
    data = _encoded({"example_id": "a", **metadata}, image, "raw", row=0, class_index=0)
    present = {
        name: value for name, value in metadata.items() if value is not None and value == value
    }
    assert decode_example(data)[1]["metadata"] == present


def test_a_column_may_have_the_name_of_a_feature():
    image = np.zeros((2, 3, 1), np.uint8)
    columns = {"example_id": "a", "row": "B", "image": "photo", "height": 7}
    decoded, features = decode_example(_encoded(columns, image, "raw", row=5, class_index=1))
    assert decoded.shape == (2, 3, 1)
    assert features["row"] == 5
    assert features["metadata"] == {"row": "B", "image": "photo", "height": 7}


def test_equal_examples_give_equal_bytes():
    image = np.arange(24, dtype=np.uint16).reshape(4, 6, 1)
    columns = {"example_id": "a"} | {name: name for name in "qwertyuiop"}
    backwards = dict(reversed(columns.items()))
    first, second = (
        _encoded(given, image, "png", row=0, class_index=0) for given in (columns, backwards)
    )
    assert first == second


def test_records_are_decoded_inside_tf_data(tmp_path):
    images = [np.full((3, 4, 2), value, np.uint8) for value in range(5)]
    with tf.io.TFRecordWriter(str(tmp_path / "shard")) as writer:
        for row, image in enumerate(images):
            writer.write(_encoded({"example_id": str(row)}, image, "png", row=row, class_index=0))
    records = tf.data.TFRecordDataset(str(tmp_path / "shard"))
    decoded = list(records.map(parse).map(decode_image).as_numpy_iterator())
    np.testing.assert_allclose(decoded, np.stack(images) / 255.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "encoding", "said"),
    [
        ("float32", "png", "use the encoding raw"),
        ("float64", "raw", "records hold uint8, uint16, float32"),
        ("uint8", "gif", "encoding: 'gif'; expected one of raw, png, jpeg"),
        ("uint8", "jpeg:101", "a quality from 1 to 100"),
        ("uint16", "jpeg", "JPEG holds 8 bits and 1 or 3 channels, found uint16 and 1"),
    ],
)
def test_what_records_cannot_hold_is_refused(dtype, encoding, said):
    with pytest.raises(PlanError, match=said):
        _encoded({"example_id": "a"}, np.zeros((2, 2, 1), dtype), encoding, row=0, class_index=0)


@pytest.mark.parametrize("data", [b"\xff\xff", b"", tf.train.Example().SerializeToString()])
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(DatasetError, match="convert the images again"):
        decode_example(data)

"""JSON and tensors as TensorFlow Serving exchanges them; its own sentences are expected."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deadlib.server.tensors import (
    BadRequestError,
    TensorInfo,
    read_request,
    to_tensor,
    write_answer,
)

IMAGE = {"image": TensorInfo("DT_FLOAT", (-1, -1, -1, -1))}
FILES = {"image_bytes": TensorInfo("DT_STRING", (-1,))}
TWO = {"x": TensorInfo("DT_FLOAT", (-1,)), "y": TensorInfo("DT_INT32", (-1,))}


def read(document: Any, inputs: dict[str, TensorInfo] = IMAGE) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_request(body, lambda signature: inputs)


def refusal(document: Any, inputs: dict[str, TensorInfo] = IMAGE) -> str:
    with pytest.raises(BadRequestError) as refused:
        read(document, inputs)
    return str(refused.value)


FLOATS = st.floats(width=32, allow_nan=False)
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(arrays.arrays(np.float32, SHAPES, elements=FLOATS))
def test_floats_come_back_as_they_went(array: np.ndarray) -> None:
    body = write_answer({"x": array}, by_row=False)
    found = to_tensor(json.loads(body)["outputs"], "DT_FLOAT")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array)


def test_floats_are_written_with_the_digits_that_they_have() -> None:
    values = np.array([0.2, 0, 3, -1e-30, 1 / 3, np.inf, np.nan], np.float32)
    assert write_answer({"x": values}, by_row=True) == (
        b'{"predictions": [0.2, 0.0, 3.0, -1e-30, 0.333333343, Infinity, NaN]}'
    )


@given(st.lists(st.binary(), min_size=1))
def test_bytes_come_back_as_they_went(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    outputs = json.loads(write_answer({"x_bytes": array}, by_row=False))["outputs"]
    assert to_tensor(outputs, "DT_STRING").tolist() == values


def test_rows_may_be_plain_or_named() -> None:
    plain = read({"instances": [[[[0.5]]], [[[1]]]]})
    named = read({"instances": [{"image": [[[0.5]]]}, {"image": [[[1]]]}]})
    assert plain.by_row
    assert plain.signature == "serving_default"
    for request in (plain, named):
        assert request.tensors["image"].dtype == np.float32
        np.testing.assert_array_equal(request.tensors["image"].ravel(), [0.5, 1])
        assert request.tensors["image"].shape == (2, 1, 1, 1)


def test_columns_may_be_plain_or_named() -> None:
    for inputs in ([[[[0.5]]]], {"image": [[[[0.5]]]]}):
        request = read({"inputs": inputs, "signature_name": "plate"})
        assert not request.by_row
        assert request.signature == "plate"
        assert request.tensors["image"].shape == (1, 1, 1, 1)


def test_files_are_given_as_base64() -> None:
    told = {"b64": base64.b64encode(b"\x89PNG").decode()}
    for instance in (told, {"image_bytes": told}):
        found = read({"instances": [instance]}, FILES).tensors["image_bytes"]
        assert found.tolist() == [b"\x89PNG"]


def test_several_inputs_are_read_together() -> None:
    rows = read({"instances": [{"x": 1.5, "y": 2}, {"x": 3, "y": 4}]}, TWO).tensors
    columns = read({"inputs": {"x": [1.5, 3], "y": [2, 4]}}, TWO).tensors
    for found in (rows, columns):
        assert found["x"].tolist() == [1.5, 3]
        assert found["y"].dtype == np.int32
        assert found["y"].tolist() == [2, 4]


def test_an_answer_names_outputs_only_where_there_are_several() -> None:
    one, two = {"p": np.array([1, 2])}, {"p": np.array([1, 2]), "q": np.array([True, False])}
    assert json.loads(write_answer(one, by_row=True)) == {"predictions": [1, 2]}
    assert json.loads(write_answer(one, by_row=False)) == {"outputs": [1, 2]}
    rows = [{"p": 1, "q": True}, {"p": 2, "q": False}]
    assert json.loads(write_answer(two, by_row=True)) == {"predictions": rows}
    columns = {"p": [1, 2], "q": [True, False]}
    assert json.loads(write_answer(two, by_row=False)) == {"outputs": columns}


@pytest.mark.parametrize(
    ("document", "inputs", "message"),
    [
        (b"", IMAGE, "JSON Parse error: The document is empty"),
        (b"{", IMAGE, "JSON Parse error: "),
        (b"\xff\xfe", IMAGE, "JSON Parse error: Invalid encoding in string. at offset: 0"),
        (b"[" * 100_000, IMAGE, "JSON Parse error: "),
        ([1], IMAGE, "JSON Value: [1] Is not object"),
        ({}, IMAGE, "Missing 'inputs' or 'instances' key"),
        ({"instances": 1}, IMAGE, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, IMAGE, "No values in 'instances' array"),
        ({"instances": [1], "inputs": [1]}, IMAGE, "expecting only one of 'inputs' or 'instances'"),
        ({"signature_name": 1}, IMAGE, "'signature_name' key must be a string value."),
        ({"instances": [1, 2]}, TWO, "instances is a plain list, but expecting list of objects"),
        ({"inputs": [1, 2]}, TWO, "inputs is a plain value/list, but expecting an object"),
        ({"inputs": {"x": [1]}}, TWO, "Missing named input: y in 'inputs' object."),
        (
            {"instances": [{"x": 1}]},
            TWO,
            "Failed to process element: 0 of 'instances' list. JSON object: ",
        ),
        (
            {"instances": [{"z": 1}]},
            TWO,
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
        ),
        (
            {"instances": [{"image": 1}, [1]]},
            IMAGE,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"instances": [[1.5], {"image": 1}]},
            IMAGE,
            "Expecting value/list but got object at item 1 of input list",
        ),
        ({"instances": [[1, 2], [1]]}, IMAGE, "Expecting tensor size: 2 but got: 1"),
        (
            {"instances": [[[1], [2]], [[1, 2]]]},
            IMAGE,
            "Expecting shape [2,1] but got: [1,2]",
        ),
        (
            {"inputs": [[1.5], [1.5, 2.5]]},
            IMAGE,
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        ({"inputs": [[1], 2]}, IMAGE, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM."),
        ({"inputs": [1, [2]]}, IMAGE, "Encountered list at unexpected level: 1 expected < 1"),
        (
            {"inputs": ["a"]},
            IMAGE,
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        ({"inputs": [True]}, IMAGE, "JSON Value: true Type: True is not of expected type: float"),
        ({"inputs": [None]}, IMAGE, "JSON Value: null Type: Null is not of expected type: float"),
        ({"inputs": [2**24 + 1]}, IMAGE, "to float without loss of precision."),
        ({"inputs": [1e39]}, IMAGE, "to float without loss of precision."),
        ({"inputs": [1]}, FILES, "JSON Value: 1 Type: Number is not of expected type: string"),
        ({"inputs": [{"b64": "!"}]}, FILES, "Unable to base64 decode"),
        ({"inputs": {"x": [1], "y": [1.5]}}, TWO, "is not of expected type: int32"),
        ({"inputs": {"x": [1], "y": [2**31]}}, TWO, "is not of expected type: int32"),
    ],
)
def test_what_is_wrong_is_said_as_tensorflow_serving_says_it(
    document: Any, inputs: dict[str, TensorInfo], message: str
) -> None:
    assert message in refusal(document, inputs)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "image", "b64", "signature_name"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([IMAGE, FILES, TWO]))
def test_any_document_is_read_or_refused_in_words(
    document: Any, inputs: dict[str, TensorInfo]
) -> None:
    with suppress(BadRequestError):
        assert set(read(document, inputs).tensors) == set(inputs)

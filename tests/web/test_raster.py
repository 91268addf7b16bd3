"""Images on their way to the browser: no value changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from deadlib.errors import WebError
from deadlib.web import raster_response


def received(image: np.ndarray) -> np.ndarray:
    """The image (H, W, C) again, read by what the headers say alone."""
    response = raster_response(image)
    shape = [int(side) for side in response.headers["x-shape"].split(",")]
    dtype = np.dtype(response.headers["x-dtype"]).newbyteorder("<")
    return np.moveaxis(np.frombuffer(response.body, dtype).reshape(shape), 0, -1)


@given(
    st.sampled_from(["u1", "<u2", ">u2", "<f4", ">f4"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=7))
    )
)
def test_every_value_arrives(image: np.ndarray) -> None:
    found = received(image)
    assert found.dtype.name == image.dtype.name
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("dtype", ["bool", "i1", "i2", "f2", "f8"])
def test_other_types_are_sent_as_one_that_holds_them(dtype: str) -> None:
    image = np.array([[[0], [1]], [[1], [0]]], dtype)
    np.testing.assert_array_equal(received(image), image)


def test_an_image_without_channels_has_one() -> None:
    assert received(np.zeros((4, 5), np.uint8)).shape == (4, 5, 1)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2, 1), np.int32),
        np.zeros((2, 2, 1), complex),
        np.zeros(4, np.uint8),
        np.zeros((0, 2, 1), np.uint8),
    ],
)
def test_what_cannot_be_shown_is_told(image: np.ndarray) -> None:
    with pytest.raises(WebError, match="cannot be shown; expected"):
        raster_response(image)

"""Windows over a frame, and values of windows as pictures, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from deadlib.errors import InputError
from deadlib.windows import Grid, grid_over, upsampled


def test_windows_lie_wholly_in_the_frame() -> None:
    grid = grid_over((1024, 1344), (220, 220), 16)
    assert (grid.rows, grid.columns) == (51, 71)
    assert grid.tops_px[-1] + 220 <= 1024 < grid.tops_px[-1] + 16 + 220


def test_a_window_larger_than_the_frame_is_refused_with_both_sizes() -> None:
    with pytest.raises(InputError, match="220 x 220 px, but the frame has 200 x 300"):
        grid_over((200, 300), (220, 220), 16)


def test_a_stride_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="expected 1 or more"):
        grid_over((200, 300), (20, 20), 0)


@given(
    rows=st.integers(2, 5),
    columns=st.integers(2, 5),
    stride=st.integers(1, 7),
    window=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_values_between_centres_are_bilinear(
    rows: int, columns: int, stride: int, window: int, seed: int
) -> None:
    grid = Grid(rows, columns, stride, (window, window))
    values = np.random.default_rng(seed).random((rows, columns, 2), np.float32)
    height, width = (rows - 1) * stride + window, (columns - 1) * stride + window
    found = upsampled(values, grid, (0, 0, height, width))
    centres = [np.arange(count) * stride + (window - 1) / 2 for count in (rows, columns)]
    reference = RegularGridInterpolator(centres, values)
    y, x = np.meshgrid(
        np.clip(np.arange(height), centres[0][0], centres[0][-1]),
        np.clip(np.arange(width), centres[1][0], centres[1][-1]),
        indexing="ij",
    )
    np.testing.assert_allclose(found, reference((y, x)), atol=1e-6)


def test_a_region_is_cut_from_the_whole() -> None:
    grid = grid_over((40, 50), (12, 12), 5)
    values = np.random.default_rng(0).random((grid.rows, grid.columns), np.float32)
    whole = upsampled(values, grid, (0, 0, 40, 50))
    np.testing.assert_allclose(upsampled(values, grid, (7, 9, 20, 11)), whole[7:27, 9:20])


def test_one_window_gives_its_value_everywhere() -> None:
    grid = grid_over((12, 12), (12, 12), 5)
    found = upsampled(np.full((1, 1), 0.25), grid, (0, 0, 12, 12))
    np.testing.assert_array_equal(found, np.full((12, 12), 0.25, np.float32))

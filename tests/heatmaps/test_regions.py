"""Regions of frames, tiles, and the measured difference, against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deadlib.heatmaps.difference import compared
from deadlib.heatmaps.regions import read_region
from deadlib.heatmaps.tiles import tiling


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 15), st.integers(1, 15))
def test_a_frame_goes_on_as_in_a_mirror(top: int, left: int, height: int, width: int) -> None:
    frame = np.arange(5 * 7).reshape(5, 7, 1).astype(np.uint16)
    endless = np.pad(frame, ((40, 40), (40, 40), (0, 0)), mode="symmetric")
    expected = endless[40 + top : 40 + top + height, 40 + left : 40 + left + width]
    np.testing.assert_array_equal(read_region(frame, top, left, height, width), expected)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(900, 9000))
def test_tiles_hold_all_windows_within_memory(rows: int, columns: int, most_px: int) -> None:
    found = tiling((rows, columns), (30, 30), (16, 8), most_px)
    assert found is not None
    high, wide = found.per_tile
    assert (30 + (high - 1) * 16) * (30 + (wide - 1) * 8) <= most_px
    covered = {
        (row + down, column + right)
        for row, column in found
        for down in range(high)
        for right in range(wide)
    }
    assert covered >= set(np.ndindex(rows, columns))


def test_where_not_one_window_fits_there_are_no_tiles() -> None:
    assert tiling((3, 3), (30, 30), (16, 16), 899) is None


def test_a_difference_is_what_numpy_says() -> None:
    rng = np.random.default_rng(0)
    exact = rng.random((50, 1)).astype(np.float32)
    dense = np.clip(exact + rng.normal(0, 0.1, (50, 1)), 0, 1).astype(np.float32)
    first, second = (np.concatenate([each, 1 - each], axis=1) for each in (dense, exact))
    found = compared(first, second)
    apart = np.abs(dense - exact)
    assert found.windows == 50
    np.testing.assert_allclose(found.mean, apart.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.largest, apart.max(), rtol=1e-5)
    np.testing.assert_allclose(found.correlation, np.corrcoef(dense[:, 0], exact[:, 0])[0, 1])
    assert found.other_class == np.mean((dense > 0.5) != (exact > 0.5))

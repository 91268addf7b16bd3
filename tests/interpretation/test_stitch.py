"""Windows cover the frame, and maps that agree become one map without seams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.errors import InputError
from deadlib.interpretation.stitch import corners, stitched


@given(
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.tuples(st.integers(2, 5), st.integers(2, 5)),
    st.integers(1, 5),
)
def test_windows_cover_every_pixel_and_stay_inside(
    shape: tuple[int, int], window: tuple[int, int], stride: int
) -> None:
    stride = min(stride, *window)
    seen = np.zeros(shape, int)
    for top, left in corners(shape, window, stride):
        assert 0 <= top <= shape[0] - window[0]
        assert 0 <= left <= shape[1] - window[1]
        seen[top : top + window[0], left : left + window[1]] += 1
    assert seen.min() >= 1


def test_maps_that_agree_give_the_frame_back() -> None:
    frame = np.random.default_rng(0).random((37, 52, 2)).astype(np.float32)
    windows = corners((37, 52), (16, 20), 7)
    batches = []

    def heat_of(part: list[tuple[int, int]]) -> np.ndarray:
        batches.append(len(part))
        return np.stack([frame[top : top + 16, left : left + 20] for top, left in part])

    found = stitched(heat_of, windows, (37, 52), (16, 20), batch=4)
    np.testing.assert_allclose(found, frame, rtol=1e-5)
    assert max(batches) == 4
    assert sum(batches) == len(windows)


def test_a_window_counts_most_in_its_middle() -> None:
    def heat_of(part: list[tuple[int, int]]) -> np.ndarray:
        return np.stack([np.full((4, 4, 1), float(left > 0), np.float32) for _, left in part])

    found = stitched(heat_of, [(0, 0), (0, 10)], (20, 30), (20, 20), batch=2)[..., 0]
    assert (found[:, :10] == 0).all()
    assert (found[:, 20:] == 1).all()
    assert (np.diff(found[5, 9:21]) > 0).all(), "one fades into the other"


def test_a_window_larger_than_the_frame_is_refused() -> None:
    with pytest.raises(InputError, match="windows of 16 x 16 px, but the frame has 12 x 40 px"):
        corners((12, 40), (16, 16), 8)

"""Heat lies over the image where the network saw it, and its shares are shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deadlib.interpretation.heat import border_share, half_heat_area, place
from deadlib.recipe import InputSection


def test_with_a_crop_the_heat_lies_in_the_window_that_was_seen() -> None:
    section = InputSection(size_px=(8, 10), fit="crop")
    placed = place(np.ones((2, 2), np.float32), (20, 31), section)
    assert placed.shape == (20, 31)
    assert (placed[6:14, 10:20] == 1).all()
    assert placed.sum() == 80


def test_a_resized_map_covers_the_image_without_a_shift() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    placed = place(heat, (40, 80), InputSection(size_px=(16, 16)))
    rows, columns = np.indices(placed.shape) + 0.5
    centre = [float((axis * placed).sum() / placed.sum()) for axis in (rows, columns)]
    np.testing.assert_allclose(centre, [15, 50], atol=1e-3)


def test_even_heat_has_the_shares_that_are_printed_beside_it() -> None:
    even = np.ones((100, 50), np.float32)
    assert border_share(even) == pytest.approx(0.36)
    assert half_heat_area(even) == pytest.approx(0.5, abs=1e-3)


def test_no_heat_has_no_shares() -> None:
    assert np.isnan(border_share(np.zeros((9, 9))))
    assert np.isnan(half_heat_area(np.zeros((9, 9))))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(3, 30), st.integers(3, 30)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_shares_are_shares(heat: np.ndarray) -> None:
    if heat.sum() == 0:
        return
    assert -1e-5 <= border_share(heat) <= 1 + 1e-5
    assert 0 < half_heat_area(heat) <= 0.5 + 1 / heat.size + 1e-6

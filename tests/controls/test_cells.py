"""Cells are told from background by their texture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.controls.cells import background_of, count_cells, otsu, texture_masks


def test_an_image_without_cells_stays_empty_beside_one_that_has_some() -> None:
    generator = np.random.default_rng(0)
    empty, full = (generator.normal(1000, 5, (80, 80, 1)) for _ in range(2))
    full[20:50, 30:60] += generator.normal(0, 200, (30, 30, 1))
    masks = texture_masks([empty, full])
    assert masks[0].mean() < 0.01
    assert masks[1][22:48, 32:58].mean() > 0.95
    assert masks[1].mean() == pytest.approx(900 / 6400, rel=0.25)


@given(st.integers(20, 400), st.integers(20, 400), st.floats(4, 50))
def test_otsu_parts_two_groups(low: int, high: int, apart: float) -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.uniform(-1, 1, low), generator.uniform(-1, 1, high) + apart])
    # A threshold is the edge of one of 256 bins.
    assert ((values > otsu(values)) == (np.arange(low + high) >= low)).mean() > 0.98


def test_background_keeps_away_from_cells_and_has_no_holes() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 20:60] = True
    mask[38:42, 38:42] = False
    away = background_of(mask)
    rows, columns = np.nonzero(away)
    assert np.maximum(np.abs(rows - 39.5), np.abs(columns - 39.5)).min() > 20 + 3
    assert away[80:, 80:].all()


def test_an_empty_image_is_all_background() -> None:
    assert background_of(np.zeros((20, 30), bool)).all()


def test_cells_that_lie_apart_are_counted_and_specks_are_not() -> None:
    mask = np.zeros((60, 90), bool)
    for left in (5, 35, 65):
        mask[10:30, left : left + 20] = True
    mask[50, 50] = True
    assert count_cells(mask) == 3

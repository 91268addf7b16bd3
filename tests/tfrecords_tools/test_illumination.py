"""The shading that was put on images is found again, whatever windows they are cut into."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import legendre

from tfrecords_tools.illumination import CellSums

SHAPE = (90, 130)


def shading() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A field (H, W) of mean 1 that falls off from a bright spot beside the middle."""
    rows, columns = ((2 * np.arange(side) + 1) / side - 1 for side in SHAPE)
    field = np.exp(-0.4 * (rows[:, None] - 0.3) ** 2 - 0.3 * (columns[None] + 0.2) ** 2)
    return field / field.mean(), rows, columns


def evaluated(coefficients: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return legendre.leggrid2d(rows, columns, coefficients)


def test_the_field_is_found_from_whole_images() -> None:
    field, rows, columns = shading()
    generator = np.random.default_rng(0)
    sums = CellSums.empty(SHAPE, 2)
    for _ in range(40):
        cells = generator.gamma(4, 100, (*SHAPE, 2))
        sums.add(cells * np.stack([field, np.ones(SHAPE)], axis=-1), 0, 0)
    found = sums.shading()
    np.testing.assert_allclose(evaluated(found[0], rows, columns), field, atol=0.02)
    np.testing.assert_allclose(evaluated(found[1], rows, columns), 1, atol=0.02)
    assert evaluated(found[0], rows, columns).mean() == pytest.approx(1, abs=1e-3)


def test_tiles_and_parts_add_up_to_the_same() -> None:
    field, _, _ = shading()
    images = np.random.default_rng(1).gamma(4, 100, (3, *SHAPE, 1)) * field[..., None]
    whole, one, other = (CellSums.empty(SHAPE, 1) for _ in range(3))
    for image in images:
        whole.add(image, 0, 0)
        one.add(image[:41], 0, 0)
        other.add(image[41:, :77], 41, 0)
        other.add(image[41:, 77:], 41, 77)
    one.merge(other)
    np.testing.assert_allclose(one.shading(), whole.shading(), rtol=1e-9, atol=1e-12)


def test_what_a_window_shows_from_outside_the_image_does_not_count() -> None:
    inside, outside = CellSums.empty(SHAPE, 1), CellSums.empty(SHAPE, 1)
    image = np.random.default_rng(2).random((40, 40, 1))
    inside.add(image[10:, 15:], 0, 0)
    outside.add(image, -10, -15)
    np.testing.assert_array_equal(outside.total, inside.total)
    np.testing.assert_array_equal(outside.pixels, inside.pixels)
    assert outside.pixels.sum() == 30 * 25


def test_images_smaller_than_the_grid_and_black_ones_have_a_field() -> None:
    sums = CellSums.empty((6, 40), 1)
    sums.add(np.zeros((6, 40, 1)), 0, 0)
    assert sums.shading()[0].ravel().tolist() == [1.0] + [0.0] * 24

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from deadlib.augment.geometry import Flip, QuarterTurn, RandomCrop, Rotate, Shift, Zoom, move
from deadlib.augment.randomness import derive, per_image
from deadlib.augment.sampling import pixel_grid, sample
from deadlib.augment.spline import ThinPlateSpline, control_points, spline_basis
from deadlib.errors import RecipeError


def dihedral(image: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(image, turns) for turns in range(4)]
    return [*turned, *(view[:, ::-1] for view in turned)]


def which(found: np.ndarray, candidates: list[np.ndarray]) -> set[int]:
    return {i for i, view in enumerate(candidates) if np.array_equal(found, view)}


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, True), (True, False), (False, True)])
def test_flips_are_exact_and_all_occur(horizontal: bool, vertical: bool) -> None:
    image = np.random.default_rng(0).random((5, 8, 1)).astype(np.float32)
    views = [image]
    views += [image[:, ::-1]] if horizontal else []
    views += [image[::-1]] if vertical else []
    views += [image[::-1, ::-1]] if horizontal and vertical else []
    layer = Flip(horizontal=horizontal, vertical=vertical)
    found = np.asarray(layer(np.repeat(image[None], 64, axis=0), np.array([0, 0])))
    hits = [which(one, views) for one in found]
    assert all(len(hit) == 1 for hit in hits)
    assert set.union(*hits) == set(range(len(views)))


@pytest.mark.parametrize("size", [6, 7])
def test_quarter_turns_are_exact_and_all_alike(size: int) -> None:
    image = np.random.default_rng(0).random((size, size, 2)).astype(np.float32)
    found = np.asarray(QuarterTurn()(np.repeat(image[None], 400, axis=0), np.array([0, 0])))
    hits = [which(one, dihedral(image)[:4]) for one in found]
    assert all(len(hit) == 1 for hit in hits)
    counts = np.bincount([hit.pop() for hit in hits], minlength=4)
    assert counts.min() > 70


def test_a_quarter_turn_of_an_oblong_image_is_refused_with_advice() -> None:
    with pytest.raises(RecipeError, match="square images, these are 4 x 6 px; use flip"):
        QuarterTurn().check_size((4, 6))


def test_a_crop_is_an_exact_window_and_reaches_every_place() -> None:
    image = np.arange(30, dtype=np.float32).reshape(1, 5, 6, 1)
    layer = RandomCrop(size_px=(3, 4))
    found = np.asarray(layer(np.repeat(image, 300, axis=0), np.array([1, 1])))
    windows = [image[0, top : top + 3, left : left + 4] for top in range(3) for left in range(3)]
    hits = [which(one, windows) for one in found]
    assert all(len(hit) == 1 for hit in hits)
    assert set.union(*hits) == set(range(9))


def test_a_crop_larger_than_the_images_is_refused(images: np.ndarray, seed: np.ndarray) -> None:
    with pytest.raises(RecipeError, match=r"crop of \(25, 20\) px does not fit images of \(24, 24"):
        RandomCrop(size_px=(25, 20))(images, seed)


@pytest.mark.parametrize(
    ("layer", "moment"), [(Rotate(degrees=30), "second"), (Shift(distance_px=3), "first")]
)
def test_a_blob_keeps_its_brightness_when_moved(layer: object, moment: str) -> None:
    rows, columns = np.meshgrid(np.arange(31), np.arange(31), indexing="ij")
    blob = np.exp(-((rows - 15) ** 2 / 32 + (columns - 15) ** 2 / 8)).astype(np.float32)
    found = np.asarray(layer(np.repeat(blob[None, ..., None], 50, axis=0), np.array([2, 3])))  # type: ignore[operator]
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), blob.sum(), rtol=0.01)
    centres = np.array([ndimage.center_of_mass(one[..., 0]) for one in found]) - 15
    if moment == "second":
        np.testing.assert_allclose(centres, 0, atol=0.05)
        upright = [(one[..., 0] * (rows - 15) ** 2).sum() / one.sum() for one in found]
        angle = math.radians(30)
        assert 16 * math.cos(angle) ** 2 + 4 * math.sin(angle) ** 2 - 0.5 < min(upright)
        assert max(upright) <= 16.5
    else:
        assert np.abs(centres).max() <= 3.05
        assert np.ptp(centres, axis=0).min() > 4


def test_zoom_scales_the_area_by_the_square_of_its_factor() -> None:
    rows, columns = np.meshgrid(np.arange(41), np.arange(41), indexing="ij")
    blob = np.exp(-((rows - 20) ** 2 + (columns - 20) ** 2) / 8).astype(np.float32)
    stack = np.repeat(blob[None, ..., None], 200, axis=0)
    area = np.asarray(Zoom(factor=(0.7, 1.4))(stack, np.array([4, 4]))).sum(axis=(1, 2, 3))
    factor = np.sqrt(area / blob.sum())
    assert 0.69 < factor.min() < 0.75
    assert 1.33 < factor.max() < 1.41
    np.testing.assert_allclose(np.log(factor).mean(), np.log(0.7 * 1.4) / 2, atol=0.05)
    fixed = np.asarray(Zoom(factor=1.5)(stack[:1], np.array([4, 4])))
    np.testing.assert_allclose(fixed.sum() / blob.sum(), 2.25, rtol=0.01)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), height=st.integers(1, 9), width=st.integers(1, 9))
def test_sampling_is_scipys_bilinear_with_reflected_edges(
    seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.random((2, height, width, 3)).astype(np.float32)
    coordinates = rng.uniform(-15, 15, (2, 2, 4, 5)).astype(np.float32)
    found = sample(images, coordinates_as_tensor(coordinates))
    for b in range(2):
        for c in range(3):
            expected = ndimage.map_coordinates(
                images[b, :, :, c].astype(np.float64),
                coordinates[:, b],
                order=1,
                mode="mirror",
            )
            np.testing.assert_allclose(found[b, :, :, c], expected, atol=2e-5)


def coordinates_as_tensor(coordinates: np.ndarray) -> object:
    from keras import ops

    return ops.convert_to_tensor(coordinates)


def test_the_spline_is_scipys() -> None:
    size_px, spacing = (20, 33), 9.0
    points = control_points(size_px, spacing)
    moves = np.random.default_rng(0).normal(size=(len(points), 2))
    pixels = pixel_grid(*size_px).reshape(2, -1).T.astype(np.float64)
    expected = RBFInterpolator(points, moves, kernel="thin_plate_spline")(pixels)
    np.testing.assert_allclose(spline_basis(size_px, spacing) @ moves, expected, atol=1e-5)


def test_control_points_stand_on_the_border_at_about_the_spacing() -> None:
    points = control_points((256, 256), 128)
    assert len(points) == 9
    np.testing.assert_array_equal(points.min(axis=0), [0, 0])
    np.testing.assert_array_equal(points.max(axis=0), [255, 255])
    assert len(control_points((10, 10), 500)) == 4


def test_the_warp_moves_control_points_by_the_deviation() -> None:
    layer = ThinPlateSpline(spacing_px=8, deviation_px=1.5)
    grid = pixel_grid(17, 17)
    seeds = per_image(np.array([1, 2]), 300)
    moved = np.stack(layer.source(grid, seeds, (17, 17))) - grid
    at_points = moved[:, :, ::8, ::8]
    np.testing.assert_allclose(at_points.std(), 1.5, rtol=0.05)
    np.testing.assert_allclose(at_points.mean(), 0, atol=0.1)
    rows_and_columns = at_points.reshape(2, -1)
    assert abs(np.corrcoef(rows_and_columns)[0, 1]) < 0.08


def test_a_spline_with_too_many_points_is_refused_with_advice() -> None:
    with pytest.raises(RecipeError, match="larger spacing_px"):
        ThinPlateSpline(spacing_px=4).check_size((1024, 1024))


def test_steps_read_at_once_are_steps_one_after_another(images: np.ndarray) -> None:
    seeds = per_image(np.array([8, 9]), len(images))
    steps = [Flip(), QuarterTurn(), Shift(distance_px=2), Rotate(), Zoom(), ThinPlateSpline()]
    seeded = [(step, derive(seeds, position)) for position, step in enumerate(steps)]
    one_by_one = images
    for step, step_seeds in seeded:
        one_by_one = step(one_by_one, step_seeds)
    at_once = move(images, seeded)
    inside = (slice(None), slice(9, 15), slice(9, 15))
    difference = np.abs(np.asarray(at_once)[inside] - np.asarray(one_by_one)[inside])
    assert difference.mean() < 0.01


def test_exact_steps_read_at_once_are_exactly_the_steps(images: np.ndarray) -> None:
    seeds = per_image(np.array([8, 9]), len(images))
    crop, flip, turn = RandomCrop(size_px=(10, 10)), Flip(), QuarterTurn()
    seeded = [(step, derive(seeds, position)) for position, step in enumerate((crop, flip, turn))]
    expected = images
    for step, step_seeds in seeded:
        expected = step(expected, step_seeds)
    np.testing.assert_array_equal(move(images, seeded, (10, 10)), expected)


def test_a_warp_between_turns_is_read_where_the_turn_left_it(images: np.ndarray) -> None:
    seeds = per_image(np.array([3, 1]), len(images))
    warp, flip = ThinPlateSpline(spacing_px=12, deviation_px=1), Flip()
    seeded = [(warp, derive(seeds, 0)), (flip, derive(seeds, 1))]
    expected = flip(warp(images, seeded[0][1]), seeded[1][1])
    np.testing.assert_allclose(move(images, seeded), expected, atol=1e-5)

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import ndimage

from deadlib.augment import build_augmenter
from deadlib.augment.build import check_steps
from deadlib.augment.dihedral import Dihedral, ZoomAnywhere
from deadlib.augment.geometry import (
    Affine,
    Flip,
    QuarterTurn,
    RandomCrop,
    Rotate,
    Shear,
    Shift,
    Zoom,
    move,
)
from deadlib.augment.randomness import derive, per_image
from deadlib.augment.sampling import Border, Interpolation, sample
from deadlib.augment.spline import ThinPlateSpline
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection


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


@pytest.mark.parametrize("size", [6, 7])
def test_dihedral_views_are_exact_and_all_alike(size: int) -> None:
    image = np.random.default_rng(0).random((size, size, 2)).astype(np.float32)
    found = np.asarray(Dihedral()(np.repeat(image[None], 800, axis=0), np.array([0, 0])))
    hits = [which(one, dihedral(image)) for one in found]
    assert all(len(hit) == 1 for hit in hits)
    assert np.bincount([hit.pop() for hit in hits], minlength=8).min() > 70


@pytest.mark.parametrize(("height", "width"), [(6, 10), (11, 5)])
def test_dihedral_views_of_an_oblong_image_keep_its_frame_and_scale(
    height: int, width: int
) -> None:
    image = np.random.default_rng(0).random((height, width, 1)).astype(np.float32)
    found = np.asarray(Dihedral()(np.repeat(image[None], 200, axis=0), np.array([0, 0])))
    margin = abs(height - width) // 2
    padding = [(margin if height < width else 0,) * 2, (margin if width < height else 0,) * 2]
    square = np.pad(image, [*padding, (0, 0)], mode="reflect")
    rows, columns = (
        slice(before, before + size)
        for (before, _), size in zip(padding, (height, width), strict=True)
    )
    views = [view[rows, columns] for view in dihedral(square)]
    hits = [which(one, views) for one in found]
    assert set.union(*hits) == set(range(8))
    assert all(hits)


def test_dihedral_views_of_odd_and_even_sides_copy_pixels() -> None:
    image = np.random.default_rng(0).random((6, 9, 1)).astype(np.float32)
    found = np.asarray(Dihedral()(np.repeat(image[None], 100, axis=0), np.array([0, 0])))
    assert np.isin(found, image).all()


def test_zoom_anywhere_keeps_a_point_that_may_lie_anywhere() -> None:
    rows, columns = np.meshgrid(np.arange(21.0), np.arange(31.0), indexing="ij")
    ramps = np.repeat(np.stack([rows, columns], axis=-1)[None], 400, axis=0).astype(np.float32)
    found = np.asarray(ZoomAnywhere(factor=(1.25, 2.0))(ramps, np.array([3, 4])))
    steps = np.stack([np.diff(found[..., 0], axis=1)[:, 0, 0], np.diff(found[..., 1])[:, 0, 0]])
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-4)
    assert 0.5 <= steps.min() < 0.51
    assert 0.79 < steps.max() <= 0.8001
    fixed = found[:, 0, 0] / (1 - steps[0])[:, None] / [20, 30]
    np.testing.assert_allclose(
        np.quantile(fixed, [0.25, 0.5, 0.75], axis=0).T, [[0.25, 0.5, 0.75]] * 2, atol=0.08
    )
    assert fixed.min() > -1e-3
    assert fixed.max() < 1.001


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


def test_zoom_stretches_columns_over_rows_by_the_aspect() -> None:
    matrices = np.asarray(Zoom(factor=2, aspect=4).matrix(seeds_of(3), (41, 61)))
    np.testing.assert_allclose(matrices[:, :, :2], [[[1, 0], [0, 0.25]]] * 3, atol=1e-6)


def test_shear_slants_both_axes_about_the_centre_within_its_angle() -> None:
    matrices = np.asarray(Shear(degrees=20).matrix(seeds_of(400), (11, 31)))
    np.testing.assert_array_equal(matrices[:, [0, 1], [0, 1]], 1)
    angles = np.degrees(np.arctan(matrices[:, [0, 1], [1, 0]]))
    assert np.abs(angles).max() <= 20
    assert angles.min(axis=0).max() < -18
    assert angles.max(axis=0).min() > 18
    assert abs(np.corrcoef(angles.T)[0, 1]) < 0.15
    centre = matrices @ np.array([5, 15, 1])
    np.testing.assert_allclose(centre, np.tile([5, 15], (400, 1)), atol=1e-5)


def seeds_of(count: int) -> object:
    return per_image(np.array([7, 1]), count)


AFFINE = [Shift(distance_px=2), Rotate(degrees=40), Zoom(aspect=(0.8, 1.25)), Shear(), Flip()]


@pytest.mark.parametrize("steps", [[step] for step in AFFINE] + [AFFINE])
def test_affine_steps_are_scipys_with_one_matrix(steps: list[Affine]) -> None:
    images = np.random.default_rng(0).random((3, 18, 25, 2)).astype(np.float32)
    seeded = [(step, derive(seeds_of(3), position)) for position, step in enumerate(steps)]
    found = np.asarray(move(images, seeded))
    matrices = [np.asarray(step.gated_matrix(seeds, (18, 25))) for step, seeds in seeded]
    for b, image in enumerate(images):
        whole = np.eye(3)
        for matrix in matrices:
            whole = whole @ np.vstack([np.broadcast_to(matrix, (3, 2, 3))[b], [0, 0, 1]])
        for c in range(2):
            expected = ndimage.affine_transform(
                image[..., c].astype(np.float64), whole, order=1, mode="mirror"
            )
            np.testing.assert_allclose(found[b, ..., c], expected, atol=1e-4)


@pytest.mark.parametrize(("border", "mode"), [("mirror", "mirror"), ("clamp", "nearest")])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), height=st.integers(1, 9), width=st.integers(1, 9))
def test_sampling_is_scipys_bilinear(
    border: Border, mode: str, seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.random((2, height, width, 3)).astype(np.float32)
    coordinates = rng.uniform(-15, 15, (2, 2, 4, 5)).astype(np.float32)
    found = sample(images, ops.convert_to_tensor(coordinates), border=border)
    for b in range(2):
        for c in range(3):
            expected = ndimage.map_coordinates(
                images[b, :, :, c].astype(np.float64), coordinates[:, b], order=1, mode=mode
            )
            np.testing.assert_allclose(found[b, :, :, c], expected, atol=2e-5)


def keys(distance: float) -> float:
    """Keys 1981, equation 15: the kernel of cubic convolution."""
    s = abs(distance)
    if s < 1:
        return 3 / 2 * s**3 - 5 / 2 * s**2 + 1
    return -1 / 2 * s**3 + 5 / 2 * s**2 - 4 * s + 2 if s < 2 else 0.0


@pytest.mark.parametrize(("border", "padding"), [("mirror", "reflect"), ("clamp", "edge")])
def test_bicubic_sampling_is_cubic_convolution(border: Border, padding: Any) -> None:
    rng = np.random.default_rng(1)
    image = rng.random((6, 9)).astype(np.float32)
    padded = np.pad(image.astype(np.float64), 2, mode=padding)
    places = np.concatenate([rng.uniform(0, [5, 8], (40, 2)), [[0, 0], [5, 8], [0.3, 7.8]]])
    expected = [
        sum(
            padded[i, j] * keys(row + 2 - i) * keys(column + 2 - j)
            for i in range(10)
            for j in range(13)
        )
        for row, column in places.astype(np.float32)
    ]
    coordinates = ops.convert_to_tensor(places.T.astype(np.float32)[:, None, None])
    found = sample(image[None, :, :, None], coordinates, "bicubic", border)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("border", "inside"),
    [("mirror", [[1.3, 3.6], [6.75, 0.5]]), ("clamp", [[0, 5], [8, 0]])],
)
def test_what_is_outside_is_read_inside(border: Border, inside: list[list[float]]) -> None:
    image = np.random.default_rng(1).random((1, 6, 9, 1)).astype(np.float32)
    outside = ops.convert_to_tensor(
        np.array([[-1.3, 6.4], [9.25, -0.5]], np.float32)[:, None, None]
    )
    brought = ops.convert_to_tensor(np.array(inside, np.float32)[:, None, None])
    expected = sample(image, brought, "bicubic", border)
    np.testing.assert_allclose(sample(image, outside, "bicubic", border), expected, atol=1e-5)


def test_a_recipe_chooses_bicubic_reading(images: np.ndarray, seed: np.ndarray) -> None:
    step = AugmentStep(name="shift")
    found = []
    for interpolation in ("bilinear", "bicubic"):
        section = InputSection.model_validate(
            {"size_px": images.shape[1:3], "interpolation": interpolation}
        )
        augment = build_augmenter([step], input=section, normalise=lambda images: images)
        found.append(np.asarray(augment(images, seed)))
        seeded = [(Shift(), derive(per_image(seed, 6), 0))]
        np.testing.assert_array_equal(found[-1], move(images, seeded, interpolation))
    assert 1e-4 < np.abs(found[0] - found[1]).max() < 0.1


EVERY = [Flip(), QuarterTurn(), Rotate(), Zoom(), Shear(), Shift(), ThinPlateSpline(spacing_px=12)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_one_reading_compiled_is_one_reading_eagerly(
    images: np.ndarray, interpolation: Interpolation
) -> None:
    def read(images: Any) -> Any:
        seeds = per_image(np.array([1, 5]), len(images))
        crop = RandomCrop(size_px=(20, 20))
        steps = [(step, derive(seeds, place)) for place, step in enumerate([crop, *EVERY])]
        return move(images, steps, interpolation)

    found = tf.function(read, jit_compile=True)(images)
    np.testing.assert_allclose(found, read(images), rtol=0, atol=1e-4)


def test_bfloat16_images_are_read_at_float32_coordinates(images: np.ndarray) -> None:
    rounded = tf.cast(images, tf.bfloat16)
    for step in EVERY:
        found = step(rounded, np.array([1, 5]))
        assert found.dtype == tf.bfloat16
        exact = step(tf.cast(rounded, tf.float32), np.array([1, 5]))
        # Half a unit in the last of bfloat16's 8 binary digits.
        np.testing.assert_allclose(tf.cast(found, tf.float32), exact, rtol=2**-8, atol=1e-6)


def test_steps_read_at_once_are_steps_one_after_another(images: np.ndarray) -> None:
    seeds = per_image(np.array([8, 9]), len(images))
    warp = ThinPlateSpline(spacing_px=12)
    steps = [Flip(), QuarterTurn(), Shift(distance_px=2), Rotate(), Zoom(), Shear(), warp]
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
    np.testing.assert_array_equal(move(images, seeded), expected)


def test_a_warp_between_turns_is_read_where_the_turn_left_it(images: np.ndarray) -> None:
    seeds = per_image(np.array([3, 1]), len(images))
    warp, flip = ThinPlateSpline(spacing_px=12, deviation_px=1), Flip()
    seeded = [(warp, derive(seeds, 0)), (flip, derive(seeds, 1))]
    expected = flip(warp(images, seeded[0][1]), seeded[1][1])
    np.testing.assert_allclose(move(images, seeded), expected, atol=1e-5)


def test_a_window_is_warped_by_itself_behind_a_step_that_is_not_geometric() -> None:
    fine = AugmentStep.model_validate({"name": "thin_plate_spline", "spacing_px": 0.25})
    window = InputSection(size_px=(8, 8), fit="crop")
    check_steps([AugmentStep(name="noise"), AugmentStep(name="blur"), fine], window, (64, 64))
    for first in ("noise", "flip"):  # noise acts after normalisation
        with pytest.raises(RecipeError, match="more than 2500"):
            check_steps([AugmentStep(name=first), fine], window, (64, 64))
    drawn_last = InputSection(size_px=(8, 8), fit="crop", normalise="per_image_16bit")
    with pytest.raises(RecipeError, match="more than 2500"):
        check_steps([AugmentStep(name="blur"), fine], drawn_last, (64, 64))


@pytest.mark.parametrize("shape", [(24, 24), (31, 23)])
def test_a_window_is_cut_from_the_warped_whole(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(2).random((6, *shape, 2)).astype(np.float32)
    seeds = per_image(np.array([3, 1]), len(images))
    steps = [RandomCrop(size_px=(16, 16)), ThinPlateSpline(spacing_px=10), Dihedral()]
    crop, warp, turn = [(step, derive(seeds, place)) for place, step in enumerate(steps)]
    expected = images
    for step, step_seeds in (warp, crop, turn):
        expected = step(expected, step_seeds)
    np.testing.assert_allclose(move(images, [crop, warp, turn]), expected, atol=2e-5)

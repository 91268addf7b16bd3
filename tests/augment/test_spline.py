"""The warp, against tensorflow-addons (golden/make_thin_plate_spline.py) and SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from deadlib.augment import control_grid, thin_plate_spline_warp
from deadlib.augment.geometry import Window
from deadlib.augment.randomness import per_image
from deadlib.augment.sampling import pixel_grid
from deadlib.augment.spline import ThinPlateSpline, spline_basis
from deadlib.errors import InputError, RecipeError

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "thin_plate_spline.npz")
CASES = sum(name.startswith("images") for name in GOLDEN.files)


def scipys_field(displacements: np.ndarray, places: np.ndarray, spacing: float) -> np.ndarray:
    """Displacements (gh, gw, 2) of control points to those at places (n, 2), in float64."""
    height, width = displacements.shape[:2]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    points = spacing * np.stack([rows, columns], axis=-1).reshape(-1, 2)
    values = displacements.reshape(-1, 2).astype(np.float64)
    return np.asarray(RBFInterpolator(points, values, kernel="thin_plate_spline")(places))


def scipys_warp(image: np.ndarray, displacements: np.ndarray, spacing: float) -> np.ndarray:
    places = pixel_grid(*image.shape[:2]).reshape(2, -1).T.astype(np.float64)
    sources = (places + scipys_field(displacements, places, spacing)).T
    channels = [
        ndimage.map_coordinates(channel.astype(np.float64), sources, order=1, mode="nearest")
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1).reshape(image.shape)


@pytest.mark.parametrize("case", range(CASES))
def test_the_warp_is_that_of_tensorflow_addons(case: int) -> None:
    images = GOLDEN[f"images_{case}"] / np.float32(255)
    spacing = float(GOLDEN[f"spacing_{case}"])
    found = thin_plate_spline_warp(images, GOLDEN[f"displacements_{case}"], spacing)
    np.testing.assert_allclose(found, GOLDEN[f"warped_{case}"], rtol=0, atol=1e-3)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**31 - 1),
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    channels=st.integers(1, 3),
    spacing=st.sampled_from([7.5, 16.0, 50.0]),
)
def test_the_warp_is_scipys(
    seed: int, height: int, width: int, channels: int, spacing: float
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.random((2, height, width, channels)).astype(np.float32)
    grid = control_grid((height, width), spacing)
    displacements = rng.normal(0, spacing / 6, (2, *grid.shape)).astype(np.float32)
    found = np.asarray(thin_plate_spline_warp(images, displacements, spacing))
    for image, moves, warped in zip(images, displacements, found, strict=True):
        np.testing.assert_allclose(warped, scipys_warp(image, moves, spacing), rtol=0, atol=5e-4)


@pytest.mark.parametrize(
    ("size_px", "spacing"),
    [((1024, 1344), 128.0), ((256, 256), 128.0), ((256, 256), 32.0), ((128, 128), 8.0)],
)
def test_every_pixel_is_displaced_as_scipy_says_to_a_thousandth(
    size_px: tuple[int, int], spacing: float
) -> None:
    rng = np.random.default_rng(0)
    deviation = spacing / 12
    displacements = rng.normal(0, deviation, control_grid(size_px, spacing).shape)
    basis = spline_basis(size_px, spacing)
    nodes = (displacements.reshape(-1, 2).T.astype(np.float32) @ basis.nodes).reshape(
        2, basis.rows.shape[1], len(basis.columns)
    )
    found = basis.rows @ nodes @ basis.columns
    # The spline is least smooth at the control points.
    rows, columns = (
        np.unique(
            np.clip(np.round(spacing * np.arange(4))[:, None] + [-2, -1, 0, 1, 3], 0, size - 1)
        )
        for size in size_px
    )
    near = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.concatenate([near, rng.integers(0, size_px, (1500, 2))]).astype(int)
    expected = scipys_field(displacements, places.astype(np.float64), spacing)
    error = np.abs(found[:, places[:, 0], places[:, 1]].T - expected).max()
    assert error < min(1e-3, 2e-4 * deviation)


def test_values_are_taken_from_where_the_displacement_points() -> None:
    images = np.arange(12, dtype=np.float32).reshape(1, 1, 12, 1).repeat(9, axis=1)
    displacements = np.zeros((1, 2, 2, 2), np.float32)
    displacements[..., 1] = 2
    found = np.asarray(thin_plate_spline_warp(images, displacements, 16.0))[0, 4, :, 0]
    np.testing.assert_allclose(found, np.minimum(np.arange(12) + 2, 11), atol=1e-5)


def test_control_points_stand_on_multiples_of_the_spacing_and_cover_the_image() -> None:
    np.testing.assert_array_equal(control_grid((256, 256), 128)[:, 0, 0], [0, 128, 256])
    np.testing.assert_array_equal(control_grid((257, 257), 128)[:, 0, 0], [0, 128, 256])
    np.testing.assert_array_equal(control_grid((258, 1), 128)[:, 0, 0], [0, 128, 256, 384])
    np.testing.assert_array_equal(control_grid((258, 1), 128)[0, :, 1], [0, 128])
    assert control_grid((1024, 1344), 128).shape == (9, 12, 2)


def test_eager_graph_and_compiled_agree_for_batches_of_any_size() -> None:
    images = GOLDEN["images_4"].astype(np.float32) / 255
    displacements = GOLDEN["displacements_4"]
    expected = thin_plate_spline_warp(images, displacements, 10)

    def warp(images: Any, displacements: Any) -> Any:
        return thin_plate_spline_warp(images, displacements, 10)

    shapes = [tf.TensorSpec((None, *array.shape[1:])) for array in (images, displacements)]
    for compiled in (False, True):
        function = tf.function(warp, input_signature=shapes, jit_compile=compiled)
        for size in (3, 1):
            found = function(images[:size], displacements[:size])
            np.testing.assert_allclose(found, expected[:size], rtol=0, atol=1e-5)


def test_it_runs_inside_a_data_pipeline() -> None:
    images = GOLDEN["images_4"].astype(np.float32) / 255
    displacements = GOLDEN["displacements_4"]
    data = tf.data.Dataset.from_tensors((images, displacements))
    found = next(iter(data.map(lambda image, moves: thin_plate_spline_warp(image, moves, 10))))
    np.testing.assert_allclose(
        found, thin_plate_spline_warp(images, displacements, 10), rtol=0, atol=1e-5
    )


def test_bfloat16_images_are_read_at_exact_places() -> None:
    images = tf.cast(GOLDEN["images_0"], tf.bfloat16)
    displacements = GOLDEN["displacements_0"]
    found = thin_plate_spline_warp(images, displacements, 32)
    assert found.dtype == tf.bfloat16
    exact = thin_plate_spline_warp(tf.cast(images, tf.float32), displacements, 32)
    # Half a unit in the last of bfloat16's 8 binary digits.
    np.testing.assert_allclose(tf.cast(found, tf.float32), exact, rtol=2**-8, atol=1e-5)


def test_gradients_flow_to_images_and_displacements() -> None:
    images = tf.constant(GOLDEN["images_4"].astype(np.float32))
    displacements = tf.constant(GOLDEN["displacements_4"])
    with tf.GradientTape() as tape:
        tape.watch([images, displacements])
        total = tf.reduce_sum(thin_plate_spline_warp(images, displacements, 10) ** 2)
    for gradient in tape.gradient(total, [images, displacements]):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 2, 3), (1, 3, 3, 2), (2, 3, 3, 3)])
def test_displacements_of_the_wrong_shape_are_told_the_right_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(2, 3, 3, 2\), because control points 128 px"):
        thin_plate_spline_warp(np.zeros((2, 256, 256, 1)), np.zeros(shape), 128)


@pytest.mark.parametrize("spacing", [0, -3.0, float("nan"), float("inf")])
def test_a_spacing_that_is_none_is_refused(spacing: float) -> None:
    with pytest.raises(InputError, match="expected a number above 0"):
        thin_plate_spline_warp(np.zeros((1, 8, 8, 1)), np.zeros((1, 2, 2, 2)), spacing)


def test_images_without_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match=r"images of shape \(8, 8, 1\); expected \(batch, height"):
        thin_plate_spline_warp(np.zeros((8, 8, 1)), np.zeros((1, 2, 2, 2)), 8)


def test_the_step_moves_control_points_by_the_deviation() -> None:
    layer = ThinPlateSpline(spacing_px=8, deviation_px=1.5)
    grid = pixel_grid(17, 17)
    seeds = per_image(np.array([1, 2]), 300)
    moved = np.stack(layer.source(grid, seeds, Window((17, 17), (17, 17)))) - grid
    at_points = moved[:, :, ::8, ::8]
    np.testing.assert_allclose(at_points.std(), 1.5, rtol=0.05)
    np.testing.assert_allclose(at_points.mean(), 0, atol=0.1)
    rows_and_columns = at_points.reshape(2, -1)
    assert abs(np.corrcoef(rows_and_columns)[0, 1]) < 0.08


def test_a_spline_with_too_many_points_is_refused_with_advice() -> None:
    with pytest.raises(RecipeError, match="larger spacing_px"):
        ThinPlateSpline(spacing_px=4).check_size((1024, 1024))


def test_the_published_warp_of_a_full_frame_is_not_refused() -> None:
    ThinPlateSpline(spacing_px=128, deviation_px=10).check_size((1024, 1344))

"""What a stored image goes through: the same numbers from a reference, in every mode."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.data.preprocess import Preprocess, fit_size, fit_statistics, preprocess_for
from deadlib.errors import InputError, RecipeError
from deadlib.recipe import InputSection


def random_images(seed: int, batch: int = 3, height: int = 8, width: int = 10) -> np.ndarray:
    """(B, H, W, 2) float32 in unit range, dim like a 16-bit camera's."""
    generator = np.random.default_rng(seed)
    return (0.02 + 0.003 * generator.normal(size=(batch, height, width, 2))).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), gain=st.floats(0.1, 10), offset=st.floats(0, 0.5))
def test_per_image_normalisation_forgets_gain_and_offset(
    seed: int, gain: float, offset: float
) -> None:
    layer = Preprocess((8, 10), "resize", "per_image")
    images = random_images(seed)
    plain = np.asarray(layer(images))
    np.testing.assert_allclose(plain.mean(axis=(1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(plain.std(axis=(1, 2)), 1, atol=1e-3)
    changed = np.asarray(layer((gain * images + offset).astype(np.float32)))
    np.testing.assert_allclose(changed, plain, atol=0.01)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), gain=st.floats(0.1, 10), contrast=st.floats(0.3, 3))
def test_half_contrast_forgets_exposure_and_keeps_half_of_the_contrast(
    seed: int, gain: float, contrast: float
) -> None:
    layer = Preprocess((8, 10), "resize", "half_contrast")
    images = random_images(seed)
    plain = np.asarray(layer(images))
    level, spread = images.mean(axis=(1, 2)), images.std(axis=(1, 2))
    np.testing.assert_allclose(plain.mean(axis=(1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(plain.std(axis=(1, 2)), np.sqrt(spread / level / 0.2), rtol=1e-3)
    np.testing.assert_allclose(layer(gain * images), plain, atol=0.01)
    level = level[:, None, None]
    stretched = np.asarray(layer(level + contrast * (images - level)))
    np.testing.assert_allclose(stretched, np.sqrt(contrast) * plain, atol=0.01)


def test_half_contrast_is_bounded_on_a_background_near_or_below_zero() -> None:
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype(np.float32)
    images += np.float32([-1e-3, 1e-6, 1e-3])[:, None, None, None]
    found = np.asarray(Preprocess((16, 16), "resize", "half_contrast")(images))
    np.testing.assert_allclose(found.std(axis=(1, 2)), 3, rtol=1e-4)


def test_an_image_without_contrast_becomes_zeros() -> None:
    images = np.full((2, 4, 4, 1), 0.3, np.float32)
    found = np.asarray(Preprocess((4, 4), "resize", "per_image")(images))
    np.testing.assert_allclose(found, 0, atol=0.05)


def test_dataset_normalisation_uses_the_statistics_of_each_channel() -> None:
    images = random_images(1)
    layer = Preprocess((8, 10), "resize", "dataset", mean=(0.02, 0.01), deviation=(0.003, 0.5))
    expected = (images - np.float32([0.02, 0.01])) / np.float32([0.003, 0.5])
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-5)


def test_without_normalisation_images_stay_in_unit_range() -> None:
    images = random_images(2)
    np.testing.assert_array_equal(Preprocess((8, 10), "resize", "none")(images), images)


def test_whole_images_are_standardised_and_stored_as_the_published_integers() -> None:
    """The reference stores 16-bit integers and reads them as the released transform does."""
    images = random_images(9, height=12, width=14)
    images[0, 2, 3] += 10  # beyond what can be stored
    wide = images.astype(np.float64)
    mean, deviation = (part(wide, axis=(1, 2), keepdims=True) for part in (np.mean, np.std))
    stored = np.rint(32767 + 4000 * (wide - mean) / deviation).clip(0, 65535).astype(np.uint16)
    expected = ((stored.astype(np.float64) - 32767) * 0.00025)[:, 2:10, 2:12]
    found = np.asarray(Preprocess((8, 10), "crop", "per_image_16bit")(images))
    # A float32 now and then rounds to the neighbour.
    np.testing.assert_allclose(found, expected, atol=0.00026)
    assert (np.abs(found - expected) < 1e-6).mean() > 0.95
    assert found.max() == pytest.approx(8.192)
    np.testing.assert_allclose(found * 4000, np.rint(found * 4000), atol=1e-3)


def test_crop_takes_the_middle() -> None:
    images = np.arange(2 * 6 * 8 * 1, dtype=np.float32).reshape(2, 6, 8, 1)
    found = Preprocess((2, 4), "crop", "none")(images)
    np.testing.assert_array_equal(found, images[:, 2:4, 2:6])


def test_images_smaller_than_the_crop_are_refused() -> None:
    with pytest.raises(InputError, match="8 x 10 px are smaller than the 9 x 9 px"):
        Preprocess((9, 9), "crop", "none")(random_images(3))


def test_preprocessing_stays_float32_under_mixed_precision() -> None:
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = Preprocess((8, 10), "resize", "per_image")(random_images(4))
    finally:
        keras.config.set_dtype_policy(former)
    assert found.dtype == tf.float32


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_saved_layer_gives_the_same_numbers(tmp_path: Path, fit: str) -> None:
    layer = Preprocess((4, 6), fit, "dataset", mean=(0.1, 0.2), deviation=(0.3, 0.4))
    image = keras.Input((8, 10, 2))
    keras.Model(image, layer(image)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = random_images(5)
    np.testing.assert_array_equal(loaded(images), layer(images))
    assert loaded.output_shape == layer.compute_output_shape((None, 8, 10, 2))


def test_resize_smooths_before_it_samples() -> None:
    checkerboard = np.indices((32, 32)).sum(axis=0)[..., None].astype(np.float32) % 2
    section = InputSection(size_px=(8, 8))
    found = np.asarray(fit_size(tf.constant(checkerboard), section))
    assert found.shape == (8, 8, 1)
    np.testing.assert_allclose(found, 0.5, atol=0.05)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    image = random_images(6)[0]
    np.testing.assert_array_equal(
        fit_size(tf.constant(image), InputSection(size_px=(8, 10))), image
    )


def test_fit_size_works_on_any_size_in_one_graph() -> None:
    section = InputSection(size_px=(5, 7))
    fitted = tf.function(
        lambda image: fit_size(image, section),
        input_signature=[tf.TensorSpec((None, None, 2), tf.float32)],
    )
    for height, width in ((5, 7), (3, 20), (11, 4)):
        image = random_images(7, 1, height, width)[0]
        np.testing.assert_array_equal(fitted(tf.constant(image)), fit_size(image, section))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 19), max_size=4, unique=True).map(sorted),
)
def test_statistics_do_not_depend_on_the_batches(seed: int, cuts: list[int]) -> None:
    images = random_images(seed, batch=20)
    found = fit_statistics(np.split(images, cuts))
    wide = images.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found.deviation, wide.std(axis=(0, 1, 2)), rtol=1e-7)


def test_a_small_spread_on_a_high_background_is_not_lost() -> None:
    generator = np.random.default_rng(0)
    images = (1e4 + 1e-2 * generator.integers(0, 2, (50, 4, 4, 1))).astype(np.float64)
    found = fit_statistics(np.split(images, 10))
    np.testing.assert_allclose(found.deviation, images.std(axis=(0, 1, 2)), rtol=1e-6)


def test_a_run_without_statistics_is_refused() -> None:
    with pytest.raises(RecipeError, match="statistics of the training split"):
        preprocess_for(InputSection(normalise="dataset"), {"statistics": None})


def test_a_runs_preprocessing_comes_from_recipe_and_dataset() -> None:
    section = InputSection(size_px=(4, 4), fit="crop", normalise="dataset")
    layer = preprocess_for(section, {"statistics": {"mean": [0.5, 0.1], "deviation": [2.0, 1.0]}})
    images = random_images(8)
    middle = images[:, 2:6, 3:7]
    expected = (middle - np.float32([0.5, 0.1])) / np.float32([2.0, 1.0])
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-6)


def test_imagenet_normalisation_has_torchvisions_constants() -> None:
    section = InputSection(size_px=(2, 2), normalise="imagenet")
    rgb = preprocess_for(section, {"channels": ["red", "green", "blue"]})
    images = np.full((1, 2, 2, 3), 0.5, np.float32)
    # torchvision: Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    expected = [0.0655022, 0.1964286, 0.4177778]
    np.testing.assert_allclose(np.asarray(rgb(images))[0, 0, 0], expected, rtol=1e-5)
    grey = preprocess_for(section, {"channels": ["phase"]})
    found = float(np.asarray(grey(images[..., :1]))[0, 0, 0, 0])
    assert found == pytest.approx((0.5 - 0.449) / 0.226, rel=1e-5)

"""What every augmentation promises."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from deadlib.augment import AUGMENTATIONS, MIXINGS, Augmentation
from deadlib.errors import RecipeError

NAMES = list(AUGMENTATIONS)

# Settings under which an augmentation has nothing to do.
IDENTITY: dict[str, dict[str, object]] = {
    "flip": {"horizontal": False, "vertical": False},
    "rotate": {"degrees": 0},
    "zoom": {"factor": 1},
    "zoom_anywhere": {"factor": 1},
    "shear": {"degrees": 0},
    "shift": {"distance_px": 0},
    "thin_plate_spline": {"deviation_px": 0, "spacing_px": 8},
    "blur": {"sigma_px": 0},
    "defocus": {"radius_px": 0},
    "sharpen": {"amount": 0},
    "contrast": {"factor": 1},
    "brightness": {"amplitude": 0},
    "lighting": {"scale": 1, "change": 0.5},
    "gamma": {"exponent": 1},
    "saturate": {"limit": 1e6},
    "background_gradient": {"amplitude": 0},
    "camera_noise": {"photons": 1e14, "read_noise": 0},
    "noise": {"sigma": 0},
    "gain_offset": {"gain_deviation": 0, "offset_deviation": 0},
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def layer(name: str) -> Augmentation:
    return AUGMENTATIONS[name]()


def test_shape_and_type_stay(layer: Augmentation, images: np.ndarray, seed: np.ndarray) -> None:
    for batch in (images, images[:1, :, :, :1]):
        found = layer(batch, seed)
        assert found.shape == batch.shape
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()


def test_images_do_change(layer: Augmentation, images: np.ndarray, seed: np.ndarray) -> None:
    assert np.abs(layer(images, seed) - images).mean() > 1e-3


def test_the_same_seed_gives_the_same_images_and_another_gives_others(
    layer: Augmentation, images: np.ndarray, seed: np.ndarray
) -> None:
    first = np.asarray(layer(images, seed))
    np.testing.assert_array_equal(first, layer(images, seed))
    assert not np.array_equal(first, layer(images, seed + 1))


def test_every_image_draws_for_itself(layer: Augmentation, images: np.ndarray) -> None:
    alike = np.repeat(images[:1], 16, axis=0)
    found = np.asarray(layer(alike, np.array([1, 2]))).reshape(16, -1)
    assert len(np.unique(found, axis=0)) > 2


def test_an_image_with_its_own_seed_does_not_depend_on_its_batch(
    layer: Augmentation, images: np.ndarray
) -> None:
    seeds = np.arange(12).reshape(6, 2)
    together = layer(images, seeds)
    apart = layer(images[3:4], seeds[3:4])
    np.testing.assert_allclose(together[3:4], apart, rtol=1e-5, atol=1e-6)


def test_eager_graph_and_compiled_agree(
    layer: Augmentation, images: np.ndarray, seed: np.ndarray
) -> None:
    eager = layer(images, seed)
    for compiled in (False, True):
        found = tf.function(layer, jit_compile=compiled)(images, seed)
        np.testing.assert_allclose(found, eager, rtol=1e-4, atol=2e-5)


def test_at_no_strength_nothing_changes(name: str, images: np.ndarray, seed: np.ndarray) -> None:
    if name not in IDENTITY:
        pytest.skip("has no strength")
    found = AUGMENTATIONS[name](**IDENTITY[name])(images, seed)
    np.testing.assert_allclose(found, images, rtol=0, atol=1e-6)


def test_at_probability_0_nothing_changes_at_all(
    name: str, images: np.ndarray, seed: np.ndarray
) -> None:
    found = AUGMENTATIONS[name](probability=0)(images, seed)
    np.testing.assert_array_equal(found, images)


def test_probability_is_the_share_of_images_that_change(name: str, images: np.ndarray) -> None:
    if name in ("flip", "quarter_turn", "dihedral"):
        pytest.skip("may leave an image as it is by chance")
    many = np.repeat(images[:1, :12, :12], 400, axis=0)
    found = np.asarray(AUGMENTATIONS[name](probability=0.25)(many, np.array([5, 6])))
    changed = (found != many).any(axis=(1, 2, 3)).mean()
    assert 0.17 < changed < 0.33


def test_it_stays_float32_under_mixed_precision(
    name: str, images: np.ndarray, seed: np.ndarray
) -> None:
    expected = AUGMENTATIONS[name]()(images, seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = AUGMENTATIONS[name]()(images, seed)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(found, expected)


def test_its_config_makes_it_again(name: str, images: np.ndarray, seed: np.ndarray) -> None:
    layer = AUGMENTATIONS[name](probability=0.5)
    again = type(layer).from_config(layer.get_config())
    assert again.settings == layer.settings
    np.testing.assert_array_equal(again(images, seed), layer(images, seed))


def test_an_unknown_parameter_names_the_known_ones(name: str) -> None:
    with pytest.raises(RecipeError, match=r"unknown parameter probabilty; did you mean probab"):
        AUGMENTATIONS[name](probabilty=0.5)


@pytest.mark.parametrize("probability", [-0.1, 1.1, "often", float("nan")])
def test_a_probability_that_is_none_is_refused(name: str, probability: object) -> None:
    with pytest.raises(RecipeError, match=r"probability: .*; found"):
        AUGMENTATIONS[name](probability=probability)


def test_every_setting_is_described(name: str) -> None:
    for field in AUGMENTATIONS[name].Settings.model_fields.values():
        assert field.description


def test_settings_have_names_that_yaml_takes_for_names() -> None:
    for kind in (*AUGMENTATIONS.values(), *MIXINGS.values()):
        for setting in kind.Settings.model_fields:
            assert yaml.safe_load(setting) == setting  # `on` would be true

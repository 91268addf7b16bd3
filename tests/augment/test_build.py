from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deadlib.augment import AUGMENTATIONS, build_augmenter
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection

ALL = [{"name": name} for name in AUGMENTATIONS]


def build(
    steps: list[dict[str, object]], normalise: Any = lambda images: images, **options: object
) -> Any:
    section = InputSection.model_validate({"size_px": (24, 24), **options})
    return build_augmenter(
        [AugmentStep.model_validate(step) for step in steps], input=section, normalise=normalise
    )


def standardise(images: Any) -> Any:
    mean, variance = tf.nn.moments(images, (1, 2), keepdims=True)
    return (images - mean) / tf.sqrt(variance)


def test_without_steps_images_are_normalised_only(images: np.ndarray, seed: np.ndarray) -> None:
    found = build([], standardise)(images, seed)
    np.testing.assert_array_equal(found, standardise(images))


def test_steps_stand_before_and_after_normalisation(images: np.ndarray, seed: np.ndarray) -> None:
    augment = build(
        [{"name": "noise", "sigma": 0.5}, {"name": "contrast", "factor": 3}], standardise
    )
    added = np.asarray(augment(images, seed)) - np.asarray(standardise(images))
    np.testing.assert_allclose(added.std(), 0.5, rtol=0.05)


def test_crop_comes_first_and_gives_the_size_of_the_input(
    images: np.ndarray, seed: np.ndarray
) -> None:
    found = build(ALL, standardise, fit="crop", size_px=(16, 16))(images, seed)
    assert found.shape == (6, 16, 16, 2)


def test_a_crop_without_steps_is_a_window_of_each_image(
    images: np.ndarray, seed: np.ndarray
) -> None:
    found = np.asarray(build([], fit="crop", size_px=(20, 22))(images, seed))
    for image, crop in zip(images, found, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (20, 22), axis=(0, 1))
        assert (np.moveaxis(windows, 2, -1) == crop).all(axis=(2, 3, 4)).any()


def test_a_crop_comes_last_where_whole_images_are_normalised(
    images: np.ndarray, seed: np.ndarray
) -> None:
    section = InputSection(fit="crop", size_px=(16, 17), normalise="per_image_16bit")
    flip = [AugmentStep(name="flip")]
    augment = build_augmenter(flip, input=section, normalise=standardise)
    found = np.asarray(augment(images, seed))
    flipped = build([{"name": "flip"}], standardise)(images, seed)
    for image, crop in zip(np.asarray(flipped), found, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (16, 17), axis=(0, 1))
        assert (np.abs(np.moveaxis(windows, 2, -1) - crop) < 1e-5).all(axis=(2, 3, 4)).any()


# All in one chain take XLA minutes; no recipe has so many.
@pytest.mark.parametrize("steps", [ALL[::2], ALL[1::2]], ids=["even", "odd"])
def test_many_steps_together_agree_eagerly_in_a_graph_and_compiled(
    steps: list[dict[str, object]], images: np.ndarray, seed: np.ndarray
) -> None:
    augment = build(steps, standardise)
    eager = augment(images, seed)
    assert np.isfinite(eager).all()
    for compiled in (False, True):
        found = tf.function(augment, jit_compile=compiled, autograph=False)(images, seed)
        np.testing.assert_allclose(found, eager, rtol=1e-3, atol=1e-3)


def test_one_function_serves_batches_of_any_size(images: np.ndarray, seed: np.ndarray) -> None:
    shape = tf.TensorSpec((None, 24, 24, 2))
    signature = [shape, tf.TensorSpec((2,), tf.int32)]
    augment = tf.function(build(ALL), input_signature=signature, autograph=False)
    assert augment(images, seed).shape == images.shape
    assert augment(images[:3], seed).shape == images[:3].shape


def test_a_seed_per_image_makes_the_share_of_devices_not_matter(images: np.ndarray) -> None:
    augment = build(ALL, standardise)
    seeds = np.arange(12).reshape(6, 2)
    halves = [augment(images[part], seeds[part]) for part in (slice(0, 3), slice(3, 6))]
    np.testing.assert_allclose(augment(images, seeds), np.concatenate(halves), rtol=1e-3, atol=1e-4)


def test_the_same_step_twice_draws_twice(images: np.ndarray, seed: np.ndarray) -> None:
    noise: dict[str, object] = {"name": "noise", "sigma": 1.0}
    once = np.asarray(build([noise])(images, seed)) - images
    twice = np.asarray(build([noise, noise])(images, seed)) - images
    np.testing.assert_allclose(twice.std(), np.sqrt(2), rtol=0.05)
    np.testing.assert_allclose(once.std(), 1.0, rtol=0.05)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "bulr"}, r"step 1 \(bulr\): unknown; did you mean blur\? known: flip, "),
        (
            {"name": "blur", "sigma": 1},
            r"step 1 \(blur\): unknown parameter sigma; did you mean si",
        ),
        ({"name": "zoom", "factor": 0}, r"step 1 \(zoom\): factor: "),
    ],
)
def test_a_mistake_in_a_recipe_is_placed(step: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build([step])


def test_quarter_turns_of_oblong_input_are_refused_when_built() -> None:
    with pytest.raises(RecipeError, match="24 x 32 px; use flip"):
        build([{"name": "quarter_turn"}], size_px=(24, 32))

"""Five windows of an image, from the cut to what a network makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from deadlib.augment import build_augmenter
from deadlib.crops import five_crops
from deadlib.data.preprocess import preprocess_for
from deadlib.errors import InputError, RecipeError
from deadlib.models import build_network, embedding_network, halves
from deadlib.recipe import AugmentStep, InputSection, ModelSection, parse_recipe

FIVE = InputSection(size_px=(512, 512), fit="crop", crops=5, normalise="none")


def numbered(rows: int, columns: int) -> np.ndarray:
    """An image (1, rows, columns, 1) whose every pixel is another number."""
    return np.arange(rows * columns, dtype=np.float32).reshape(1, rows, columns, 1)


def test_the_windows_are_the_corners_and_the_centre_of_the_published_fields() -> None:
    image = numbered(1024, 1360)
    crops = np.asarray(five_crops(image, (512, 512)))
    assert crops.shape == (1, 5, 512, 512, 1)
    starts = [divmod(int(crop[0, 0, 0]), 1360) for crop in crops[0]]
    assert starts == [(0, 0), (0, 848), (512, 0), (512, 848), (256, 424)]
    for crop, (top, left) in zip(crops[0], starts, strict=True):
        np.testing.assert_array_equal(crop, image[0, top : top + 512, left : left + 512])


def test_an_image_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="511 x 600 px are smaller than the 512 x 512 px"):
        five_crops(numbered(511, 600), (512, 512))


def test_each_crop_is_normalised_by_itself() -> None:
    section = InputSection(size_px=(8, 8), fit="crop", crops=5, normalise="per_image")
    seen = np.asarray(preprocess_for(section, {"channels": ["a"]}).crops(numbered(20, 30)))
    np.testing.assert_allclose(seen.mean(axis=(2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(axis=(2, 3)), 1, atol=1e-5)


def test_each_crop_is_augmented_by_a_seed_of_its_own() -> None:
    image = np.ones((2, 40, 40, 1), np.float32)
    section = InputSection(size_px=(8, 8), fit="crop", crops=5, normalise="none")
    step = AugmentStep(name="gain_offset")
    augment = build_augmenter([step], input=section, normalise=lambda images: images)
    found = np.asarray(augment(image, np.array([3, 4])))
    assert found.shape == (2, 5, 8, 8, 1)
    assert len(np.unique(found[..., 0, 0, 0])) == 10
    np.testing.assert_array_equal(found, augment(image, np.array([3, 4])))


def test_without_augmentation_training_sees_what_prediction_sees() -> None:
    image = numbered(20, 30) / 600
    section = InputSection(size_px=(8, 8), fit="crop", crops=5, normalise="per_image")
    preprocess = preprocess_for(section, {"channels": ["a"]})
    augment = build_augmenter([], input=section, normalise=preprocess.normalise)
    np.testing.assert_array_equal(augment(image, np.array([0, 0])), preprocess.crops(image))


def test_an_image_is_classified_by_the_mean_embedding_of_its_crops() -> None:
    section = ModelSection(name="small_cnn", width=4, dropout=0.3)
    network = build_network(section, size_px=(16, 16), channels=2, classes=3)
    crops = np.random.default_rng(0).normal(size=(2, 5, 16, 16, 2)).astype(np.float32)
    logits, embedding = embedding_network(network, crops=5).predict_on_batch(crops)
    embed, classify = halves(network)
    alone = np.stack([np.asarray(embed(crops[:, place], training=False)) for place in range(5)])
    np.testing.assert_allclose(embedding, alone.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(logits, classify(alone.mean(axis=0), training=False), atol=1e-6)


def test_crops_without_cropping_are_refused() -> None:
    with pytest.raises(RecipeError, match="5 windows are cut with fit: crop only"):
        parse_recipe({"dataset": "d", "input": {"crops": 5}})


def test_mixing_examples_of_several_crops_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"step 1 \(mixup\): mixes single images"):
        build_augmenter([AugmentStep(name="mixup")], input=FIVE, normalise=lambda images: images)

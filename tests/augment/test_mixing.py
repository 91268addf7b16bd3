"""Mixed images, and labels mixed alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from deadlib.augment import MIXINGS, Mixing, build_augmenter, build_mixer
from deadlib.augment.mixing import Cutmix, Mixup, beta, partners
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection

SEEDS = np.random.default_rng(0).integers(0, 2**32, (64, 2), dtype=np.uint32)
TARGETS = np.eye(64, dtype=np.float32)
# Every pixel of an image says which image it is.
NUMBERED = np.arange(64, dtype=np.float32)[:, None, None, None] * np.ones((1, 12, 20, 2), "f4")


@pytest.fixture(params=list(MIXINGS))
def layer(request: pytest.FixtureRequest) -> Mixing:
    return MIXINGS[request.param](probability=1.0)


def mixed(layer: Any, seeds: np.ndarray = SEEDS) -> tuple[np.ndarray, np.ndarray]:
    images, targets = layer(NUMBERED, TARGETS, seeds)
    return np.asarray(images), np.asarray(targets)


def test_labels_have_the_shares_of_the_pixels(layer: Mixing) -> None:
    images, targets = mixed(layer)
    assert images.shape == NUMBERED.shape
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), targets @ np.arange(64), rtol=1e-4)
    assert ((targets > 0).sum(axis=1) <= 2).all()


def test_everyone_is_taken_in_by_one_other() -> None:
    partner = np.asarray(partners(SEEDS))
    np.testing.assert_array_equal(np.sort(partner), np.arange(64))
    assert (partner != np.arange(64)).all()
    assert not np.array_equal(partner, partners(SEEDS + np.uint32(1)))


def test_the_pairs_follow_the_examples_and_not_their_places(layer: Mixing) -> None:
    order = np.random.default_rng(1).permutation(64)
    images, targets = layer(NUMBERED[order], TARGETS[order], SEEDS[order])
    expected = mixed(layer)
    np.testing.assert_allclose(images, expected[0][order], rtol=1e-6)
    np.testing.assert_allclose(targets, expected[1][order], rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha: float) -> None:
    seeds = np.random.default_rng(0).integers(0, 2**32, (20000, 2), dtype=np.uint32)
    found = np.asarray(beta(seeds, 2, alpha), np.float64)
    points = np.linspace(0.001, 0.999, 200)
    below = (found[:, None] <= points).mean(axis=0)
    np.testing.assert_allclose(below, stats.beta(alpha, alpha).cdf(points), atol=0.012)


def test_cutmix_pastes_one_rectangle_of_the_images_shape() -> None:
    images, targets = mixed(Cutmix(probability=1.0))
    whole = 0
    for number, image in enumerate(images[..., 0]):
        pasted = image != number
        if not pasted.any():
            continue
        rows, columns = np.flatnonzero(pasted.any(axis=1)), np.flatnonzero(pasted.any(axis=0))
        assert pasted[np.ix_(rows, columns)].all()
        assert len(rows) == np.ptp(rows) + 1
        assert len(columns) == np.ptp(columns) + 1
        inside = rows[0] > 0 and rows[-1] < 11 and columns[0] > 0 and columns[-1] < 19
        if inside:
            whole += 1
            assert abs(len(rows) / 12 - len(columns) / 20) < 1 / 12
        np.testing.assert_allclose(targets[number, number], 1 - pasted.mean(), atol=1e-6)
    assert whole > 5


def test_probability_is_the_share_of_examples_that_are_mixed(layer: Mixing) -> None:
    _, targets = mixed(type(layer)(probability=0.4))
    assert 0.2 < (targets.max(axis=1) < 1).mean() < 0.55
    images, targets = mixed(type(layer)(probability=0))
    np.testing.assert_array_equal(images, NUMBERED)
    np.testing.assert_array_equal(targets, TARGETS)


def test_it_is_the_same_again_and_compiled(layer: Mixing) -> None:
    compiled = tf.function(layer, jit_compile=True)(NUMBERED, TARGETS, SEEDS)
    for found, expected in zip(compiled, mixed(layer), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_an_example_alone_stays_as_it_is(layer: Mixing) -> None:
    images, targets = layer(NUMBERED[5:6], TARGETS[5:6], SEEDS[5:6])
    np.testing.assert_allclose(images, NUMBERED[5:6], rtol=1e-6)
    np.testing.assert_allclose(targets, TARGETS[5:6], rtol=1e-6)


def test_a_recipes_mixings_are_apart_from_its_other_steps() -> None:
    steps = [
        AugmentStep.model_validate(step)
        for step in ({"name": "mixup", "alpha": 1.0}, {"name": "noise", "sigma": 0})
    ]
    augment = build_augmenter(
        steps, input=InputSection(size_px=(12, 20)), normalise=lambda images: images
    )
    np.testing.assert_array_equal(augment(NUMBERED, SEEDS), NUMBERED)
    mix = build_mixer(steps)
    assert mix is not None
    assert (np.asarray(mix(NUMBERED, TARGETS, SEEDS)[1]).max(axis=1) < 1).mean() > 0.9
    assert build_mixer(steps[1:]) is None


def test_a_mistake_in_a_mixing_is_placed() -> None:
    for step, message in (
        ({"name": "mixpu"}, r"step 1 \(mixpu\): unknown; did you mean mixup"),
        ({"name": "cutmix", "alpha": 0}, r"step 1 \(cutmix\): alpha: .*greater than 0"),
    ):
        with pytest.raises(RecipeError, match=message):
            build_mixer([AugmentStep.model_validate(step)])


def test_every_setting_is_described(layer: Mixing) -> None:
    assert all(field.description for field in layer.Settings.model_fields.values())


def test_mixup_blends_pixel_by_pixel() -> None:
    noise = np.random.default_rng(2).normal(size=(64, 4, 4, 1)).astype(np.float32)
    images, targets = (np.asarray(part) for part in Mixup(alpha=1.0)(noise, TARGETS, SEEDS))
    expected = np.tensordot(targets, noise, 1)
    np.testing.assert_allclose(images, expected, atol=1e-5)

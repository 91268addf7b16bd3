"""Layers of KerasCV in a recipe: drawn by our seeds, or refused with a reason."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deadlib.augment import build_augmenter
from deadlib.augment.keras_cv import _Draws
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection

SEEDS = np.arange(16).reshape(8, 2)
RED = np.random.default_rng(0).random((8, 12, 12, 3)).astype(np.float32)


def build(name: str, **parameters: Any) -> Any:
    pytest.importorskip("keras_cv", reason="the extra keras-cv is not installed")
    step = AugmentStep.model_validate({"name": f"keras_cv.{name}", **parameters})
    section = InputSection(size_px=(12, 12))
    return build_augmenter([step], input=section, normalise=lambda images: images)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("RandomHue", {"factor": 0.5}),
        ("RandomContrast", {"factor": 0.5}),
        ("RandomRotation", {"factor": 0.3}),
    ],
)
def test_what_is_drawn_follows_from_the_seed_of_each_image(
    name: str, parameters: dict[str, Any]
) -> None:
    augment = build(name, **parameters)
    alike = np.repeat(RED[:1], 8, axis=0)
    found = np.asarray(augment(alike, SEEDS))
    assert len(np.unique(found.reshape(8, -1), axis=0)) > 4
    again = tf.function(build(name, **parameters))
    np.testing.assert_allclose(again(alike, SEEDS), found, atol=1e-5)
    np.testing.assert_allclose(augment(alike[:3], SEEDS[5:]), found[5:], atol=1e-5)
    # In unit range, with a little over for layers that do not clip.
    assert found.min() > -0.6
    assert found.max() < 1.6


def test_a_normal_draw_does_not_follow_from_the_uniform_ones() -> None:
    draws = _Draws()
    draws.start(tf.constant([[1, 2]], tf.uint32))
    normal = np.asarray(draws.normal((50,)))
    uniform = [np.asarray(draws.uniform((50,))) for _ in range(6)]
    for first, second in pairwise(uniform):
        by_box_and_muller = np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)
        assert abs(np.corrcoef(normal, by_box_and_muller)[0, 1]) < 0.5


def test_probability_is_ours() -> None:
    found = np.asarray(build("RandomHue", factor=(0.5, 0.5), probability=0.0)(RED, SEEDS))
    np.testing.assert_array_equal(found, RED)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("RandomHeu", {}, r"keras_cv\.RandomHeu\): no augmentation of KerasCV; did you mean"),
        ("RandomHue", {"factr": 1}, "unknown parameter factr; did you mean factor"),
        ("RandomHue", {"factor": [0.5, 0.1]}, r"step 1 \(keras_cv\.RandomHue\): .*must be"),
        ("RandomHue", {}, "factor"),
        ("MixUp", {}, "needs several images; use mixup"),
    ],
)
def test_mistakes_are_named(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(name, **parameters)


def test_images_that_do_not_fit_are_refused_when_first_seen() -> None:
    with pytest.raises(RecipeError, match=r"RandomHue\): cannot be applied.*\(12, 12, 1\)"):
        build("RandomHue", factor=0.5)(RED[..., :1], SEEDS)
    with pytest.raises(RecipeError, match=r"RandomCrop\): makes images of \(6, 6, 3\)"):
        build("RandomCrop", height=6, width=6)(RED, SEEDS)


def test_without_the_extra_the_recipe_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    step = AugmentStep.model_validate({"name": "keras_cv.RandomHue", "factor": 0.5})
    with pytest.raises(RecipeError, match=r'pip install "deadlib\[keras-cv\]"'):
        build_augmenter([step], input=InputSection(), normalise=lambda images: images)

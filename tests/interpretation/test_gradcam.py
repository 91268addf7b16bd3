"""Grad-CAM maps are those of the definition, and lie where the network looked."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from deadlib.errors import InputError
from deadlib.interpretation import methods, names
from deadlib.interpretation.gradcam import evidence, heat_maps, maps_and_weights
from deadlib.models import build_network, last_convolution
from deadlib.recipe import ModelSection

SIZE_PX = {"small_cnn": 16, "deadnet": 64, "resnet34": 32, "densenet121": 32, "efficientnetb0": 32}
IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)


def network(name: str = "small_cnn", channels: int = 1) -> keras.Model:
    keras.utils.set_random_seed(0)
    size = (SIZE_PX[name], SIZE_PX[name])
    return build_network(ModelSection(name=name), size_px=size, channels=channels, classes=3)


def by_tf_keras_vis(model: keras.Model, class_index: list[int], layer: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Gradcam(model, clone=False)(
            CategoricalScore(class_index),
            IMAGES,
            penultimate_layer=layer,
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
        )


@pytest.mark.parametrize("layer", [None, "block2_1_relu", "block1_2_convolution"])
def test_maps_are_those_of_tf_keras_vis(layer: str | None) -> None:
    model = network()
    layer = layer or last_convolution(model)
    found = heat_maps(model, IMAGES, [2, 0], layer)
    np.testing.assert_allclose(found, by_tf_keras_vis(model, [2, 0], layer), rtol=1e-4, atol=1e-7)
    assert found.std() > 0


def test_weights_are_what_finite_differences_give() -> None:
    keras.utils.set_random_seed(1)
    double = {"dtype": "float64"}
    image = keras.Input((9, 7, 1))
    maps = keras.layers.Conv2D(4, 3, activation="tanh", name="maps", **double)(image)
    head = keras.Sequential(
        [
            keras.layers.Conv2D(5, 3, activation="tanh", **double),
            keras.layers.GlobalAveragePooling2D(**double),
            keras.layers.Dense(3, **double),
        ]
    )
    model = keras.Model(image, head(maps))
    images = np.random.default_rng(2).normal(size=(2, 9, 7, 1)).astype(np.float32)
    found_maps, found = maps_and_weights(model, images, [0, 2], "maps")
    at, step = keras.Model(image, maps)(images).numpy(), 1e-5
    np.testing.assert_allclose(found_maps, at, rtol=1e-6)
    for i, class_index in enumerate([0, 2]):
        for k in range(4):
            # alpha is the slope of the score along a map that rises everywhere, per place.
            shift = step * np.eye(4)[k]
            up, down = (float(head(at[i : i + 1] + s)[0, class_index]) for s in (shift, -shift))
            slope = (up - down) / (2 * step) / (at.shape[1] * at.shape[2])
            assert found[i, k] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_evidence_of_several_classes_is_that_of_each() -> None:
    generator = np.random.default_rng(0)
    maps, weights = generator.normal(size=(2, 3, 4, 5)), generator.normal(size=(2, 6, 5))
    found = evidence(maps.astype(np.float32), weights.astype(np.float32))
    wanted = np.maximum(np.einsum("bhwk,bck->bhwc", maps, weights), 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_methods_are_listed_where_the_command_finds_them() -> None:
    assert tuple(methods.METHODS) == names.METHODS
    with pytest.raises(InputError, match="expected one of gradcam"):
        methods.heat_maps(network(), IMAGES, [0, 0], "block2_1_relu", "guessing")


def test_another_class_has_another_map() -> None:
    model = network()
    maps = [heat_maps(model, IMAGES, [k, k], last_convolution(model)) for k in range(3)]
    assert not np.allclose(maps[0], maps[1])
    assert not np.allclose(maps[1], maps[2])


@pytest.mark.parametrize(
    ("name", "channels"), [("deadnet", 1), ("resnet34", 4), ("efficientnetb0", 2)]
)
def test_every_family_can_be_asked(name: str, channels: int) -> None:
    model = network(name, channels)
    images = np.random.default_rng(1).normal(size=(1, SIZE_PX[name], SIZE_PX[name], channels))
    found = heat_maps(model, images.astype(np.float32), [1], last_convolution(model))
    assert found.ndim == 3
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0


def test_mixed_precision_gives_finite_float32_maps() -> None:
    former = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.mixed_precision.set_global_policy(former)
    found = heat_maps(model, IMAGES, [0, 1], last_convolution(model))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.max() > 0


def test_a_layer_that_has_no_map_is_refused_with_those_that_have() -> None:
    with pytest.raises(InputError, match="block3_pool"):
        heat_maps(network(), IMAGES, [0, 0], "embedding")


def test_a_network_that_looks_at_one_corner_has_its_heat_there() -> None:
    image = keras.Input((16, 16, 1))
    features = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="features")(image)
    logits = keras.layers.Dense(2, kernel_initializer="ones")(keras.layers.Flatten()(features))
    bright = np.zeros((1, 16, 16, 1), np.float32)
    bright[0, 2:5, 11:14] = 1
    found = heat_maps(keras.Model(image, logits), bright, [0], "features")[0]
    assert (found > 0).sum() == 9
    assert found[2:5, 11:14].min() > 0

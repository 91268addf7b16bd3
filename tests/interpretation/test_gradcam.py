"""Grad-CAM maps are those of the definition, and lie where the network looked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deadlib.errors import InputError
from deadlib.interpretation.gradcam import border_share, half_heat_area, heat_maps, place
from deadlib.models import build_network, last_convolution
from deadlib.recipe import InputSection, ModelSection

SIZE_PX = {"small_cnn": 16, "deadnet": 64, "resnet34": 32, "densenet121": 32, "efficientnetb0": 32}
IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)


def network(name: str = "small_cnn", channels: int = 1) -> keras.Model:
    keras.utils.set_random_seed(0)
    size = (SIZE_PX[name], SIZE_PX[name])
    return build_network(ModelSection(name=name), size_px=size, channels=channels, classes=3)


def by_definition(model: keras.Model, class_index: list[int], layer: str) -> np.ndarray:
    features = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    with tf.GradientTape() as tape:
        maps, _ = features(IMAGES, training=False)
        tape.watch(maps)
        head = keras.Model(model.get_layer(layer).output, model.output)
        score = tf.gather(head(maps, training=False), class_index, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    return np.maximum(tf.reduce_sum(weights * maps, axis=-1).numpy(), 0)


@pytest.mark.parametrize("layer", [None, "block2_1_relu", "block1_2_convolution"])
def test_maps_are_those_of_the_definition(layer: str | None) -> None:
    model = network()
    layer = layer or last_convolution(model)
    found = heat_maps(model, IMAGES, [2, 0], layer)
    wanted = by_definition(model, [2, 0], layer)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    assert found.std() > 0


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


def test_with_a_crop_the_heat_lies_in_the_window_that_was_seen() -> None:
    section = InputSection(size_px=(8, 10), fit="crop")
    placed = place(np.ones((2, 2), np.float32), (20, 31), section)
    assert placed.shape == (20, 31)
    assert (placed[6:14, 10:20] == 1).all()
    assert placed.sum() == 80


def test_a_resized_map_covers_the_image_without_a_shift() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    placed = place(heat, (40, 80), InputSection(size_px=(16, 16)))
    rows, columns = np.indices(placed.shape) + 0.5
    centre = [float((axis * placed).sum() / placed.sum()) for axis in (rows, columns)]
    np.testing.assert_allclose(centre, [15, 50], atol=1e-3)


def test_even_heat_has_the_shares_that_are_printed_beside_it() -> None:
    even = np.ones((100, 50), np.float32)
    assert border_share(even) == pytest.approx(0.36)
    assert half_heat_area(even) == pytest.approx(0.5, abs=1e-3)


def test_no_heat_has_no_shares() -> None:
    assert np.isnan(border_share(np.zeros((9, 9))))
    assert np.isnan(half_heat_area(np.zeros((9, 9))))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(3, 30), st.integers(3, 30)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_shares_are_shares(heat: np.ndarray) -> None:
    if heat.sum() == 0:
        return
    assert -1e-5 <= border_share(heat) <= 1 + 1e-5
    assert 0 < half_heat_area(heat) <= 0.5 + 1 / heat.size + 1e-6

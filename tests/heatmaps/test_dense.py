"""Every network that can slide over a region does, and is in step with its windows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from deadlib.errors import InputError
from deadlib.heatmaps.dense import dense_network
from deadlib.models import MODELS, build_network
from deadlib.recipe import ModelSection

SMALL = {"small_cnn": {"width": 4, "blocks": 2}}
WINDOW = {"small_cnn": 16, "deadnet": 26}
STRIDE = {"small_cnn": 4, "deadnet": 16}
REFUSED = {"efficientnetb0": "block1a_dwconv"}
# These reach so far beyond a window that their regions take minutes; that they build is tested.
LARGE = ("resnet101", "densenet121")


def build(name: str, size_px: int, **options: str) -> keras.Model:
    section = ModelSection.model_validate({"name": name, **SMALL.get(name, {}), **options})
    return build_network(section, size_px=(size_px, size_px), channels=1, classes=2)


def unsettled(network: keras.Model) -> keras.Model:
    """The network with batch normalisation that does something."""
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            factors = rng.uniform(0.8, 1.2, (2, *gamma.shape))
            moves = rng.normal(0, 0.1, (2, *gamma.shape))
            layer.set_weights(
                [gamma * factors[0], beta + moves[0], mean + moves[1], variance * factors[1]]
            )
    return network


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("deadnet", "resnet101")])
def test_a_pooled_network_sees_each_window_among_its_neighbours(name: str) -> None:
    window = WINDOW.get(name, 32)
    network = unsettled(build(name, window))
    if name in REFUSED:
        with pytest.raises(InputError, match=rf"{REFUSED[name]}.*use the exact mode"):
            dense_network(network)
        return
    dense = dense_network(network)
    stride = STRIDE.get(name, 32)
    assert dense.stride_px == (stride, stride)
    if name in LARGE:
        return
    # The reference: the network's own layers on the window with so much around it that no padding
    # reaches it, and the mean over its own part of the last map.
    around = -(-dense.lead_px[0] // stride) * stride
    large = build(name, window + 2 * around)
    large.set_weights(network.get_weights())
    counts = (1, 2) if stride == 4 else (1, 1)
    side = dense.region_px(counts)
    rng = np.random.default_rng(1)
    region = rng.normal(size=(1, window + 2 * around, side[1] + 3 * stride, 1)).astype(np.float32)
    start = around - dense.lead_px[0]
    taken = region[:, start : start + side[0], start : start + side[1]]
    found = np.asarray(tf.function(dense, autograph=False)(tf.constant(taken)))[0, 0]
    overall = large.layers[[layer.name for layer in large.layers].index("embedding")]
    maps = keras.Model(large.input, overall.input)
    own = slice(around // stride, around // stride + window // stride)
    kernel, bias = network.get_layer("logits").get_weights()
    for number in range(counts[1]):
        left = number * stride
        given = region[:, :, left : left + window + 2 * around]
        embedding = np.asarray(maps(given, training=False))[:, own, own].mean(axis=(1, 2))
        expected = embedding @ kernel + bias
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[number], expected[0], atol=1e-4 * max(scale, 1))


def test_the_concat_head_slides_too() -> None:
    network = unsettled(build("small_cnn", 16, head="concat"))
    dense = dense_network(network)
    large = build("small_cnn", 48, head="concat")
    large.set_weights(network.get_weights())
    region = np.random.default_rng(1).normal(size=(1, 48, 48, 1)).astype(np.float32)
    taken = region[:, 16 - dense.lead_px[0] :, 16 - dense.lead_px[1] :]
    taken = taken[:, : dense.single_px[0], : dense.single_px[1]]
    found = np.asarray(tf.function(dense, autograph=False)(tf.constant(taken)))[0, 0, 0]
    maps = keras.Model(large.input, large.get_layer("head_mean").input)
    own = np.asarray(maps(region, training=False))[0, 4:8, 4:8]
    pooled = np.concatenate([own.max(axis=(0, 1)), own.mean(axis=(0, 1))])[None]
    for name in ("head_norm", "head_dense", "head_relu", "embedding", "logits"):
        pooled = network.get_layer(name)(pooled, training=False)
    np.testing.assert_allclose(found, np.asarray(pooled)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"pooling": "floor"}, {"dense_batch_norm": True}], ids=str)
@pytest.mark.parametrize("subsample", [1, 2])
def test_deadnet_sees_each_window_among_its_neighbours(
    options: dict[str, str], subsample: int
) -> None:
    """Against plain numpy behind the last pooling: a dense layer on the window's own part."""
    network = unsettled(build("deadnet", 58, **options))
    dense = dense_network(network, (subsample, subsample))
    assert dense.stride_px == (16 * subsample, 16 * subsample)
    pooled = network.get_layer("pool4").output.shape[1]
    around = -(-dense.lead_px[0] // 16) * 16
    side = dense.region_px((2, 1))
    rng = np.random.default_rng(1)
    region = rng.normal(size=(1, 250, 250, 1)).astype(np.float32)
    start = around - dense.lead_px[0]
    taken = region[:, start : start + side[0], start : start + side[1]]
    found = np.asarray(tf.function(dense, autograph=False)(tf.constant(taken)))[0, :, 0]
    large = build("deadnet", 250, **options)
    for layer in network.layers:
        if layer.name.startswith("conv"):
            large.get_layer(layer.name).set_weights(layer.get_weights())
    maps = keras.Model(large.input, large.get_layer("pool4").output)
    features = np.asarray(maps(region, training=False))
    image = keras.Input(network.get_layer("pool4").output.shape[1:])
    values = image
    for layer in network.layers[network.layers.index(network.get_layer("flatten")) :]:
        values = layer(values)
    head = keras.Model(image, values)
    for number in range(2):
        top = around // 16 + number * subsample
        own = features[:, top : top + pooled, around // 16 : around // 16 + pooled]
        expected = np.asarray(head(own, training=False))[0]
        np.testing.assert_allclose(found[number], expected, atol=1e-4)


def test_a_layer_used_twice_is_refused() -> None:
    image = keras.Input((16, 16, 1))
    twice = keras.layers.Conv2D(1, 3, padding="same")
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(twice(twice(image))))
    with pytest.raises(InputError, match="used twice"):
        dense_network(network)


def test_memory_is_that_of_the_largest_neighbouring_maps() -> None:
    found = dense_network(build("deadnet", 26)).floats_per_pixel()
    assert found == pytest.approx(2 * 16, rel=1e-2)

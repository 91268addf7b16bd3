"""Facts of the single networks: parameter counts, sizes, layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from deadlib.models import build_network, last_convolution
from deadlib.recipe import ModelSection


def build(size_px: int, channels: int, **model: object) -> keras.Model:
    section = ModelSection.model_validate(model)
    return build_network(section, size_px=(size_px, size_px), channels=channels, classes=2)


def learnable(network: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize(
    ("pooling", "dense_batch_norm", "parameters"),
    [
        ("ceil", False, 13_404_594),
        ("floor", False, 11_635_122),
        ("ceil", True, 13_406_642),
        ("floor", True, 11_637_170),
    ],
)
def test_deadnet_has_the_published_parameters(
    pooling: str, dense_batch_norm: bool, parameters: int
) -> None:
    network = build(220, 1, name="deadnet", pooling=pooling, dense_batch_norm=dense_batch_norm)
    assert learnable(network) == parameters


@pytest.mark.parametrize(
    ("pooling", "sizes"), [("ceil", [106, 53, 27, 14]), ("floor", [106, 53, 26, 13])]
)
def test_deadnet_pools_to_the_sizes_of_the_files_or_of_the_paper(
    pooling: str, sizes: list[int]
) -> None:
    network = build(220, 1, name="deadnet", pooling=pooling)
    assert [network.get_layer(f"pool{block}").output.shape[1] for block in (1, 2, 3, 4)] == sizes
    assert network.get_layer("conv1_1").output.shape[1] == 212


TABLE = {
    "conv1_1": (212, 16, 1_296, 16),
    "conv1_2": (212, 16, 2_304, 16),
    "conv2_1": (106, 32, 4_608, 32),
    "conv2_2": (106, 32, 9_216, 32),
    "conv3_1": (53, 64, 18_432, 64),
    "conv3_2": (53, 64, 36_864, 64),
    "conv4_1": (27, 128, 73_728, 128),
    "conv4_2": (27, 128, 147_456, 128),
}
"""Table 1 of the paper with the sizes of Caffe: side, channels, weights, biases."""


@pytest.mark.parametrize(("pooling", "sides"), [("ceil", (27, 14)), ("floor", (26, 13))])
def test_deadnet_has_the_layers_of_the_published_table(
    pooling: str, sides: tuple[int, int]
) -> None:
    network = build(220, 1, name="deadnet", pooling=pooling)
    for name, (side, channels, weights, biases) in TABLE.items():
        side = sides[0] if side == 27 else side
        layer, norm = network.get_layer(name), network.get_layer(f"{name}_norm")
        assert layer.output.shape[1:] == (side, side, channels), name
        assert [int(np.prod(part.shape)) for part in layer.weights] == [weights, biases], name
        assert sum(int(np.prod(part.shape)) for part in norm.trainable_weights) == 2 * channels
        order = [layer.name for layer in network.layers]
        first = order.index(name)
        assert order[first : first + 3] == [name, f"{name}_norm", f"{name}_relu"]
        assert layer.activation is keras.activations.linear
    flat = sides[1] ** 2 * 128
    shapes = {name: network.get_layer(name).kernel.shape for name in ("fc1", "fc2", "logits")}
    assert shapes == {"fc1": (flat, 512), "fc2": (512, 512), "logits": (512, 2)}
    rates = [network.get_layer(f"fc{number}_dropout").rate for number in (1, 2)]
    assert rates == [0.5, 0.5]
    assert network.get_layer("logits").activation is keras.activations.linear
    statistics = [weight for weight in network.weights if "moving" in weight.path]
    assert sum(int(np.prod(weight.shape)) for weight in statistics) == 960


def test_deadnet_starts_from_caffes_xavier_and_normalises_as_caffe_does() -> None:
    network = build(64, 1, name="deadnet")
    kernel = network.get_layer("conv4_2").kernel.numpy()
    limit = np.sqrt(3 / (3 * 3 * 128))
    assert np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
    norm = network.get_layer("conv4_2_norm")
    assert (norm.momentum, norm.epsilon) == (0.95, 1e-5)


def test_grad_cam_looks_at_the_last_convolution_of_deadnet_and_not_at_its_pooling() -> None:
    network = build(64, 1, name="deadnet")
    assert last_convolution(network) == "conv4_2_relu"


def test_each_block_of_the_small_network_halves_the_size_and_doubles_the_filters() -> None:
    network = build(64, 2, name="small_cnn", width=8, blocks=4)
    shapes = [network.get_layer(f"block{block}_pool").output.shape[1:] for block in (1, 2, 3, 4)]
    assert shapes == [(32, 32, 8), (16, 16, 16), (8, 8, 32), (4, 4, 64)]


def test_dropout_stands_before_the_logits() -> None:
    network = build(16, 1, name="small_cnn", dropout=0.4)
    assert network.get_layer("dropout").rate == 0.4

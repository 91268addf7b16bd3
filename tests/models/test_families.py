"""Facts of the single networks: parameter counts, sizes, layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from deadlib.errors import RecipeError
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
    assert np.abs(kernel).max() <= limit * (1 + 1e-6)
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


def test_celldeaths_network_has_the_published_parameters() -> None:
    network = build(32, 3, name="resnet50", stride_in="3x3", head="concat", dropout=0.5)
    names = {id(v): v.path.split("/")[0] for v in network.trainable_variables}
    head = [v for v in network.trainable_variables if not names[id(v)].startswith("st")]
    counted = sum(int(np.prod(variable.shape)) for variable in head)
    assert counted == 2_107_906
    assert learnable(network) - counted == 23_508_032


def test_the_concat_head_is_fastais() -> None:
    """Of largest values, then means: BN, dropout p/2, dense, ReLU, BN, dropout p, dense."""
    network = build(16, 1, name="small_cnn", head="concat", dropout=0.5)
    names = [layer.name for layer in network.layers]
    first = names.index("head_pooled")
    assert names[first:] == [
        *("head_pooled", "head_norm", "head_dropout", "head_dense", "head_relu"),
        *("embedding", "dropout", "logits"),
    ]
    assert [network.get_layer(name).rate for name in ("head_dropout", "dropout")] == [0.25, 0.5]
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype(np.float32)
    answers = keras.Model(
        network.input,
        [network.get_layer(name).output for name in ("block3_pool", "head_pooled")],
    )
    maps, pooled = (np.asarray(value) for value in answers(images, training=False))
    expected = np.concatenate([maps.max(axis=(1, 2)), maps.mean(axis=(1, 2))], axis=1)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    kernel = network.get_layer("head_dense").kernel.numpy()
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / len(kernel)), rtol=0.02)


def test_a_resnet50_halves_the_size_where_the_recipe_says() -> None:
    for stride_in, sides in (("1x1", (4, 4)), ("3x3", (8, 4))):
        network = build(32, 1, name="resnet50", stride_in=stride_in)
        shapes = [network.get_layer(f"stage2_block1_{number}_norm").output for number in (1, 2)]
        assert tuple(shape.shape[1] for shape in shapes) == sides


def test_celldeathpreds_classifier_has_the_published_parameters() -> None:
    section = ModelSection(name="efficientnetb0")
    network = build_network(section, size_px=(32, 32), channels=4, classes=3)
    logits = network.get_layer("logits").count_params()
    assert (logits, learnable(network) - logits) == (3_843, 4_007_836)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_an_efficientnet_takes_one_to_seven_channels(channels: int) -> None:
    network = build(32, channels, name="efficientnetb0")
    assert network.get_layer("stem_conv").kernel.shape == (3, 3, channels, 32)
    assert learnable(network) == 4_007_548 + 288 * (channels - 3) + 2 * 1281


def test_celldeathpreds_densenet_has_a_new_stem_with_bias() -> None:
    for stem, biases in (("scaled_mean", 0), ("random", 64)):
        network = build(32, 4, name="densenet121", weights="imagenet", stem=stem)
        assert learnable(network) == 6_953_856 + 7 * 7 * 64 + biases + 2 * 1025


MLPS: dict[str, tuple[dict[str, list[int]], list[type]]] = {
    "identity": ({}, []),
    "one": ({"embedder": [5]}, [layers.Dense, layers.BatchNormalization]),
    "several": (
        {"embedder": [6, 5]},
        [layers.Dense, layers.ReLU, layers.BatchNormalization, layers.Dense],
    ),
    "classifier": (
        {"classifier": [7, 5]},
        [layers.Dense, layers.BatchNormalization, layers.ReLU] * 2,
    ),
}
"""In the orders of the released code, without the pooling before and the last dense layer."""


@pytest.mark.parametrize("name", list(MLPS))
def test_embedder_and_classifier_stand_in_the_published_orders(name: str) -> None:
    options, expected = MLPS[name]
    network = build(16, 1, name="small_cnn", **options)
    names = [layer.name for layer in network.layers]
    last = names.index("block3_pool")
    found = [type(layer) for layer in network.layers[last + 1 : -1]]
    found.remove(layers.Dropout)
    assert found == [layers.GlobalAveragePooling2D, *expected]
    width = options.get("embedder", [128])[-1]
    embedding = network.get_layer("embedding")
    assert embedding.output.shape == (None, width)
    between = [names.index(part) for part in ("embedding", "dropout", "logits")]
    assert between == sorted(between)
    dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)]
    widths = [*options.get("embedder", []), *options.get("classifier", []), 2]
    assert [layer.units for layer in dense] == widths


def test_an_embedder_beside_the_concat_head_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.embedder: \[8\] stands with .*average"):
        build(16, 1, name="small_cnn", head="concat", embedder=[8])

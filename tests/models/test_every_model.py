"""What every network promises, on the smallest images that it takes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deadlib.errors import RecipeError
from deadlib.models import MODELS, build_network, embedding_network, last_convolution
from deadlib.models.groups import group_of, group_patterns
from deadlib.recipe import ModelSection

SIZE_PX = (32, 32)
SMALL = {"small_cnn": {"width": 8, "blocks": 2}}
EMBEDDING_WIDTH = {
    "small_cnn": 16,
    "deadnet": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "densenet121": 1024,
    "efficientnetb0": 1280,
}
# Learnable, without the logits, for four channels: the published numbers for RGB, and the stem's
# kernels for the fourth; EfficientNet-B0 as CellDeathPred has it.
BODY_PARAMETERS = {
    "resnet34": 21_284_672 + 7 * 7 * 64,
    "resnet50": 23_508_032 + 7 * 7 * 64,
    "resnet101": 42_500_160 + 7 * 7 * 64,
    "densenet121": 6_953_856 + 7 * 7 * 64,
    "efficientnetb0": 4_007_836,
}


def build(name: str, channels: int = 1, **options: object) -> keras.Model:
    section = ModelSection.model_validate({"name": name, **SMALL.get(name, {}), **options})
    return build_network(section, size_px=SIZE_PX, channels=channels, classes=3)


@pytest.fixture(scope="module", params=list(MODELS))
def network(request: pytest.FixtureRequest) -> keras.Model:
    """One network of each family for four channels; tests must not change its weights for good."""
    keras.utils.set_random_seed(0)
    return build(request.param, channels=4)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, *SIZE_PX, 4)).astype(np.float32)


def test_images_go_in_and_logits_come_out(network: keras.Model) -> None:
    assert [tensor.name for tensor in network.inputs] == ["image"]
    assert network.input.shape == (None, *SIZE_PX, 4)
    assert network.layers[-1].name == "logits"
    assert network.output.shape == (None, 3)
    assert network.output.dtype == "float32"


def test_the_body_has_the_parameters_that_are_known(network: keras.Model) -> None:
    if network.name not in BODY_PARAMETERS:
        pytest.skip("counted in test_families.py")
    head = network.get_layer("logits").count_params()
    learnable = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    assert learnable - head == BODY_PARAMETERS[network.name]


def test_the_graph_is_flat(network: keras.Model) -> None:
    assert not [layer.name for layer in network.layers if isinstance(layer, keras.Model)]


def test_nothing_rescales_the_preprocessed_image(network: keras.Model) -> None:
    rescaling = (keras.layers.Rescaling, keras.layers.Normalization)
    assert not [layer.name for layer in network.layers if isinstance(layer, rescaling)]


def test_the_embedding_is_what_the_logits_come_from(
    network: keras.Model, images: np.ndarray
) -> None:
    logits, embedding = embedding_network(network)(images, training=False)
    assert embedding.shape == (6, EMBEDDING_WIDTH[network.name])
    kernel, bias = network.get_layer("logits").get_weights()
    np.testing.assert_allclose(logits, embedding.numpy() @ kernel + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, network(images, training=False), rtol=1e-5, atol=1e-6)


def test_grad_cam_finds_a_feature_map_after_its_activation(network: keras.Model) -> None:
    layer = network.get_layer(last_convolution(network))
    assert len(layer.output.shape) == 4
    assert isinstance(layer, keras.layers.ReLU | keras.layers.Activation)


def test_training_steps_change_all_kernels_and_lower_the_loss_on_one_batch(
    network: keras.Model, images: np.ndarray
) -> None:
    # The others are as well known; they take one step, which is slow enough.
    steps = 7 if network.name in ("small_cnn", "deadnet", "resnet34") else 1
    before = network.get_weights()
    class_index = tf.constant([0, 1, 2, 0, 1, 2])
    variables = network.trainable_variables
    optimiser = keras.optimizers.Adam(1e-3)
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            # DeadNet's dropout would hide how well a few steps learn one batch by heart.
            logits = network(images, training=network.name != "deadnet")
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(class_index, logits)
            )
        optimiser.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        losses.append(float(loss))
    start = {id(v): w for v, w in zip(network.weights, before, strict=True)}
    unmoved = [
        v.path for v in variables if v.name == "kernel" and np.array_equal(v.numpy(), start[id(v)])
    ]
    network.set_weights(before)
    assert not unmoved
    assert steps == 1 or losses[-1] < 0.8 * losses[0]


def test_saved_and_exported_the_network_gives_the_same_logits(
    network: keras.Model, images: np.ndarray, tmp_path: Path
) -> None:
    if network.name in ("resnet50", "resnet101", "densenet121"):
        pytest.skip("slow, and of the same layers as those that are tested")
    expected = network(images, training=False)
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again(images, training=False), expected, rtol=1e-5, atol=1e-6)
    again.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"embedder": [5]}, {"embedder": [6, 5], "classifier": [4]}]
)
def test_with_other_heads_it_is_saved_exported_and_divided_as_well(
    options: dict[str, object], images: np.ndarray, tmp_path: Path
) -> None:
    network = build("small_cnn", channels=4, **options)
    expected, embedding = embedding_network(network)(images, training=False)
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again(images, training=False), expected, rtol=1e-5, atol=1e-6)
    again.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(images), expected, rtol=1e-4, atol=1e-5)
    assert embedding.dtype == tf.float32
    patterns = group_patterns(
        ModelSection.model_validate({"name": "small_cnn", **SMALL["small_cnn"]})
    )
    body = {v.path for v in network.trainable_variables if group_of(v.path, patterns) < 2}
    assert all(path.startswith("block") for path in body)


@pytest.mark.parametrize("name", ["small_cnn", "deadnet"])
def test_logits_and_embedding_stay_float32_under_mixed_precision(name: str) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(name)
    finally:
        keras.config.set_dtype_policy(policy)
    outputs = embedding_network(network)(np.zeros((1, *SIZE_PX, 1), np.float32))
    assert [output.dtype for output in outputs] == [tf.float32, tf.float32]
    assert network.layers[1].compute_dtype == "bfloat16"
    assert {weight.dtype for weight in network.weights} == {"float32"}


@pytest.mark.parametrize("name", list(MODELS))
def test_images_that_are_too_small_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"size_px: 3 x 64 is too small for {name}"):
        build_network(ModelSection(name=name), size_px=(3, 64), channels=1, classes=2)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("resnet50", "width", 64),
        ("deadnet", "dropout", 0.2),
        ("small_cnn", "pooling", "floor"),
        ("small_cnn", "dense_batch_norm", True),
        ("deadnet", "head", "concat"),
        ("densenet121", "stride_in", "3x3"),
        ("deadnet", "embedder", [8]),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(name: str, option: str, value: object) -> None:
    section = ModelSection.model_validate({"name": name, option: value})
    with pytest.raises(RecipeError, match=rf"model\.{option}: .* does nothing for {name}"):
        build_network(section, size_px=SIZE_PX, channels=1, classes=2)

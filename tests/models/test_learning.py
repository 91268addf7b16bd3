"""The network that learns has other batch normalisation than the one that is kept."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deadlib.errors import RecipeError
from deadlib.models import build_network, learning
from deadlib.models.learning import FrozenNorm, FusedNorm, FusedSwish
from deadlib.recipe import ModelSection

SIZE_PX = (32, 32)
SMALL = ModelSection(name="small_cnn", width=8, blocks=2, weights="run/model.keras")
WITH_MLPS = SMALL.model_copy(update={"embedder": (8,), "classifier": (6,)})
MAPS = ("block1_1_norm", "block1_2_norm", "block2_1_norm", "block2_2_norm")


def built(section: ModelSection = SMALL, seed: int = 0) -> keras.Model:
    """A network of which no two norms are alike, as if it had been trained."""
    keras.utils.set_random_seed(seed)
    network = build_network(section, size_px=SIZE_PX, channels=4, classes=3)
    rng = np.random.default_rng(seed)
    for norm in norms_of(network):
        norm.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in norm.get_weights()])
    return network


def copied(network: keras.Model, section: ModelSection = SMALL, **options: bool) -> keras.Model:
    found = learning(network, section, **options)
    found.set_weights(network.get_weights())
    return found


def norms_of(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(1, 2, size=(6, *SIZE_PX, 4)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"synchronised": True}])
def test_names_order_and_answers_are_those_of_the_network(
    options: dict[str, bool], images: np.ndarray
) -> None:
    network = built(WITH_MLPS)
    found = copied(network, WITH_MLPS, **options)
    assert [x.name for x in found.layers] == [x.name for x in network.layers]
    assert [w.path for w in found.weights] == [w.path for w in network.weights]
    expected = network(images, training=False)
    np.testing.assert_allclose(found(images, training=False), expected, rtol=1e-5, atol=1e-6)
    found.trainable_variables[0].assign(found.trainable_variables[0] * 2)
    np.testing.assert_array_equal(network(images, training=False), expected)


def gradients(network: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(images, training=True)[:, 0] ** 2)
    found = tape.gradient(loss, [v.value for v in network.trainable_variables])
    return [np.asarray(gradient) for gradient in found]


def test_the_fused_kernel_learns_as_keras_does(images: np.ndarray) -> None:
    """Gradients, and the moving means that a step leaves."""
    network = built()
    found = copied(network)
    assert {type(x) for x in norms_of(found)} == {FusedNorm}
    for ours, keras_own in zip(gradients(found, images), gradients(network, images), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-3, atol=1e-4 * np.abs(keras_own).max())
    for ours, keras_own in zip(found.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-6)


def test_swish_has_the_values_and_slopes_of_keras_own() -> None:
    """Also where the sigmoid is 0 or 1 to rounding."""
    values = tf.constant(np.linspace(-200, 200, 4001, dtype=np.float32).reshape(1, 1, -1, 1))
    answers = []
    for layer in (keras.layers.Activation("swish"), FusedSwish("swish")):
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = layer(values)
        answers.append([np.asarray(found), np.asarray(tape.gradient(found, values, 3 * values))])
    for ours, keras_own in zip(answers[1], answers[0], strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-6)


def test_frozen_statistics_stay_and_scale_and_shift_learn(images: np.ndarray) -> None:
    network = built(WITH_MLPS)
    found = copied(network, WITH_MLPS, frozen=True)
    frozen = [x.name for x in norms_of(found) if isinstance(x, FrozenNorm)]
    assert tuple(frozen) == MAPS
    before = {w.path: w.numpy() for w in found.weights}
    optimiser = keras.optimizers.Adam(1e-3)
    variables = found.trainable_variables
    slopes = gradients(found, images)
    optimiser.apply([tf.constant(slope) for slope in slopes], variables)
    unmoved = {w.path for w in found.weights if np.array_equal(w.numpy(), before[w.path])}
    # A dense layer's bias before batch normalisation has no gradient but rounding.
    assert {path for path in unmoved if "_dense/bias" not in path} == {
        f"{name}/{statistic}" for name in MAPS for statistic in ("moving_mean", "moving_variance")
    }


def test_a_frozen_network_answers_each_image_by_itself_in_training(images: np.ndarray) -> None:
    found = copied(built(), frozen=True)
    whole, part = (np.asarray(found(some, training=True)) for some in (images, images[:2]))
    np.testing.assert_allclose(whole[:2], part, rtol=1e-4, atol=1e-5)
    fused = copied(built())
    whole, part = (np.asarray(fused(some, training=True)) for some in (images, images[:2]))
    assert np.abs(whole[:2] - part).max() > 0.01


def test_stochastic_depth_stays_active_over_frozen_statistics() -> None:
    section = ModelSection(name="efficientnetb0", weights="imagenet")
    network = build_network(section, size_px=SIZE_PX, channels=4, classes=3)
    found = learning(network, section, frozen=True)
    assert {type(x) for x in norms_of(found)} == {FrozenNorm}
    assert isinstance(found.get_layer("top_activation"), FusedSwish)
    uncompiled = learning(network, section, compiled=False).get_layer("top_activation")
    assert type(uncompiled) is keras.layers.Activation
    rates = [x.rate for x in found.layers if isinstance(x, keras.layers.Dropout)][:-1]
    np.testing.assert_allclose(max(rates), 0.2 * 14 / 16)  # the last that is skipped
    images = np.random.default_rng(0).normal(size=(2, *SIZE_PX, 4)).astype(np.float32)
    answers = [np.asarray(found(images, training=True)) for _ in range(2)]
    assert np.abs(answers[0] - answers[1]).max() > 0
    still = [np.asarray(found(images, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*still)


@pytest.mark.parametrize("name", ["small_cnn", "deadnet"])
@pytest.mark.parametrize("frozen", [False, True])
def test_batch_normalisation_is_synchronised_on_request(name: str, frozen: bool) -> None:
    section = SMALL.model_copy(update={"name": name, "classifier": (6,)})
    section = section if name == "small_cnn" else ModelSection(name=name, weights="x.keras")
    network = build_network(section, size_px=SIZE_PX, channels=1, classes=3)
    found = norms_of(learning(network, section, frozen=frozen, synchronised=True))
    assert found
    assert all(norm.synchronized or isinstance(norm, FrozenNorm) for norm in found)
    assert any(isinstance(norm, FrozenNorm) for norm in found) is frozen


def test_in_half_precision_keras_own_layers_do_it() -> None:
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = learning(built(), SMALL)
    finally:
        keras.config.set_dtype_policy(former)
    assert {type(x) for x in norms_of(found)} == {keras.layers.BatchNormalization}


def test_the_weights_are_kept_in_a_network_of_keras_own_layers(
    images: np.ndarray, tmp_path: Path
) -> None:
    network = built(seed=1)
    trained = copied(built(seed=2), frozen=True)
    network.set_weights(trained.get_weights())
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert {type(x) for x in norms_of(again)} == {keras.layers.BatchNormalization}
    expected = trained(images, training=False)
    np.testing.assert_allclose(again(images, training=False), expected, rtol=1e-5, atol=1e-6)


def test_there_must_be_statistics_to_freeze_and_none_other_at_test() -> None:
    network = built()
    with pytest.raises(RecipeError, match=r"batch_norm: .*weights: random, which has none; give"):
        learning(network, SMALL.model_copy(update={"weights": "random"}), frozen=True)
    with pytest.raises(RecipeError, match=r"batch_norm: .* model.bn_at_test: batch"):
        learning(network, SMALL.model_copy(update={"bn_at_test": "batch"}), frozen=True)

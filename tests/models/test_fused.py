"""For prediction, batch normalisation is folded into convolutions, and answers stay."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from deadlib.models import build_network, for_prediction, halves
from deadlib.models.fused import folded
from deadlib.recipe import ModelSection

SIZE_PX = (32, 32)
SMALL = {"name": "small_cnn", "width": 8, "blocks": 2}
NORMS_LEFT = {
    "small_cnn": 0,
    "deadnet": 0,
    "resnet34": 0,
    "efficientnetb0": 0,
    # After each concatenation, and the pooled stem: nothing to fold into.
    "densenet121": 62,
}


def norms_of(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]


def built(**options: object) -> tuple[keras.Model, ModelSection]:
    """A network of which no two norms are alike, as if it had been trained."""
    section = ModelSection.model_validate(options)
    keras.utils.set_random_seed(0)
    network = build_network(section, size_px=SIZE_PX, channels=4, classes=3)
    rng = np.random.default_rng(0)
    for norm in norms_of(network):
        gamma, beta, mean, variance = norm.get_weights()
        around = [rng.uniform(0.8, 1.2, gamma.shape), rng.normal(0, 0.2, beta.shape)]
        found = [rng.normal(0, 0.2, mean.shape), rng.uniform(0.8, 1.2, variance.shape)]
        norm.set_weights([*around, *found])
    return network, section


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(1, 2, size=(3, *SIZE_PX, 4)).astype(np.float32)


@pytest.mark.parametrize("name", list(NORMS_LEFT))
def test_a_folded_network_answers_as_before(name: str, images: np.ndarray) -> None:
    network, _ = built(**(SMALL if name == "small_cnn" else {"name": name}))
    expected = np.asarray(network(images, training=False))
    found = folded(network)
    assert len(norms_of(found)) == NORMS_LEFT[name]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found(images, training=False), expected, atol=1e-5 * scale)
    np.testing.assert_array_equal(network(images, training=False), expected)


def test_both_halves_are_folded_each_for_itself(images: np.ndarray) -> None:
    network, section = built(**SMALL, embedder=[6], classifier=[5])
    expected = network(images, training=False)
    embed, classify = (for_prediction(half, section) for half in halves(network))
    # What follows a dense layer stays.
    assert [len(norms_of(half)) for half in (embed, classify)] == [1, 1]
    found = classify(embed(images, training=False), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_statistics_of_the_batch_are_not_folded(images: np.ndarray) -> None:
    network, section = built(**SMALL, bn_at_test="batch")
    found = for_prediction(network, section)
    whole, part = (np.asarray(found(some, training=False)) for some in (images, images[:1]))
    assert np.abs(whole[:1] - part).max() > 0.01


def test_a_convolution_that_others_read_too_keeps_its_norm(images: np.ndarray) -> None:
    image = keras.Input((*SIZE_PX, 4))
    convolved = keras.layers.Conv2D(4, 3, padding="same")(image)
    normed = keras.layers.BatchNormalization()(convolved)
    network = keras.Model(image, keras.layers.Add()([convolved, normed]))
    assert len(norms_of(folded(network))) == 1
    activated = keras.layers.Conv2D(4, 3, activation="relu")(image)
    network = keras.Model(image, keras.layers.BatchNormalization()(activated))
    assert len(norms_of(folded(network))) == 1
    seen = keras.layers.Conv2D(4, 3)(image)
    network = keras.Model(image, [seen, keras.layers.BatchNormalization()(seen)])
    assert len(norms_of(folded(network))) == 1

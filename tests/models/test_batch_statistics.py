"""At test batch normalisation goes by the moving means, or by the batch, as the recipe says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from deadlib.models import at_test, build_network, embedding_network
from deadlib.recipe import ModelSection


def build(bn_at_test: str) -> tuple[keras.Model, keras.Model]:
    """DeadNet for 24 px, and the same as it is at test; no moving mean is that of any batch."""
    section = ModelSection(name="deadnet", bn_at_test=bn_at_test)
    keras.utils.set_random_seed(0)
    network = build_network(section, size_px=(24, 24), channels=1, classes=2)
    return network, at_test(embedding_network(network), section)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, size=(6, 24, 24, 1)).astype(np.float32)


def test_the_batch_stands_in_for_the_moving_means(images: np.ndarray) -> None:
    network, tested = build("batch")
    before = network.get_weights()
    found = tested(images, training=False)[0]
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for kept, weight in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, kept)
    np.testing.assert_allclose(found, network(images, training=True), atol=1e-6)


def test_an_answer_then_depends_on_its_neighbours_and_else_does_not(images: np.ndarray) -> None:
    for bn_at_test, depends in (("batch", True), ("moving", False)):
        tested = build(bn_at_test)[1]
        whole, part = (np.asarray(tested(some)[0]) for some in (images, images[:3]))
        assert bool(np.abs(whole[:3] - part).max() > 0.01) is depends
        np.testing.assert_allclose(tested(images[::-1])[0], whole[::-1], atol=1e-5)


def test_weights_are_those_of_the_network(images: np.ndarray) -> None:
    network, tested = build("batch")
    former = np.asarray(tested(images)[0])
    network.get_layer("conv4_2_norm").gamma.assign(np.zeros(128))
    assert np.abs(np.asarray(tested(images)[0]) - former).max() > 1e-3


def test_it_works_in_half_precision(images: np.ndarray) -> None:
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        tested = build("batch")[1]
    finally:
        keras.config.set_dtype_policy(former)
    assert tested.get_layer("conv1_1_norm").output.dtype == "bfloat16"
    assert np.isfinite(tested(images)[0]).all()

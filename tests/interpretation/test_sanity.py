"""A trained network's maps pass the gate; maps that ignore the weights do not."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from deadlib.interpretation import methods, sanity
from deadlib.interpretation.question import Question
from deadlib.models import build_network, last_convolution
from deadlib.recipe import ModelSection


def spots(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise; images of class 1 have a bright spot somewhere, those of class 0 a dark one."""
    generator = np.random.default_rng(seed)
    images = generator.normal(0, 0.3, (count, 24, 24, 1)).astype(np.float32)
    labels = np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        top, left = generator.integers(0, 20, 2)
        image[top : top + 4, left : left + 4] += 3 * (2 * label - 1)
    return images, labels


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    keras.utils.set_random_seed(0)
    section = ModelSection(name="small_cnn", width=8, blocks=2)
    network = build_network(section, size_px=(24, 24), channels=1, classes=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    network.fit(*spots(192, 1), batch_size=32, epochs=6, verbose=0)
    assert network.evaluate(*spots(64, 2), verbose=0)[1] > 0.95
    return network


def edges(network: keras.Model, images: np.ndarray, *asked: object) -> np.ndarray:
    return np.abs(np.gradient(images[..., 0], axis=(1, 2))).sum(axis=0).astype(np.float32)


def question(network: keras.Model, method: str = "gradcam") -> Question:
    return Question(network, last_convolution(network), method)


def test_maps_of_a_trained_network_depend_on_its_weights(trained: keras.Model) -> None:
    images, labels = spots(8, 3)
    cascade = sanity.check(question(trained), images, labels)
    found = cascade.sanity
    assert found.depend
    assert "depend on the weights" in found.sentence()
    assert found.stages[0].layer == "logits"
    assert found.stages[-1].layer == "block1_1_convolution"
    assert all(abs(stage.ssim) < 0.7 for stage in found.stages[1:])
    assert len(cascade.stages) == len(found.stages)
    assert found.to_json()["maps_depend_on_the_weights"] is True


def test_an_edge_detector_fails(trained: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "edges", edges)
    monkeypatch.setattr(methods, "NAMES", (*methods.NAMES, "edges"))
    images, labels = spots(4, 3)
    found = sanity.check(question(trained, "edges"), images, labels).sanity
    assert found.depend is False
    assert "do NOT depend on the weights: do not interpret them" in found.sentence()
    for stage in found.stages:
        assert stage.correlation == pytest.approx(1)
        assert stage.ssim == pytest.approx(1, abs=1e-4)


def test_without_heat_there_is_no_verdict(trained: keras.Model) -> None:
    silent = keras.models.clone_model(trained)
    silent.set_weights([0 * weight for weight in trained.get_weights()])
    images, labels = spots(2, 3)
    found = sanity.check(question(silent), images, labels).sanity
    assert found.depend is None
    assert "nothing to interpret" in found.sentence()


def test_the_head_is_randomised_first_and_the_network_itself_stays(trained: keras.Model) -> None:
    before = [weight.copy() for weight in trained.get_weights()]
    names, shares = [], []
    for name, network in sanity.randomised(trained, 0):
        names.append(name)
        changed = [
            not np.array_equal(new, old)
            for new, old in zip(network.get_weights(), before, strict=True)
            if old.ndim > 1
        ]
        shares.append(sum(changed))
        for new, old in zip(network.get_weights(), before, strict=True):
            if old.size > 200:
                assert np.sqrt(np.mean(new**2)) == pytest.approx(np.sqrt(np.mean(old**2)), rel=0.2)
    assert names[0] == "logits"
    assert shares == [1, 2, 3, 4, 5]
    for new, old in zip(trained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_map_that_goes_out_has_nothing_in_common_with_one_that_does_not() -> None:
    heat = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    assert sanity.similarity(heat, 0 * heat) == (0, 0)
    assert sanity.similarity(heat, 2 * heat) == pytest.approx((1, 1))
    assert sanity.similarity(heat, heat**3)[0] == pytest.approx(1), "ranks, not values"

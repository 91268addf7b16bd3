"""Metric losses agree with pytorch-metric-learning, and with themselves on two devices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deadlib.losses import (
    ProxyAnchorLoss,
    SupervisedContrastiveLoss,
    TripletLoss,
    build_metric_loss,
)
from deadlib.recipe import MetricLossSection

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "metric_losses.npz")
CLASS_INDEX = GOLDEN["class_index"].astype(np.int32)
PLATE_INDEX = GOLDEN["plate_index"].astype(np.int32)
EMBEDDINGS = GOLDEN["embeddings"]

LOSSES = {
    "supcon_0.02": SupervisedContrastiveLoss(0.02),
    "supcon_0.1": SupervisedContrastiveLoss(0.1),
    "supcon_0.5": SupervisedContrastiveLoss(0.5),
    "supcon_across_plates": SupervisedContrastiveLoss(0.1, pairs="across_plates"),
    "supcon_mined": SupervisedContrastiveLoss(0.1, pairs="mined"),
    "triplet_0.05": TripletLoss(0.05),
    "triplet_0.5": TripletLoss(0.5),
    "triplet_mined": TripletLoss(0.05, pairs="mined"),
}


def value_and_gradient(
    loss: Any,
    embeddings: Any = EMBEDDINGS,
    class_index: Any = CLASS_INDEX,
    plate_index: Any = PLATE_INDEX,
) -> tuple[float, np.ndarray]:
    given = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(tf.constant(class_index), given, tf.constant(plate_index))
    assert value.shape == ()
    assert value.dtype == tf.float32
    gradient = tape.gradient(value, given)
    return float(value), np.zeros_like(embeddings) if gradient is None else gradient.numpy()


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_pytorch_metric_learning(name: str) -> None:
    value, gradient = value_and_gradient(LOSSES[name])
    assert value > 0
    np.testing.assert_allclose(value, GOLDEN[name], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN[f"{name}_gradient"], rtol=1e-4, atol=1e-5)


def test_proxy_anchor_is_that_of_pytorch_metric_learning() -> None:
    loss = ProxyAnchorLoss(*GOLDEN["proxies"].shape)
    loss.proxies.assign(GOLDEN["proxies"])
    value, gradient = value_and_gradient(loss)
    np.testing.assert_allclose(value, GOLDEN["proxy_anchor"], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN["proxy_anchor_gradient"], rtol=1e-4, atol=1e-5)
    with tf.GradientTape() as tape:
        found = loss(CLASS_INDEX, EMBEDDINGS)
    slope = tape.gradient(found, loss.proxies.value)
    np.testing.assert_allclose(slope, GOLDEN["proxies_gradient"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_four_equal_vectors_of_two_classes_give_log_3(temperature: float) -> None:
    loss = SupervisedContrastiveLoss(temperature)
    embeddings = np.full((4, 8), 0.25, np.float32)
    assert float(loss(np.array([0, 0, 1, 1]), embeddings)) == pytest.approx(np.log(3), abs=1e-5)


def test_an_anchor_without_a_positive_does_not_count() -> None:
    loss = SupervisedContrastiveLoss(0.1)
    class_index, embeddings = np.array([0, 0, 1, 1, 2]), EMBEDDINGS[:5]
    similarity = _unit(embeddings) @ _unit(embeddings).T / 0.1
    each = []
    for anchor, positive in ((0, 1), (1, 0), (2, 3), (3, 2)):
        others = [i for i in range(5) if i != anchor]
        each.append(np.log(np.exp(similarity[anchor, others]).sum()) - similarity[anchor, positive])
    assert float(loss(class_index, embeddings)) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("class_index", "plate_index"),
    [([0, 1, 2, 3], [0, 1, 0, 1]), ([0, 0, 0, 0], [0, 0, 1, 1]), ([0, 0, 1, 1], [5, 5, 5, 5])],
    ids=["no positive", "no negative", "one plate"],
)
def test_a_batch_without_pairs_is_worth_nothing_and_moves_nothing(
    name: str, class_index: list[int], plate_index: list[int]
) -> None:
    if class_index == [0, 0, 1, 1] and ("across" not in name and "mined" not in name):
        pytest.skip("these losses do not look at plates")
    value, gradient = value_and_gradient(
        LOSSES[name], EMBEDDINGS[:4], np.int32(class_index), np.int32(plate_index)
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("name", [*LOSSES, "proxy_anchor"])
def test_no_embedding_breaks_a_loss(name: str) -> None:
    """Zero, tiny, huge, twice the same, opposite, and in half precision."""
    loss = LOSSES.get(name) or ProxyAnchorLoss(5, EMBEDDINGS.shape[1])
    embeddings = EMBEDDINGS.copy()
    embeddings[1] = 0
    embeddings[2] *= 1e-6
    embeddings[3] *= 1e6
    embeddings[5] = embeddings[4]
    embeddings[7] = -embeddings[6]
    value, gradient = value_and_gradient(loss, embeddings)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1], 0)
    half = loss(CLASS_INDEX, tf.constant(EMBEDDINGS, tf.float16), PLATE_INDEX)
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, value_and_gradient(loss)[0], rtol=2e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_can_be_compiled_with_batches_of_any_size(name: str) -> None:
    compiled = tf.function(LOSSES[name], jit_compile=True, autograph=False)
    found = compiled(tf.constant(CLASS_INDEX), tf.constant(EMBEDDINGS), tf.constant(PLATE_INDEX))
    np.testing.assert_allclose(found, GOLDEN[name], rtol=1e-5)
    any_size = tf.function(LOSSES[name], autograph=False).get_concrete_function(
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None, EMBEDDINGS.shape[1]), tf.float32),
        tf.TensorSpec((None,), tf.int32),
    )
    found = any_size(tf.constant(CLASS_INDEX), tf.constant(EMBEDDINGS), tf.constant(PLATE_INDEX))
    np.testing.assert_allclose(found, GOLDEN[name], rtol=1e-5)


def test_across_plates_a_shift_of_a_whole_plate_is_no_way_out() -> None:
    """Where the plate is all that embeddings hold, contrasting classes alone sees less wrong."""
    plates = np.repeat([0, 1], 4).astype(np.int32)
    classes = np.tile([0, 1], 4).astype(np.int32)
    embeddings = np.eye(2, dtype=np.float32)[plates]
    across = SupervisedContrastiveLoss(0.1, pairs="across_plates")
    plain = SupervisedContrastiveLoss(0.1)
    assert value_and_gradient(across, embeddings, classes, plates)[0] > 9
    assert value_and_gradient(plain, embeddings, classes, plates)[0] < 9
    right = np.eye(2, dtype=np.float32)[classes]
    # Two positives share what there is.
    found = value_and_gradient(across, right, classes, plates)[0]
    assert found == pytest.approx(np.log(2), abs=1e-3)


def test_pairs_that_look_at_plates_want_them() -> None:
    with pytest.raises(ValueError, match="needs plate_index"):
        SupervisedContrastiveLoss(0.1, pairs="across_plates")(CLASS_INDEX, EMBEDDINGS)
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        SupervisedContrastiveLoss(0.0)


def test_a_recipe_names_the_loss() -> None:
    def built(**section: Any) -> Any:
        made = MetricLossSection.model_validate(section)
        return build_metric_loss(made, classes=5, size=16, seed=3)

    assert built() is None
    supcon = built(name="supervised_contrastive", weight=0.25, temperature=0.5)
    found = supcon(CLASS_INDEX, EMBEDDINGS, PLATE_INDEX)
    np.testing.assert_allclose(found, GOLDEN["supcon_0.5"] / 4, rtol=1e-5)
    triplet = built(name="triplet", weight=1, margin=0.05, pairs="mined")
    found = triplet(CLASS_INDEX, EMBEDDINGS, PLATE_INDEX)
    np.testing.assert_allclose(found, GOLDEN["triplet_mined"], rtol=1e-5)
    one, two = (built(name="proxy_anchor").variables[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (5, 16)


@pytest.fixture(scope="module")
def on_devices() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("one_and_two_devices.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", [*LOSSES, "proxy_anchor"])
def test_two_replicas_contrast_over_the_whole_batch(name: str, on_devices: dict[str, Any]) -> None:
    """Unequal shares; each replica returns the value of the whole batch."""
    one, two = on_devices["one"][name], on_devices["two"][name]
    np.testing.assert_allclose(two["values"], [one["values"][0]] * 2, atol=1e-5)
    np.testing.assert_allclose(two["gradient"], one["gradient"], atol=1e-5)
    assert np.abs(one["gradient"]).max() > 1e-3


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from deadlib.errors import RecipeError
from deadlib.losses import build_loss, class_weights
from deadlib.recipe import LossSection

CLASSES = ["healthy", "sick", "debris"]
COUNTS = [50, 30, 20]
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 3), scale=2).astype(np.float32)
CLASS_INDEX = RNG.integers(0, 3, 40)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASS_INDEX]


def losses(**section: object) -> np.ndarray:
    loss = build_loss(LossSection.model_validate(section), CLASSES, COUNTS)
    return np.asarray(loss(ONE_HOT, LOGITS))


def probabilities() -> np.ndarray:
    return np.asarray(tf.nn.softmax(LOGITS.astype(np.float64)))


def test_cross_entropy_is_one_number_an_example_and_averages_to_the_log_loss() -> None:
    found = losses()
    assert found.shape == (40,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(), log_loss(CLASS_INDEX, probabilities()), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_agrees_with_keras(smoothing: float) -> None:
    expected = keras.losses.categorical_crossentropy(
        ONE_HOT, LOGITS, from_logits=True, label_smoothing=smoothing
    )
    np.testing.assert_allclose(losses(label_smoothing=smoothing), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_agrees_with_keras(gamma: float, smoothing: float) -> None:
    expected = keras.losses.categorical_focal_crossentropy(
        ONE_HOT, LOGITS, alpha=1.0, gamma=gamma, from_logits=True, label_smoothing=smoothing
    )
    found = losses(name="focal", focal_gamma=gamma, label_smoothing=smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_focal_loss_with_gamma_0_is_cross_entropy() -> None:
    np.testing.assert_array_equal(losses(name="focal", focal_gamma=0.0), losses())


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_extreme_logits_have_finite_losses_and_gradients(name: str) -> None:
    loss = build_loss(LossSection(name=name, focal_gamma=0.5), CLASSES, COUNTS)
    logits = tf.constant([[200.0, 0.0, -200.0], [-200.0, 0.0, 200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = loss(tf.constant([[1.0, 0, 0]] * 2), logits)
    assert np.isfinite(values).all()
    assert np.isfinite(tape.gradient(values, logits)).all()


def test_float16_logits_lose_nothing_in_the_loss() -> None:
    loss = build_loss(LossSection(), CLASSES, COUNTS)
    half = LOGITS.astype(np.float16)
    found = np.asarray(loss(ONE_HOT, half))
    np.testing.assert_array_equal(found, loss(ONE_HOT, half.astype(np.float32)))


def test_balanced_weights_are_those_of_sklearn_and_average_to_1_over_examples() -> None:
    weights = class_weights("balanced", CLASSES, COUNTS)
    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_allclose(np.average(weights, weights=COUNTS), 1.0, rtol=1e-6)


def test_weights_by_name_multiply_the_losses_of_their_class() -> None:
    found = losses(class_weights={"sick": 3.0, "debris": 0.0})
    np.testing.assert_allclose(found, losses() * np.array([1, 3, 0])[CLASS_INDEX], rtol=1e-6)


def test_a_weight_for_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'sik' is no class.*did you mean sick"):
        losses(class_weights={"sik": 2.0})


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match=r"class_weights\.sick"):
        losses(class_weights={"sick": weight})


def test_balancing_a_class_without_examples_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match="no example of debris"):
        class_weights("balanced", CLASSES, [3, 4, 0])


def test_the_loss_compiles() -> None:
    loss = build_loss(LossSection(name="focal"), CLASSES, COUNTS)
    compiled = tf.function(loss, jit_compile=True)(ONE_HOT, LOGITS)
    np.testing.assert_allclose(compiled, loss(ONE_HOT, LOGITS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_mixed_example_has_the_mean_loss_of_its_classes_by_their_shares(name: str) -> None:
    section = LossSection(
        name=name, focal_gamma=1.5, label_smoothing=0.1, class_weights={"sick": 3.0, "debris": 0.5}
    )
    loss = build_loss(section, CLASSES, COUNTS)
    shares = RNG.dirichlet(np.ones(3), 40).astype(np.float32)
    of_each = [np.asarray(loss(np.repeat(np.eye(3)[[k]], 40, axis=0), LOGITS)) for k in range(3)]
    expected = (shares * np.stack(of_each, axis=1)).sum(axis=1)
    np.testing.assert_allclose(loss(shares, LOGITS), expected, rtol=1e-5)


def test_soft_targets_agree_with_keras() -> None:
    shares = RNG.dirichlet(np.ones(3), 40).astype(np.float32)
    expected = keras.losses.categorical_crossentropy(
        shares, LOGITS, from_logits=True, label_smoothing=0.2
    )
    loss = build_loss(LossSection(label_smoothing=0.2), CLASSES, COUNTS)
    np.testing.assert_allclose(loss(shares, LOGITS), expected, rtol=1e-5)

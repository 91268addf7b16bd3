"""A temperature makes answers as sure as they are right, and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from deadlib.calibration import cooled, fit_temperature, group_weights, softmax, uncalibrated
from deadlib.metrics import METRICS


def answers(
    seed: int, examples: int = 4000, classes: int = 3, too_sure: float = 2.5
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) and labels (N,) that they tell the chances of, once divided by `too_sure`."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(0, 1.5, (examples, classes))
    drawn = generator.random(examples)[:, None] > softmax(honest).cumsum(axis=1)
    return honest * too_sure, drawn.sum(axis=1)


@given(seed=st.integers(0, 999), classes=st.integers(2, 14), too_sure=st.floats(0.2, 20))
def test_the_temperature_is_the_one_that_scipy_finds(
    seed: int, classes: int, too_sure: float
) -> None:
    logits, labels = answers(seed, 200, classes, too_sure)
    weights = np.random.default_rng(seed).random(200)

    def loss(log_temperature: float) -> float:
        told = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-weights @ told[np.arange(200), labels])

    best = minimize_scalar(loss, bounds=(-4.6, 4.6), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits, labels, weights)
    assert np.log(found) == pytest.approx(best.x, abs=1e-3)


def test_answers_that_are_too_sure_are_made_honest() -> None:
    logits, labels = answers(seed=0)
    temperature = fit_temperature(logits, labels, np.ones(len(labels)))
    assert temperature == pytest.approx(2.5, rel=0.05)
    error = METRICS["calibration_error"].function
    assert error(labels, softmax(logits)) > 0.1
    assert error(labels, softmax(logits / temperature)) < 0.03


def test_each_group_weighs_the_same() -> None:
    """One group of many sure and right answers does not hide that the others are too sure."""
    logits, labels = answers(seed=1, examples=500)
    many = np.tile([[9.0, 0, 0]], (20000, 1))
    group = np.append(np.arange(500) // 10, np.full(20000, 50))
    both = np.concatenate([logits, many]), np.append(labels, np.zeros(20000, int))
    by_group = fit_temperature(*both, group_weights(group))
    by_example = fit_temperature(*both, np.ones(len(group)))
    assert by_group == pytest.approx(fit_temperature(logits, labels, np.ones(500)), rel=0.05)
    assert by_example < 0.9 * by_group


def test_weights_of_groups_sum_to_one_and_are_equal() -> None:
    weights = group_weights(np.array([7, 7, 7, 2]))
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_where_all_is_right_nothing_is_changed() -> None:
    assert fit_temperature(np.array([[2.0, 1], [0, 3]]), np.array([0, 1]), np.ones(2)) == 1.0


def test_answers_worse_than_chance_end_at_the_border() -> None:
    logits, labels = np.tile([[3.0, 0]], (10, 1)), np.ones(10, int)
    assert fit_temperature(logits, labels, np.ones(10)) == pytest.approx(100)


@given(temperature=st.floats(0.05, 20), seed=st.integers(0, 99))
def test_calibrated_probabilities_lead_back_to_the_network(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (20, 4))
    calibrated = softmax(logits / temperature)
    np.testing.assert_allclose(uncalibrated(calibrated, temperature), softmax(logits), atol=1e-6)
    each = np.full(20, temperature)
    np.testing.assert_allclose(cooled(softmax(logits), each), calibrated, atol=1e-9)

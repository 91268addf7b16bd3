"""Every metric against scikit-learn or a plain loop, for any weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from deadlib.metrics import (
    METRICS,
    SMALLEST_PROBABILITY,
    average_by_group,
    class_scores,
    confusion,
)

# enough to meet ties, certainties and every number of classes; a busy machine is no failure
few = settings(max_examples=40, deadline=None)


@st.composite
def tables(draw, lowest_weight=1):
    """Labels of every class, probabilities with ties and certainties, integer weights."""
    k = draw(st.integers(2, 4))
    n = draw(st.integers(k + 2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    class_index = rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, n - k)]))
    # coarse scores give ties, which ranking metrics must count as ties
    scores = rng.integers(0, 5, (n, k)).astype(float) + 1e-9
    scores[rng.random(n) < 0.2, 0] += 1e6
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    weights = rng.integers(lowest_weight, 4, n).astype(float)
    return class_index, probabilities, weights


def sklearn_value(name, y, p, w):
    called = p.argmax(axis=1)
    present = np.unique(y)
    binary = p.shape[1] == 2
    one_hot = np.eye(p.shape[1])[y]
    match name:
        case "accuracy":
            return reference.accuracy_score(y, called, sample_weight=w)
        case "balanced_accuracy":
            return reference.balanced_accuracy_score(y, called, sample_weight=w)
        case "macro_f1":
            return reference.f1_score(y, called, labels=present, average="macro", sample_weight=w)
        case "roc_auc" if binary:
            return reference.roc_auc_score(y, p[:, 1], sample_weight=w)
        case "roc_auc":
            return reference.roc_auc_score(one_hot, p, average="macro", sample_weight=w)
        case "average_precision" if binary:
            return reference.average_precision_score(y, p[:, 1], sample_weight=w)
        case "average_precision":
            return reference.average_precision_score(one_hot, p, average="macro", sample_weight=w)
        case "loss":
            clipped = np.clip(p, SMALLEST_PROBABILITY, 1)
            return np.average(-np.log(clipped[np.arange(len(y)), y]), weights=w)
        case "brier":
            return reference.brier_score_loss(y, p, sample_weight=w, labels=np.arange(p.shape[1]))
        case "calibration_error":
            return loop_calibration_error(y, p, w)
    raise KeyError(name)


def loop_calibration_error(y, p, w, bins=15):
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [i for i in range(len(y)) if low < p[i].max() <= high]
        if inside:
            weight = sum(w[i] for i in inside)
            confidence = sum(w[i] * p[i].max() for i in inside) / weight
            right = sum(w[i] * (p[i].argmax() == y[i]) for i in inside) / weight
            total += weight * abs(confidence - right)
    return total / sum(w)


@pytest.mark.parametrize("name", METRICS)
@few
@given(table=tables())
def test_a_metric_agrees_with_its_reference_for_any_weights(name, table):
    y, p, w = table
    assert METRICS[name].function(y, p, w) == pytest.approx(sklearn_value(name, y, p, w), abs=1e-9)


def test_log_loss_agrees_with_sklearn_where_nothing_is_clipped():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    expected = reference.log_loss(y, p, labels=[0, 1, 2])
    assert METRICS["loss"].function(y, p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
@few
@given(table=tables())
def test_an_integer_weight_is_the_same_as_repeating_the_example(name, table):
    y, p, w = table
    times = w.astype(int)
    repeated = METRICS[name].function(np.repeat(y, times), np.repeat(p, times, axis=0))
    assert METRICS[name].function(y, p, w) == pytest.approx(repeated, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@few
@given(table=tables(lowest_weight=0))
def test_many_weight_vectors_at_once_give_what_each_gives_alone(name, table):
    y, p, w = table
    weights = np.stack([w, np.ones_like(w), w[::-1]])
    together = METRICS[name].over(y, p, weights)
    alone = [METRICS[name].function(y, p, each) for each in weights]
    np.testing.assert_allclose(together, alone, equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
@few
@given(table=tables(), seed=st.integers(0, 1000))
def test_the_order_of_examples_does_not_matter(name, table, seed):
    y, p, w = table
    order = np.random.default_rng(seed).permutation(len(y))
    shuffled = METRICS[name].function(y[order], p[order], w[order])
    assert METRICS[name].function(y, p, w) == pytest.approx(shuffled, abs=1e-9)


@few
@given(table=tables())
def test_class_scores_agree_with_sklearn(table):
    y, p, w = table
    called, labels = p.argmax(axis=1), np.arange(p.shape[1])
    counts = confusion(y, p, w[None])
    np.testing.assert_allclose(
        counts[0], reference.confusion_matrix(y, called, labels=labels, sample_weight=w)
    )
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        y, called, labels=labels, sample_weight=w, zero_division=np.nan
    )
    scores = class_scores(counts)
    np.testing.assert_allclose(scores["precision"][0], precision)
    np.testing.assert_allclose(scores["recall"][0], recall)
    np.testing.assert_allclose(scores["f1"][0], f1)


def test_perfect_probabilities_score_perfectly():
    y = np.array([0, 1, 2, 2, 1])
    p = np.eye(3)[y]
    for metric in METRICS.values():
        best = 1.0 if metric.higher_is_better else 0.0
        assert metric.function(y, p) == pytest.approx(best, abs=1e-12), metric.name


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("classes", [2, 3])
def test_ranking_metrics_are_undefined_with_one_class(name, classes):
    p = np.full((4, classes), 1 / classes)
    assert np.isnan(METRICS[name].function(np.ones(4, int), p))


@pytest.mark.parametrize("name", METRICS)
def test_no_examples_give_nan(name):
    assert np.isnan(METRICS[name].function(np.zeros(0, int), np.zeros((0, 2))))


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "roc_auc"])
def test_a_class_without_any_weight_makes_class_means_undefined(name):
    y = np.array([0, 0, 1, 2])
    p = np.full((4, 3), 1 / 3)
    assert np.isnan(METRICS[name].function(y, p, [1, 1, 1, 0]))


def test_average_by_group_means_the_probabilities_of_a_group_and_class():
    group = ["B", "A", "B", "A", "B"]
    y = [1, 0, 1, 0, 0]
    p = np.array([[0.2, 0.8], [1, 0], [0.4, 0.6], [0.5, 0.5], [0.9, 0.1]])
    classes, means = average_by_group(group, y, p)
    np.testing.assert_array_equal(classes, [0, 0, 1])
    np.testing.assert_allclose(means, [[0.75, 0.25], [0.9, 0.1], [0.3, 0.7]])


@few
@given(table=tables(), seed=st.integers(0, 1000))
def test_groups_of_one_average_to_themselves(table, seed):
    y, p, _ = table
    names = np.random.default_rng(seed).permutation(len(y))
    classes, means = average_by_group(names, y, p)
    order = np.argsort(names)
    np.testing.assert_array_equal(classes, y[order])
    np.testing.assert_allclose(means, p[order])

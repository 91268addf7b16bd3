"""How good are the probabilities? Pure functions on arrays, one per idea.

Everywhere: `class_index` (N,) int in 0..K-1; `probabilities` (N, K) float, rows summing to 1;
`weights` (N,) float >= 0, how often an example counts. `Metric.over` takes many weight vectors at
once, (B, N) -> (B,): a bootstrap is then a few matrix products instead of B calls.

A metric that is not defined (no examples; one class only, for ROC AUC) is NaN. A class counts where
`class_index` has it: if a weight vector gives such a class no weight at all, metrics that average
over classes are NaN for that vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]

CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Metric:
    """A figure of merit. `over`: class_index (N,), probabilities (N, K), weights (B, N) -> (B,)."""

    name: str
    title: str
    higher_is_better: bool
    over: Callable[[Indices, Floats, Floats], Floats]

    def function(
        self, class_index: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
    ) -> float:
        """The value for one weight vector (N,); None gives every example the weight 1."""
        classes = np.asarray(class_index)
        known = np.ones(len(classes)) if weights is None else np.asarray(weights, np.float64)
        return float(self.over(classes, np.asarray(probabilities, np.float64), known[None])[0])


def confusion(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Weight of each (true, predicted) pair: (B, K, K), rows true."""
    classes = probabilities.shape[1]
    cell = class_index * classes + probabilities.argmax(axis=1)
    sums = weights @ _one_hot(cell, classes * classes)
    return sums.reshape(len(weights), classes, classes)


def class_scores(counts: Floats) -> dict[str, Floats]:
    """Precision, recall and F1 of each class, each (B, K), from confusion counts (B, K, K).

    Precision is NaN for a class that is never predicted, recall and F1 for one that never occurs.
    """
    right = np.diagonal(counts, axis1=1, axis2=2)
    true = counts.sum(axis=2)
    called = counts.sum(axis=1)
    return {
        "precision": _divide(right, called),
        "recall": _divide(right, true),
        "f1": np.where(true > 0, _divide(2 * right, true + called), np.nan),
    }


def accuracy(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Share of the examples whose most probable class is the true one."""
    right = (probabilities.argmax(axis=1) == class_index).astype(np.float64)
    return _divide(weights @ right, weights.sum(axis=1))


def balanced_accuracy(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Mean recall over the classes that occur in `class_index`."""
    counts = confusion(class_index, probabilities, weights)
    return _mean_over_classes(class_scores(counts)["recall"], class_index)


def macro_f1(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Mean F1 over the classes that occur in `class_index`."""
    counts = confusion(class_index, probabilities, weights)
    return _mean_over_classes(class_scores(counts)["f1"], class_index)


def log_loss(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Mean negative log probability of the true class, in nats.

    Probabilities below float32's epsilon count as that, so that one zero does not make infinity.
    """
    true = probabilities[np.arange(len(class_index)), class_index]
    losses = -np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0))
    return _divide(weights @ losses, weights.sum(axis=1))


def brier(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Mean squared distance between the probabilities and the truth (Brier 1950).

    Summed over classes, 0..2; with two classes halved, 0..1, which is the usual binary form.
    """
    classes = probabilities.shape[1]
    squares = ((probabilities - _one_hot(class_index, classes)) ** 2).sum(axis=1)
    return _divide(weights @ squares, weights.sum(axis=1)) / (2.0 if classes == 2 else 1.0)


def confidence_bin(probabilities: Floats, bins: int = CALIBRATION_BINS) -> Indices:
    """The bin (N,) in 0..bins-1 of each example's confidence.

    That is the probability of its predicted class; bins are equally wide over 0..1, closed above.
    """
    return np.clip(np.ceil(probabilities.max(axis=1) * bins).astype(np.intp) - 1, 0, bins - 1)


def bin_accuracy(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Share of right answers in each confidence bin: (B, 15), NaN where a bin is empty."""
    right = (probabilities.argmax(axis=1) == class_index).astype(np.float64)
    member = _one_hot(confidence_bin(probabilities), CALIBRATION_BINS)
    return _divide(weights @ (member * right[:, None]), weights @ member)


def calibration_error(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Expected calibration error: mean |confidence - accuracy| over 15 confidence bins.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    right = (probabilities.argmax(axis=1) == class_index).astype(np.float64)
    gap = probabilities.max(axis=1) - right
    gaps = weights @ (_one_hot(confidence_bin(probabilities), CALIBRATION_BINS) * gap[:, None])
    return _divide(np.abs(gaps).sum(axis=1), weights.sum(axis=1))


def roc_auc(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve; of class 1 with two classes, else the mean of one-versus-rest."""
    return _one_versus_rest(binary_roc_auc, class_index, probabilities, weights)


def average_precision(class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
    """Area under the precision-recall steps; of class 1, else the mean of one-versus-rest."""
    return _one_versus_rest(binary_average_precision, class_index, probabilities, weights)


def binary_roc_auc(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Chance that a positive scores above a negative, ties counting half (Mann-Whitney).

    positive (N,), score (N,), weights (B, N) -> (B,); NaN where either kind has no weight.
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(score[negatives], kind="stable")]
    positives = np.flatnonzero(positive)
    below = np.searchsorted(score[negatives], score[positives], side="left")
    up_to = np.searchsorted(score[negatives], score[positives], side="right")
    negative = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, negatives], axis=1, out=negative[:, 1:])
    weight = weights[:, positives]
    won = np.einsum("bn,bn->b", weight, negative[:, below])
    if not np.array_equal(below, up_to):
        won = (won + np.einsum("bn,bn->b", weight, negative[:, up_to])) / 2
    return _divide(won, weight.sum(axis=1) * negative[:, -1])


def binary_average_precision(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Sum over falling thresholds of (gain in recall) x precision, without interpolation.

    positive (N,), score (N,), weights (B, N) -> (B,); NaN where either kind has no weight, both
    occurring.
    """
    order = np.argsort(-score, kind="stable")
    positives = order[positive[order]]
    # a threshold at a positive's score calls every example down to the last of the same score
    last = np.searchsorted(-score[order], -score[positives], side="right") - 1
    last_positive = np.searchsorted(-score[positives], -score[positives], side="right") - 1
    called = np.cumsum(weights[:, order], axis=1)
    weight = weights[:, positives]
    right = np.cumsum(weight, axis=1)
    total = right[:, -1]
    other = called[:, -1] > total
    if not np.array_equal(last_positive, np.arange(len(positives))):
        right = right[:, last_positive]
    called = called[:, last]
    precision = np.divide(right, called, out=np.zeros_like(right), where=called > 0)
    found = _divide(np.einsum("bn,bn->b", weight, precision), total)
    return np.where(other, found, np.nan)


def average_by_group(
    group: ArrayLike, class_index: ArrayLike, probabilities: ArrayLike
) -> tuple[Indices, Floats]:
    """Mean probabilities of the examples that share group and class.

    group (N,), class_index (N,), probabilities (N, K) -> class_index (M,), probabilities (M, K),
    sorted by group, then class. A group with examples of two classes gives two units.
    """
    classes = np.asarray(class_index)
    known = np.asarray(probabilities, np.float64)
    width = known.shape[1]
    _, group_index = np.unique(np.asarray(group), return_inverse=True)
    units, unit_of = np.unique(group_index.ravel() * width + classes, return_inverse=True)
    sums = np.zeros((len(units), width))
    np.add.at(sums, unit_of, known)
    return units % width, sums / np.bincount(unit_of, minlength=len(units))[:, None]


def _one_versus_rest(
    binary: Callable[[NDArray[np.bool_], Floats, Floats], Floats],
    class_index: Indices,
    probabilities: Floats,
    weights: Floats,
) -> Floats:
    present = np.unique(class_index)
    if len(present) < 2:
        return np.full(len(weights), np.nan)
    if probabilities.shape[1] == 2:
        return binary(class_index == 1, probabilities[:, 1], weights)
    each = [binary(class_index == k, probabilities[:, k], weights) for k in present]
    return np.mean(each, axis=0)


def _mean_over_classes(scores: Floats, class_index: Indices) -> Floats:
    present = np.unique(class_index)
    if len(present) == 0:
        return np.full(len(scores), np.nan)
    return scores[:, present].mean(axis=1)


def _one_hot(index: Indices, width: int) -> Floats:
    return (index[:, None] == np.arange(width)).astype(np.float64)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    empty = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", True, accuracy),
        Metric("balanced_accuracy", "balanced accuracy", True, balanced_accuracy),
        Metric("macro_f1", "macro F1", True, macro_f1),
        Metric("roc_auc", "ROC AUC", True, roc_auc),
        Metric("average_precision", "AUPRC", True, average_precision),
        Metric("loss", "log loss", False, log_loss),
        Metric("brier", "Brier score", False, brier),
        Metric("calibration_error", "calibration error", False, calibration_error),
    )
}

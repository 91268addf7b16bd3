"""How good are the probabilities? Pure functions on arrays, one per idea.

Everywhere: `class_index` (N,) int in 0..K-1; `probabilities` (N, K) float, rows summing to 1;
`weights` (N,) float >= 0, how often an example counts. A statistic takes many weight vectors at
once, (B, N) -> (B, S): a bootstrap is then a few matrix products instead of B calls, and where
whole groups are drawn, products of what the groups sum up to (`deadlib.bootstrap.Groupable`).

A metric that is not defined (no examples; one class only, for ROC AUC) is NaN. A class counts where
`class_index` has it: if a weight vector gives such a class no weight at all, metrics that average
over classes are NaN for that vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from deadlib.bootstrap import Statistic, Sums, indicator

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]

CALIBRATION_BINS = 15
# tables of groups x groups: so many numbers at most, and so many for each row that they spare
MOST_PAIRS = 2**24
PAIRS_PER_ROW = 50
TINY = np.finfo(np.float64).tiny
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    statistic: class_index (N,), probabilities (N, K) -> a statistic of one figure, weights (B, N)
    -> (B, 1), for `deadlib.bootstrap`. of_calls: it asks for nothing but the most probable class.
    """

    name: str
    title: str
    higher_is_better: bool
    statistic: Callable[[Indices, Floats], Statistic]
    of_calls: bool = False

    def over(self, class_index: Indices, probabilities: Floats, weights: Floats) -> Floats:
        """The value for each weight vector: weights (B, N) -> (B,)."""
        return self.statistic(class_index, probabilities)(weights)[:, 0]

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
    sums = weights @ confusion_cells(class_index, probabilities)
    return as_confusion(np.asarray(sums), classes)


def confusion_cells(class_index: Indices, probabilities: Floats) -> sparse.csr_array:
    """Which cell of the confusion matrix each example counts in: (N, K * K), to be summed."""
    classes = probabilities.shape[1]
    return indicator(
        np.asarray(class_index * classes + probabilities.argmax(axis=1), np.intp), classes**2
    )


def as_confusion(sums: Floats, classes: int) -> Floats:
    """Sums of `confusion_cells` (B, K * K) as matrices (B, K, K)."""
    return sums.reshape(len(sums), classes, classes)


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


def accuracy(class_index: Indices, probabilities: Floats) -> Statistic:
    """Share of the examples whose most probable class is the true one."""
    return _mean((probabilities.argmax(axis=1) == class_index).astype(np.float64))


def balanced_accuracy(class_index: Indices, probabilities: Floats) -> Statistic:
    """Mean recall over the classes that occur in `class_index`."""
    return _mean_score("recall", class_index, probabilities)


def macro_f1(class_index: Indices, probabilities: Floats) -> Statistic:
    """Mean F1 over the classes that occur in `class_index`."""
    return _mean_score("f1", class_index, probabilities)


def log_loss(class_index: Indices, probabilities: Floats) -> Statistic:
    """Mean negative log probability of the true class, in nats.

    Probabilities below float32's epsilon count as that, so that one zero does not make infinity.
    """
    true = probabilities[np.arange(len(class_index)), class_index]
    return _mean(-np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0)))


def brier(class_index: Indices, probabilities: Floats) -> Statistic:
    """Mean squared distance between the probabilities and the truth (Brier 1950).

    Summed over classes, 0..2; with two classes halved, 0..1, which is the usual binary form.
    """
    classes = probabilities.shape[1]
    truth = class_index[:, None] == np.arange(classes)
    squares = ((probabilities - truth) ** 2).sum(axis=1)
    return _mean(squares / (2.0 if classes == 2 else 1.0))


def confidence_bin(probabilities: Floats, bins: int = CALIBRATION_BINS) -> NDArray[np.intp]:
    """The bin (N,) in 0..bins-1 of each example's confidence.

    That is the probability of its predicted class; bins are equally wide over 0..1, closed above.
    """
    return np.clip(np.ceil(probabilities.max(axis=1) * bins).astype(np.intp) - 1, 0, bins - 1)


def bin_accuracy(class_index: Indices, probabilities: Floats) -> Sums:
    """Share of right answers in each confidence bin: (B, 15), NaN where a bin is empty."""
    right = (probabilities.argmax(axis=1) == class_index).astype(np.float64)
    member = indicator(confidence_bin(probabilities), CALIBRATION_BINS)
    columns = sparse.hstack([member * right[:, None], member], format="csr")
    return Sums(columns, lambda s: _divide(s[:, :CALIBRATION_BINS], s[:, CALIBRATION_BINS:]))


def calibration_error(class_index: Indices, probabilities: Floats) -> Statistic:
    """Expected calibration error: mean |confidence - accuracy| over 15 confidence bins.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    right = (probabilities.argmax(axis=1) == class_index).astype(np.float64)
    gap = probabilities.max(axis=1) - right
    gaps = indicator(confidence_bin(probabilities), CALIBRATION_BINS).toarray() * gap[:, None]

    def finish(sums: Floats) -> Floats:
        return _divide(np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1])[:, None]

    return Sums(np.column_stack([gaps, np.ones(len(gap))]), finish)


@dataclass(frozen=True)
class RocAuc:
    """Area under the ROC curve; of class 1 with two classes, else the mean of one-versus-rest."""

    class_index: Indices
    probabilities: Floats

    def __call__(self, weights: Floats) -> Floats:
        kinds = _against_the_rest(self.class_index, self.probabilities)
        if not kinds:
            return np.full((len(weights), 1), np.nan)
        each = [binary_roc_auc(positive, score, weights) for positive, score in kinds]
        return np.mean(each, axis=0)[:, None]

    def on_groups(self, index: NDArray[np.intp], groups: int) -> tuple[Statistic, int]:
        """From how often the positives of one group win over the negatives of another.

        That is a table of groups x groups for each class, which pays while it is small.
        """
        kinds = _against_the_rest(self.class_index, self.probabilities)
        rows = len(index)
        if not kinds or groups**2 > min(MOST_PAIRS / len(kinds), PAIRS_PER_ROW * rows):
            return lambda weights: self(weights[:, index]), rows
        tables = [group_wins(positive, score, index, groups) for positive, score in kinds]

        def over(weights: Floats) -> Floats:
            found = [
                _divide(
                    np.einsum("bg,bg->b", weights @ wins, weights),
                    (weights @ positives) * (weights @ negatives),
                )
                for wins, positives, negatives in tables
            ]
            return np.mean(found, axis=0)[:, None]

        return over, groups


def group_wins(
    positive: NDArray[np.bool_], score: Floats, index: NDArray[np.intp], groups: int
) -> tuple[Floats, Floats, Floats]:
    """Pairs that a positive of group g wins over a negative of group h, ties half: (G, G).

    Also the positives (G,) and the negatives (G,) of each group.
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(score[negatives], kind="stable")]
    positives = np.flatnonzero(positive)
    below = np.searchsorted(score[negatives], score[positives], side="left")
    up_to = np.searchsorted(score[negatives], score[positives], side="right")
    wins = np.zeros((groups, groups))
    before = np.zeros(len(negatives) + 1)
    for group in range(groups):
        np.cumsum(index[negatives] == group, out=before[1:])
        won = (before[below] + before[up_to]) / 2
        wins[:, group] = np.bincount(index[positives], won, minlength=groups)
    count = np.bincount(index[positives], minlength=groups).astype(float)
    return wins, count, np.bincount(index[negatives], minlength=groups).astype(float)


@dataclass(frozen=True)
class AveragePrecision:
    """Area under the precision-recall steps; of class 1, else the mean of one-versus-rest."""

    class_index: Indices
    probabilities: Floats

    def __call__(self, weights: Floats) -> Floats:
        rows = np.arange(len(self.class_index))
        return self.on_groups(rows, len(rows))[0](weights)

    def on_groups(self, index: NDArray[np.intp], groups: int) -> tuple[Statistic, int]:
        """Every row is needed, but sorted once and weighted in the cache."""
        kinds = _against_the_rest(self.class_index, self.probabilities)
        if not kinds:
            return lambda weights: np.full((len(weights), 1), np.nan), groups
        prepared = [BinaryAveragePrecision.of(*kind, index) for kind in kinds]
        return lambda weights: np.mean([one(weights) for one in prepared], axis=0), groups


@dataclass(frozen=True)
class BinaryAveragePrecision:
    """Sum over falling thresholds of (gain in recall) x precision, without interpolation.

    group (N,): whose weight each example has, by falling score; group_of_positive (P,): the same of
    the positives; last (P,): the last example of the same score as each positive; last_positive
    (P,): the last such positive, None where no two positives tie.
    """

    group: NDArray[np.intp]
    group_of_positive: NDArray[np.intp]
    last: NDArray[np.intp]
    last_positive: NDArray[np.intp] | None

    @staticmethod
    def of(
        positive: NDArray[np.bool_], score: Floats, index: NDArray[np.intp]
    ) -> BinaryAveragePrecision:
        order = np.argsort(-score, kind="stable")
        falling = -score[order]
        positives = np.flatnonzero(positive[order])
        # a threshold at a positive's score calls every example down to the last of the same score
        last = np.searchsorted(falling, falling[positives], side="right") - 1
        tied = np.searchsorted(falling[positives], falling[positives], side="right") - 1
        group = index[order]
        alone = np.array_equal(tied, np.arange(len(positives)))
        return BinaryAveragePrecision(group, group[positives], last, None if alone else tied)

    def __call__(self, weights: Floats) -> Floats:
        """weights of groups (B, G) -> (B, 1); NaN where either kind has no weight."""
        return np.array([[self._of_one(row)] for row in weights])

    def _of_one(self, weights: Floats) -> float:
        called = np.cumsum(weights[self.group])
        gain = weights[self.group_of_positive]
        right = np.cumsum(gain)
        total = right[-1]
        if not 0 < total < called[-1]:
            return np.nan
        if self.last_positive is not None:
            right = right[self.last_positive]
        called = called[self.last]
        # nothing called is nothing right, and then precision counts for nothing
        won = np.einsum("n,n->", gain, right / np.maximum(called, TINY))
        return float(won / total)


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


def _against_the_rest(
    class_index: Indices, probabilities: Floats
) -> list[tuple[NDArray[np.bool_], Floats]]:
    """Which examples are positive, and their score: for class 1, or for each class of several."""
    present = np.unique(class_index)
    if len(present) < 2:
        return []
    classes = [1] if probabilities.shape[1] == 2 else present
    return [(class_index == k, probabilities[:, k]) for k in classes]


def _mean(values: Floats) -> Statistic:
    """The weighted mean of values (N,)."""
    columns = np.column_stack([values, np.ones(len(values))])
    return Sums(columns, lambda sums: _divide(sums[:, 0], sums[:, 1])[:, None])


def _mean_score(score: str, class_index: Indices, probabilities: Floats) -> Statistic:
    """The mean of a class score over the classes that occur."""
    classes = probabilities.shape[1]
    present = np.unique(class_index)

    def finish(sums: Floats) -> Floats:
        if len(present) == 0:
            return np.full((len(sums), 1), np.nan)
        scores = class_scores(as_confusion(sums, classes))[score]
        return scores[:, present].mean(axis=1, keepdims=True)

    return Sums(confusion_cells(class_index, probabilities), finish)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    empty = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", True, accuracy, of_calls=True),
        Metric("balanced_accuracy", "balanced accuracy", True, balanced_accuracy, of_calls=True),
        Metric("macro_f1", "macro F1", True, macro_f1, of_calls=True),
        Metric("roc_auc", "ROC AUC", True, RocAuc),
        Metric("average_precision", "AUPRC", True, AveragePrecision),
        Metric("loss", "log loss", False, log_loss),
        Metric("brier", "Brier score", False, brier),
        Metric("calibration_error", "calibration error", False, calibration_error),
    )
}


def measurable(calls_only: bool) -> dict[str, Metric]:
    """All metrics, or those of answers without probabilities."""
    return {name: metric for name, metric in METRICS.items() if metric.of_calls or not calls_only}

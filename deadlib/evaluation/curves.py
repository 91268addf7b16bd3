"""ROC and precision-recall curves with pointwise bands from the bootstrap over groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.bootstrap import Resampling, draw_groups

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 101)
# a band is read off a picture: it needs fewer resamples than a number
MOST_RESAMPLES = 400


@dataclass(frozen=True)
class Band:
    """A curve on GRID, 101 values each, and the limits of its band."""

    value: Floats
    low: Floats
    high: Floats

    def to_json(self) -> dict[str, list[float]]:
        return {
            name: np.round(values, 5).tolist()
            for name, values in (("value", self.value), ("low", self.low), ("high", self.high))
        }


@dataclass(frozen=True)
class Curves:
    """One class against the rest: true positive rate over false positive rate, and precision over
    recall; `share` is the share of the class, the precision of guessing."""

    true_positive_rate: Band
    precision: Band
    share: float

    def to_json(self) -> dict[str, Any]:
        return {
            "grid": GRID.tolist(),
            "true_positive_rate": self.true_positive_rate.to_json(),
            "precision": self.precision.to_json(),
            "share": self.share,
        }


def class_curves(
    positive: NDArray[np.bool_],
    score: Floats,
    group_index: NDArray[np.intp],
    resampling: Resampling,
) -> Curves:
    """Curves of positive (N,) ranked by score (N,), with bands over groups; both kinds occur."""
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    positive = positive[order]
    rng = np.random.default_rng(resampling.seed)
    few = replace(resampling, resamples=min(resampling.resamples, MOST_RESAMPLES))
    roc, precision = [], []
    for _ in range(few.resamples):
        weights = draw_groups(rng, 1, int(group_index.max()) + 1)[0, group_index][order]
        right, wrong = _totals(positive, weights, last_of_tie)
        if right[-1] > 0 and wrong[-1] > 0:
            roc.append(_roc(right, wrong))
            precision.append(_precision(right, wrong))
    right, wrong = _totals(positive, np.ones(len(score)), last_of_tie)
    return Curves(
        _band(_roc(right, wrong), roc, resampling.tail),
        _band(_precision(right, wrong), precision, resampling.tail),
        float(positive.mean()),
    )


def _totals(
    positive: NDArray[np.bool_], weights: Floats, last_of_tie: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Weight of the positives and of the negatives called, at each threshold from high to low."""
    called = np.cumsum(weights)[last_of_tie]
    right = np.cumsum(weights * positive)[last_of_tie]
    return right, called - right


def _roc(right: Floats, wrong: Floats) -> Floats:
    """True positive rate at each false positive rate of GRID, the highest where it jumps."""
    false = np.concatenate([[0.0], wrong / wrong[-1]])
    true = np.concatenate([[0.0], right / right[-1]])
    # np.interp wants rising x: where the curve jumps, only the top of the jump counts
    top = np.append(np.diff(false) > 0, True)
    return np.interp(GRID, false[top], true[top])


def _precision(right: Floats, wrong: Floats) -> Floats:
    """Precision at the first threshold that reaches each recall of GRID."""
    recall = right / right[-1]
    first = np.minimum(np.searchsorted(recall, GRID - 1e-12), len(recall) - 1)
    first[GRID == 0] = np.argmax(right > 0)
    return right[first] / (right + wrong)[first]


def _band(value: Floats, replicates: list[Floats], tail: float) -> Band:
    if not replicates:
        return Band(value, value, value)
    low, high = np.quantile(np.stack(replicates), [tail, 1 - tail], axis=0)
    return Band(value, np.minimum(low, value), np.maximum(high, value))

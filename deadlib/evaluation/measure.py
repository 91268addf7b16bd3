"""Every figure of a report with its interval: overall, by class and by confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Resampling, Stack, Sums, estimates
from deadlib.evaluation.curves import Curves, class_curves
from deadlib.evaluation.units import Floats, Units
from deadlib.metrics import (
    CALIBRATION_BINS,
    METRICS,
    as_confusion,
    bin_accuracy,
    class_scores,
    confidence_bin,
    confusion,
    confusion_cells,
)

OnResamples = Callable[[int], None]

CLASS_SCORES = ("precision", "recall", "f1")
# means over classes, which say nothing where only one class occurs
COMPARES_CLASSES = frozenset({"balanced_accuracy", "macro_f1", "roc_auc", "average_precision"})


@dataclass(frozen=True)
class Level:
    """All figures of one kind of unit.

    metrics: all that these units allow; counts K x K and shares K x K: rows true, columns
    predicted, shares of the row; per_class: class -> precision, recall, f1; bins: the confidence
    bins that are not empty; bins and curves: none of calls without probabilities.
    """

    units: int
    groups: int
    class_counts: dict[str, int]
    metrics: dict[str, Estimate]
    counts: list[list[int]]
    shares: list[list[Estimate]]
    per_class: dict[str, dict[str, Estimate]]
    bins: list[Bin]
    curves: dict[str, Curves]

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.units,
            "groups": self.groups,
            "class_counts": self.class_counts,
            "metrics": _to_json(self.metrics),
            "confusion": {
                "counts": self.counts,
                "row_shares": [[share.to_json() for share in row] for row in self.shares],
            },
            "per_class": {name: _to_json(scores) for name, scores in self.per_class.items()},
            "calibration": [found.to_json() for found in self.bins],
            "curves": {name: curves.to_json() for name, curves in self.curves.items()},
        }


@dataclass(frozen=True)
class Bin:
    """Units of similar confidence: how many, their mean confidence, how often they are right.

    index: which of the 15 equally wide bins over 0..1.
    """

    index: int
    units: int
    confidence: float
    accuracy: Estimate

    def to_json(self) -> dict[str, Any]:
        accuracy = self.accuracy.to_json()
        return {
            "low": self.index / CALIBRATION_BINS,
            "high": (self.index + 1) / CALIBRATION_BINS,
            "n": self.units,
            "confidence": self.confidence,
            "accuracy": accuracy,
        }


def measure(
    units: Units,
    classes: Sequence[str],
    resampling: Resampling,
    on_resamples: OnResamples | None = None,
) -> Level:
    """Every figure of these units, with intervals over their groups."""
    y, p = units.class_index, units.probabilities
    size = len(classes)
    bin_index = confidence_bin(p)
    occupied = np.unique(bin_index)[: 0 if units.calls_only else None]

    def shares_and_scores(sums: Floats) -> Floats:
        counts = as_confusion(sums, size)
        scores = class_scores(counts)
        with np.errstate(invalid="ignore"):
            shares = (counts / counts.sum(axis=2, keepdims=True)).reshape(len(sums), -1)
        return np.hstack([shares, *(scores[name] for name in CLASS_SCORES)])

    right_in_bin = bin_accuracy(y, p)
    statistic = Stack(
        [
            *(metric.statistic(y, p) for metric in units.metrics.values()),
            Sums(confusion_cells(y, p), shares_and_scores),
            replace(right_in_bin, finish=lambda sums: right_in_bin.finish(sums)[:, occupied]),
        ]
    )
    behind = _groups_behind(units, occupied)
    # taken off one by one, in the order that `statistic` puts them
    found = iter(estimates(statistic, units.group_index, behind, resampling, on_resamples))
    metrics = {name: explained(name, next(found), y) for name in units.metrics}
    shares = [[next(found) for _ in classes] for _ in classes]
    scores = {score: [next(found) for _ in classes] for score in CLASS_SCORES}
    return Level(
        units=len(units),
        groups=units.groups,
        class_counts=class_counts(y, classes),
        metrics=metrics,
        counts=confusion(y, p, np.ones((1, len(y))))[0].astype(int).tolist(),
        shares=[[_of_class(share, "share") for share in row] for row in shares],
        per_class={
            name: {score: _of_class(scores[score][k], score) for score in CLASS_SCORES}
            for k, name in enumerate(classes)
        },
        bins=[_bin(int(b), p[bin_index == b], next(found)) for b in occupied],
        curves={
            classes[k]: class_curves(y == k, p[:, k], units.group_index, resampling)
            for k in ([1] if size == 2 else range(size))
            if 0 < np.count_nonzero(y == k) < len(y) and not units.calls_only
        },
    )


def class_counts(class_index: NDArray[np.intp], classes: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(class_index, minlength=len(classes))
    return {name: int(n) for name, n in zip(classes, counts, strict=True)}


def explained(name: str, estimate: Estimate, class_index: NDArray[np.intp]) -> Estimate:
    """The metric, or nothing and the reason where only one class occurs and it compares classes."""
    if name in COMPARES_CLASSES and len(np.unique(class_index)) < 2:
        return Estimate(None, reason="one class only")
    return estimate


def groups_behind_metrics(units: Units) -> dict[str, int]:
    """How many groups stand behind each metric.

    A mean over K classes, each with n groups of its own, has K (n - 1) degrees of freedom, n being
    that of the rarest class. Where groups hold several classes, there are not more than groups.
    """
    present = np.unique(units.class_index)
    rarest = min(units.groups_with(units.class_index == k) for k in present)
    compared = min(len(present) * (rarest - 1) + 1, units.groups)
    behind = dict.fromkeys(METRICS, 0)
    return behind | {name: compared for name in COMPARES_CLASSES} | {"accuracy": units.groups}


def _groups_behind(units: Units, occupied: NDArray[np.integer]) -> NDArray[np.intp]:
    """The same for every figure of `measure`, in its order."""
    classes = range(units.probabilities.shape[1])
    bins = confidence_bin(units.probabilities)
    true = [units.groups_with(units.class_index == k) for k in classes]
    called = [units.groups_with(units.predicted_index == k) for k in classes]
    metrics = groups_behind_metrics(units)
    return np.array(
        [
            *(metrics[name] for name in units.metrics),
            *np.repeat(true, len(true)),
            *called,
            *true,
            *true,
            *(units.groups_with(bins == b) for b in occupied),
        ],
        np.intp,
    )


def _bin(index: int, probabilities: Floats, accuracy: Estimate) -> Bin:
    return Bin(index, len(probabilities), float(probabilities.max(axis=1).mean()), accuracy)


def _of_class(estimate: Estimate, score: str) -> Estimate:
    if estimate.value is not None:
        return estimate
    return replace(estimate, reason="never predicted" if score == "precision" else "no such label")


def _to_json(found: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in found.items()}

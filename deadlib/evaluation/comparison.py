"""Two models on the same examples: is one better, or is the difference chance?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Floats, Resampling, Statistic, estimates, on_groups
from deadlib.errors import PredictionError
from deadlib.evaluation.permutation import SignFlips, sign_flips
from deadlib.evaluation.table import Predictions, read_predictions
from deadlib.metrics import METRICS, Metric, measurable

# AUPRC needs all rows in order for every exchange, which takes minutes; the calibration error is
# biased by an amount that exchanges change
LEFT_OUT = frozenset({"average_precision", "calibration_error"})
COMPARED = {name: METRICS[name] for name in METRICS if name not in LEFT_OUT}


@dataclass(frozen=True)
class Difference:
    """One metric of both models. difference: this model less the other."""

    this: float | None
    other: float | None
    difference: Estimate
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "this": self.this,
            "other": self.other,
            "difference": self.difference.to_json(),
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Comparison:
    """Every metric of both models on the same examples.

    answers: how many examples both call right, only this model, only the other, neither; flips: how
    the p-values were made.
    """

    other: Path
    units: int
    groups: int
    differences: dict[str, Difference]
    answers: dict[str, int]
    flips: SignFlips

    def to_json(self) -> dict[str, Any]:
        return {
            "other": str(self.other),
            "n": self.units,
            "groups": self.groups,
            "answers": self.answers,
            "metrics": {name: found.to_json() for name, found in self.differences.items()},
            "test": {
                "method": "sign flips of whole groups",
                "flips": self.flips.count,
                "exact": self.flips.exact,
                "smallest_p_value": self.flips.smallest,
            },
        }


@dataclass(frozen=True)
class Paired:
    """A metric of this model less that of the other, on the same examples.

    probabilities, other (N, K). Weights count for both models alike.
    """

    metric: Metric
    class_index: NDArray[np.intp]
    probabilities: Floats
    other: Floats

    def __call__(self, weights: Floats) -> Floats:
        rows = len(self.class_index)
        return self.on_groups(np.arange(rows), rows)[0](weights)

    def on_groups(self, index: NDArray[np.intp], groups: int) -> tuple[Statistic, int]:
        both, width = self._both(index, groups)

        def difference(weights: Floats) -> Floats:
            none = np.zeros_like(weights)
            return both(np.hstack([weights, none])) - both(np.hstack([none, weights]))

        return difference, width

    def swapped(self, index: NDArray[np.intp], groups: int) -> tuple[Statistic, int]:
        """The difference where some groups take the other model's answers: swaps (B, G) of 0, 1."""
        both, width = self._both(index, groups)

        def difference(swaps: Floats) -> Floats:
            return both(np.hstack([1 - swaps, swaps])) - both(np.hstack([swaps, 1 - swaps]))

        return difference, width

    def _both(self, index: NDArray[np.intp], groups: int) -> tuple[Statistic, int]:
        """The metric of answers drawn from both models: weights (B, 2 G), this model's first."""
        statistic = self.metric.statistic(
            np.tile(self.class_index, 2), np.vstack([self.probabilities, self.other])
        )
        return on_groups(statistic, np.concatenate([index, index + groups]), 2 * groups)


def compare(predictions: Predictions, against: Path, resampling: Resampling) -> Comparison:
    """Every metric of `predictions` less that of the table `against`, over the former's groups.

    Raises PredictionError where the tables do not hold the same examples, labels and classes.
    """
    other, calls_only = matched(predictions, against)
    y, index = predictions.class_index, predictions.group_index
    flips = sign_flips(predictions.groups, resampling)
    right = predictions.probabilities.argmax(axis=1) == y
    other_right = other.argmax(axis=1) == y
    return Comparison(
        other=against,
        units=len(y),
        groups=predictions.groups,
        differences={
            name: _difference(
                Paired(metric, y, predictions.probabilities, other), index, flips, resampling
            )
            for name, metric in COMPARED.items()
            if name in measurable(calls_only)
        },
        answers={
            "both_right": int((right & other_right).sum()),
            "only_this_right": int((right & ~other_right).sum()),
            "only_other_right": int((~right & other_right).sum()),
            "neither_right": int((~right & ~other_right).sum()),
        },
        flips=flips,
    )


def _difference(
    paired: Paired, index: NDArray[np.intp], flips: SignFlips, resampling: Resampling
) -> Difference:
    y = paired.class_index
    found = estimates(paired, index, np.array([0]), resampling)[0]
    p_value = None
    if found.value is not None:
        difference, width = paired.swapped(index, int(index.max()) + 1)
        p_value = flips.p_value(difference, width)
    return Difference(
        this=_number(paired.metric.function(y, paired.probabilities)),
        other=_number(paired.metric.function(y, paired.other)),
        difference=found,
        p_value=p_value,
    )


def matched(predictions: Predictions, against: Path) -> tuple[Floats, bool]:
    """The probabilities (N, K) of the other table, for the same examples in the same order.

    Also whether one of the tables has calls only.
    """
    path = predictions.path
    other = read_predictions(against, split=_split_of(against, predictions.split))
    for one in (predictions, other):
        _refuse_without_ids(one)
    if set(other.classes) != set(predictions.classes):
        raise PredictionError(
            f"{against}: the classes are {', '.join(other.classes)}, expected those of {path}, "
            f"{', '.join(predictions.classes)}: two models can be compared where they answer the "
            "same question"
        )
    ids, other_ids = predictions.frame["example_id"], other.frame["example_id"]
    only_here, only_there = _without(ids, other_ids), _without(other_ids, ids)
    if only_here or only_there:
        missing = [
            f"{len(names):,} labelled examples of {where} are not in {elsewhere}, for example "
            f"{names[0]}"
            for names, where, elsewhere in (
                (only_here, path, against),
                (only_there, against, path),
            )
            if names
        ]
        raise PredictionError(
            f"{'; '.join(missing)}: a comparison needs the same examples in both; predict the same "
            "dataset and split with both models"
        )
    place = pd.Index(other_ids).get_indexer(ids)
    labels = np.array(other.classes)[other.class_index[place]]
    own = np.array(predictions.classes)[predictions.class_index]
    for row in np.flatnonzero(labels != own):
        raise PredictionError(
            f"{against}: {ids.iloc[row]} is labelled {labels[row]}, and {own[row]} in {path}; "
            f"{int((labels != own).sum())} examples differ: predict both from the same version of "
            "the dataset"
        )
    columns = [other.classes.index(name) for name in predictions.classes]
    return other.probabilities[place][:, columns], predictions.calls_only or other.calls_only


def _split_of(path: Path, split: str | None) -> str | None:
    """The split to read of the other table: the same one, where that table tells splits."""
    if split is None:
        return None
    try:
        return read_predictions(path, split=split).split
    except PredictionError as error:
        if "no column split" in str(error):
            return None
        raise


def _refuse_without_ids(predictions: Predictions) -> None:
    path, frame = predictions.path, predictions.frame
    if "example_id" not in frame or frame["example_id"].isna().any():
        raise PredictionError(
            f"{path}: a comparison matches examples by the column example_id, which "
            f"{'has gaps' if 'example_id' in frame else 'is not there'}: give tables that "
            "deadlib-predict wrote, or add a name for each row that both tables share"
        )
    copies = frame["example_id"][frame["example_id"].duplicated()]
    if len(copies):
        raise PredictionError(
            f"{path}: {copies.iloc[0]} stands in the table more than once ({len(copies):,} copies "
            "in all), so it is not clear which row to compare: keep one row for each example_id"
        )


def _without(names: pd.Series, others: pd.Series) -> list[str]:
    return list(names[~names.isin(others)].astype(str))


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None

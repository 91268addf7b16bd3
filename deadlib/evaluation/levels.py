"""How sure, if what differs next time are experiments, plates, wells, or images?

Experiments hold plates, plates hold wells, wells hold images. At each level the groups are drawn
within those that hold them, so that the coarser levels stay as they are: the interval over wells is
that of other wells on the same plates of the same experiments. The variance of one level less that
of the next finer one is what the level adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Nested, Resampling, Stack, bootstrap, estimates, on_groups
from deadlib.errors import PredictionError
from deadlib.evaluation.table import Predictions, names_of_groups
from deadlib.metrics import METRICS
from tfrecords_tools.split import LEVELS

IMAGE = "image"
SHOWN = ("accuracy", "balanced_accuracy", "roc_auc")


@dataclass(frozen=True)
class Tier:
    """One level. groups: how many; within: the coarser level that stays as it is, None at the top;
    share: of the uncertainty of the accuracy, what this level adds, None where nothing tells.
    """

    name: str
    groups: int
    within: str | None
    metrics: dict[str, Estimate]
    share: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.name,
            "groups": self.groups,
            "within": self.within,
            "share_of_uncertainty": self.share,
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
        }


def measure_levels(
    predictions: Predictions, asked: Sequence[str], resampling: Resampling
) -> list[Tier]:
    """Intervals at each level of nesting, the coarsest first; none where nothing is nested.

    asked: columns from coarse to fine; without, those of experiment, plate, well, position and
    field that the table has. Levels that divide the examples as the one before are joined to it.
    Raises PredictionError where an asked column is not there or empty.
    """
    levels = nested_levels(predictions, asked)
    if len(levels) < 2:
        return []
    y, p = predictions.class_index, predictions.probabilities
    shown = [name for name in SHOWN if name in predictions.metrics]
    statistic = Stack([METRICS[name].statistic(y, p) for name in shown])
    found: list[tuple[str, int, str | None, dict[str, Estimate]]] = []
    variances = []
    coarser: NDArray[np.intp] | None = None
    within: str | None = None
    for name, index in levels.items():
        first = np.unique(index, return_index=True)[1]
        groups = Nested(index, None if coarser is None else coarser[first])
        behind = np.full(len(shown), len(groups))
        metrics = dict(zip(shown, estimates(statistic, groups, behind, resampling), strict=True))
        found.append((name, len(groups), within, metrics))
        variances.append(_variance(predictions, groups, resampling))
        coarser, within = index, name
    return [
        Tier(*told, share=share)
        for told, share in zip(found, shares_of_uncertainty(variances), strict=True)
    ]


def nested_levels(predictions: Predictions, asked: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """The group (N,) of every example at each level, each within the one before; images last."""
    frame = predictions.frame
    for name in asked:
        if name not in frame or frame[name].isna().all():
            raise PredictionError(
                f"{predictions.path}: no column {name}, asked for as a level; found "
                f"{', '.join(map(str, frame.columns))}"
            )
    columns = list(asked) or [n for n in LEVELS if n in frame and frame[n].notna().any()]
    found: dict[str, NDArray[np.intp]] = {}
    path = pd.Series("", index=frame.index)
    groups = 1
    for column in columns:
        path = path + "\0" + names_of_groups(frame, column).astype(str)
        index = pd.factorize(path)[0].astype(np.intp)
        if index.max() + 1 > groups:
            groups = int(index.max()) + 1
            found[column] = index
        elif found:
            # as finely divided as the level before, so the same one
            last = list(found)[-1]
            found = {(f"{n} = {column}" if n == last else n): i for n, i in found.items()}
    if found and groups < len(frame):
        found[IMAGE] = np.arange(len(frame))
    return found


def shares_of_uncertainty(variances: Sequence[float | None]) -> list[float | None]:
    """What each level adds: its variance less that of the next finer one, as shares of the sum."""
    known = [variance for variance in variances if variance is not None]
    if len(known) < len(variances):
        return [None] * len(variances)
    finer = [*known[1:], 0.0]
    added = [max(here - below, 0.0) for here, below in zip(known, finer, strict=True)]
    total = sum(added)
    return [part / total if total > 0 else None for part in added]


def _variance(predictions: Predictions, groups: Nested, resampling: Resampling) -> float | None:
    """Of the accuracy, as if there were many groups; None where they cannot be drawn."""
    if groups.refusal:
        return None
    statistic = METRICS["accuracy"].statistic(predictions.class_index, predictions.probabilities)
    on, width = on_groups(statistic, groups.index, len(groups))
    freedom = max(groups.effective - groups.strata, 1.0)
    found = bootstrap(on, groups, resampling, width=width)
    return float(found.var() * (freedom + groups.strata) / freedom)

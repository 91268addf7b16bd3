"""What the repeats of a cell answered on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Indices, Resampling, Stack, Statistic, estimates, on_groups
from deadlib.errors import PredictionError
from deadlib.evaluation.measure import explained, groups_behind_metrics
from deadlib.evaluation.table import Predictions, names_of_groups, read_predictions
from deadlib.evaluation.units import Units
from deadlib.metrics import METRICS

Floats = NDArray[np.float64]

TEST_METRICS = ("accuracy", "balanced_accuracy", "roc_auc")


@dataclass(frozen=True)
class Answers:
    """N images, R repeats: class_index (N,), probabilities (R, N, K), groups (N,) names."""

    classes: tuple[str, ...]
    class_index: NDArray[np.intp]
    probabilities: Floats
    groups: NDArray[np.str_]

    def each(self, metric: str) -> Floats:
        """The metric of each repeat (R,); NaN where it is not defined."""
        of = METRICS[metric].function
        return np.array([of(self.class_index, repeat) for repeat in self.probabilities])

    def measured(self, resampling: Resampling) -> dict[str, Estimate]:
        """The mean over repeats of each metric, with an interval over groups.

        A resample draws groups, and takes the images of a group with all that the repeats answered:
        the interval is over other samples, not over other seeds.
        """
        y = self.class_index
        _, group_index = np.unique(self.groups, return_inverse=True)
        units = Units(y, self.probabilities[0], group_index.astype(np.intp))
        behind = groups_behind_metrics(units)

        repeats = [
            Stack([METRICS[name].statistic(y, p) for name in TEST_METRICS])
            for p in self.probabilities
        ]
        found = estimates(
            Mean(repeats),
            units.group_index,
            np.array([behind[name] for name in TEST_METRICS], np.intp),
            resampling,
        )
        return {
            name: explained(name, estimate, y)
            for name, estimate in zip(TEST_METRICS, found, strict=True)
        }


@dataclass(frozen=True)
class Mean:
    """The mean figures of several statistics of the same examples; NaN where one of them is."""

    parts: Sequence[Statistic]

    def __call__(self, weights: Floats) -> Floats:
        return np.asarray(np.mean([part(weights) for part in self.parts], axis=0))

    def on_groups(self, index: Indices, groups: int) -> tuple[Statistic, int]:
        found = [on_groups(part, index, groups) for part in self.parts]
        return Mean([part for part, _ in found]), max(width for _, width in found)


def read_answers(tables: Sequence[Path], group_by: str | None) -> Answers:
    """The answers of repeats, whose tables hold the same test images in any order.

    Raises PredictionError where a table cannot be read, or they do not match.
    """
    read = [_by_example(read_predictions(path, group_by=group_by)) for path in tables]
    first = read[0]
    for other in read[1:]:
        if not first.frame["example_id"].equals(other.frame["example_id"]):
            raise PredictionError(
                f"{other.path}: not the test images of {first.path}, so the two are no repeats; "
                "train them again with --overwrite"
            )
    column = first.group_column
    names = first.frame["example_id"] if column is None else names_of_groups(first.frame, column)
    alone = "alone: " + first.frame["example_id"]
    return Answers(
        classes=first.classes,
        class_index=first.class_index,
        probabilities=np.stack([table.probabilities for table in read]),
        groups=names.where(names.notna(), alone).to_numpy(str),
    )


def pooled(parts: Sequence[Answers]) -> Answers | None:
    """The images of several cells as one test; None where they cannot be one.

    That is so where classes or the number of repeats differ.
    """
    first = parts[0]
    if any(
        part.classes != first.classes or len(part.probabilities) != len(first.probabilities)
        for part in parts
    ):
        return None
    return Answers(
        classes=first.classes,
        class_index=np.concatenate([part.class_index for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts], axis=1),
        groups=np.concatenate([part.groups for part in parts]),
    )


def _by_example(table: Predictions) -> Predictions:
    """The table with its rows in the order of their names."""
    if "example_id" not in table.frame:
        raise PredictionError(f"{table.path}: no column example_id; predict again")
    order = np.argsort(table.frame["example_id"].to_numpy(str), kind="stable")
    return Predictions(
        path=table.path,
        frame=pd.DataFrame(table.frame.iloc[order].reset_index(drop=True)),
        classes=table.classes,
        class_index=table.class_index[order],
        probabilities=table.probabilities[order],
        group_column=table.group_column,
        group_index=table.group_index[order],
        split=table.split,
        unlabelled=table.unlabelled,
        other_splits=table.other_splits,
        metadata=table.metadata,
        warnings=table.warnings,
    )

"""Plate by plate, in fields and in wells: what a screen is judged by.

A well is one treatment and its fields are looks at the same cells, so an accuracy over fields
counts one well many times. Every figure stands here for single fields and for wells, whose fields
vote or are averaged, with intervals over wells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.aggregation import class_priority, places, pooled, well_columns
from deadlib.bootstrap import Estimate, Nested, Resampling, Stack, Sums, estimates
from deadlib.evaluation.measure import class_counts, explained, groups_behind_metrics
from deadlib.evaluation.parts import in_natural_order
from deadlib.evaluation.table import Predictions, names_of_groups
from deadlib.evaluation.units import Units
from deadlib.metrics import METRICS, class_scores, confusion

FIELDS, VOTE, MEAN, WELLS = "single fields", "wells by vote", "wells by mean", "wells"
SHOWN = ("accuracy", "macro_f1")
# a plate is called worse from this difference on, if chance does not explain it
NOTICEABLE = 0.05
CHANCE = 0.05


@dataclass(frozen=True)
class Counted:
    """The answers of one plate, counted in one way: n fields or wells.

    metrics: accuracy and macro_f1; f1: class -> F1, None where the class does not occur; counts K x
    K: rows true, columns called.
    """

    units: int
    metrics: dict[str, Estimate]
    f1: dict[str, float | None]
    counts: list[list[int]]
    class_counts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.units,
            "class_counts": self.class_counts,
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
            "f1": self.f1,
            "confusion": self.counts,
        }


@dataclass(frozen=True)
class Plate:
    """One plate, or all together (name None).

    ways: how it is counted -> the figures; tied: wells whose vote is a tie, None where nothing
    tells; behind: accuracy of its wells less that of all others, None for all together or where
    there is but one plate; the interval is the wider for every plate that is compared.
    """

    name: str | None
    wells: int
    tied: int | None
    ways: dict[str, Counted]
    behind: Estimate | None = None

    @property
    def is_worse(self) -> bool:
        found = self.behind
        if found is None or found.value is None or found.high is None:
            return False
        return found.value <= -NOTICEABLE and found.high < 0

    def to_json(self) -> dict[str, Any]:
        return {
            "plate": self.name,
            "wells": self.wells,
            "tied": self.tied,
            "counted": {way: found.to_json() for way, found in self.ways.items()},
            "less_than_others": self.behind.to_json() if self.behind else None,
        }


@dataclass(frozen=True)
class Wells:
    """All plates together, and each of them.

    fewest, most: fields of a well; ties: the order of classes that decides a tied vote, empty for
    the mean probability; mixed: wells left out, as their fields have several labels; without_place:
    rows left out.
    """

    together: Plate
    plates: Sequence[Plate]
    fewest: int
    most: int
    ties: tuple[str, ...]
    calls_only: bool
    mixed: int
    without_place: int

    @property
    def best_way(self) -> str:
        """By which plates are compared."""
        return next(way for way in (MEAN, VOTE, WELLS) if way in self.together.ways)

    @property
    def worse(self) -> list[Plate]:
        return [plate for plate in self.plates if plate.is_worse]

    def to_json(self) -> dict[str, Any]:
        return {
            "fewest_fields": self.fewest,
            "most_fields": self.most,
            "ties": list(self.ties) or ("order of classes" if self.calls_only else "mean"),
            "left_out": {"wells_of_several_labels": self.mixed, "rows": self.without_place},
            "together": self.together.to_json(),
            "plates": [plate.to_json() for plate in self.plates],
        }


@dataclass(frozen=True)
class _Answers:
    """M fields or wells: true and called class (M,), the well and the plate (M,) of each."""

    class_index: NDArray[np.intp]
    called: NDArray[np.intp]
    well: NDArray[np.intp]
    plate: NDArray[np.intp]

    def of(self, plate: int) -> _Answers:
        chosen = self.plate == plate
        well = np.unique(self.well[chosen], return_inverse=True)[1]
        return _Answers(self.class_index[chosen], self.called[chosen], well, self.plate[chosen])


def measure_wells(
    predictions: Predictions, ties: Sequence[str], resampling: Resampling
) -> Wells | None:
    """The figures of fields and wells by plate; None where the table does not name two wells.

    ties: all classes, the first wins a tied vote; empty: the tied class of the highest mean
    probability. Raises PredictionError where a name is no class.
    """
    priority = class_priority(ties, predictions.classes)
    found = _placed(predictions)
    if found is None:
        return None
    rows, well, mixed = found
    frame, y = predictions.frame.iloc[rows], predictions.class_index[rows]
    probabilities = predictions.probabilities[rows]
    first = np.unique(well, return_index=True)[1]
    names, plate = _plates(frame)
    sizes = np.bincount(well)
    votes = pooled(well, probabilities, how="vote", priority=priority)
    wells = np.arange(len(first))

    def of_wells(called: NDArray[np.intp]) -> _Answers:
        return _Answers(y[first], called, wells, plate[first])

    ways = {}
    tied: NDArray[np.bool_] | None = votes.tied  # None where nothing tells
    if sizes.max() == 1:
        ways[WELLS] = of_wells(votes.predicted_index)
        told = frame.get("tied")
        tied = None if told is None or told.dtype != bool else told.to_numpy()[first]
    else:
        ways[FIELDS] = _Answers(y, probabilities.argmax(axis=1), well, plate)
        ways[VOTE] = of_wells(votes.predicted_index)
        if not predictions.calls_only:
            ways[MEAN] = of_wells(pooled(well, probabilities).predicted_index)
    classes = predictions.classes
    behind = _behind(list(ways.values())[-1], len(names), resampling)
    return Wells(
        together=Plate(
            None,
            len(wells),
            None if tied is None else int(tied.sum()),
            {way: _counted(one, classes, resampling) for way, one in ways.items()},
        ),
        plates=[
            Plate(
                name,
                int((plate[first] == p).sum()),
                None if tied is None else int(tied[plate[first] == p].sum()),
                {way: _counted(one.of(p), classes, resampling) for way, one in ways.items()},
                behind[p],
            )
            for p, name in enumerate(names)
        ],
        fewest=int(sizes.min()),
        most=int(sizes.max()),
        ties=tuple(ties),
        calls_only=predictions.calls_only,
        mixed=mixed,
        without_place=len(predictions.frame) - len(rows),
    )


def _placed(
    predictions: Predictions,
) -> tuple[NDArray[np.intp], NDArray[np.intp], int] | None:
    """The rows that lie in wells of one label, the well (M,) of each, and how many wells have
    several; None where fewer than two are left, or most have several (cells or times are judged,
    not wells).
    """
    frame = predictions.frame
    if not well_columns(frame):
        return None
    names = places(Path(predictions.path), frame)
    labels = pd.Series(predictions.class_index, index=frame.index).groupby(names).nunique()
    several = set(labels.index[labels > 1])
    if 2 * len(several) > len(labels) or len(labels) - len(several) < 2:
        return None
    rows = np.flatnonzero(names.notna() & ~names.isin(several))
    return rows, pd.factorize(names.iloc[rows])[0].astype(np.intp), len(several)


def _plates(frame: pd.DataFrame) -> tuple[list[str], NDArray[np.intp]]:
    """The names of the plates in natural order, none where the table names none, and whose each
    row is."""
    if "plate" not in frame or frame["plate"].isna().all():
        return [], np.zeros(len(frame), np.intp)
    names = names_of_groups(frame, "plate")
    order = in_natural_order(names.unique())
    return order, pd.Index(order).get_indexer(pd.Index(names)).astype(np.intp)


def _counted(answers: _Answers, classes: Sequence[str], resampling: Resampling) -> Counted:
    y, called = answers.class_index, np.eye(len(classes))[answers.called]
    first = np.unique(answers.well, return_index=True)[1]
    # other wells of the same plates
    wells = Nested(answers.well, answers.plate[first])
    behind = groups_behind_metrics(Units(y, called, answers.well))
    found = estimates(
        Stack([METRICS[name].statistic(y, called) for name in SHOWN]),
        wells,
        np.array([behind[name] for name in SHOWN]),
        resampling,
    )
    counts = confusion(y, called, np.ones((1, len(y))))
    f1 = class_scores(counts)["f1"][0]
    return Counted(
        units=len(y),
        metrics={n: explained(n, e, y) for n, e in zip(SHOWN, found, strict=True)},
        f1={
            name: float(value) if np.isfinite(value) else None
            for name, value in zip(classes, f1, strict=True)
        },
        counts=counts[0].astype(int).tolist(),
        class_counts=class_counts(y, classes),
    )


def _behind(answers: _Answers, plates: int, resampling: Resampling) -> list[Estimate | None]:
    """Of each plate, the accuracy of its wells less that of all others (Bonferroni: the tails are
    shared among the plates)."""
    if plates < 2:
        return [None] * plates
    right = (answers.called == answers.class_index).astype(float)
    at = np.eye(plates)[answers.plate]
    columns = np.hstack([at * right[:, None], at])

    def finish(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        hits, wells = sums[:, :plates], sums[:, plates:]
        others = wells.sum(axis=1, keepdims=True) - wells
        missed = hits.sum(axis=1, keepdims=True) - hits
        with np.errstate(invalid="ignore", divide="ignore"):
            return hits / wells - missed / others

    shared = Resampling(resampling.resamples, resampling.seed, 1 - CHANCE / plates)
    nested = Nested(answers.well, answers.plate)
    found = estimates(Sums(columns, finish), nested, np.zeros(plates, np.intp), shared)
    return list(found)

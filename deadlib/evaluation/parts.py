"""The figures apart for each plate, experiment, cell line: whatever columns the table has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deadlib.bootstrap import Estimate, Resampling, Stack, estimates
from deadlib.evaluation.measure import class_counts, explained, groups_behind_metrics
from deadlib.evaluation.table import names_of_groups
from deadlib.evaluation.units import Units
from deadlib.metrics import METRICS, measurable
from tfrecords_tools.split import LEVELS
from tfrecords_tools.table import BOX_COLUMNS, PROBABILITY

MOST_VALUES = 60
PART_METRICS = ("accuracy", "balanced_accuracy", "roc_auc")
# where an example lies in files and images, which is no property of the sample
STRUCTURE = (
    frozenset({"example_id", "source_id", "source_paths", "shard", "index"})
    | {"image_sha256", "image_crc32c"}
    | frozenset({"top_px", "left_px", "height_px", "width_px", "tile_row", "tile_column"})
    | frozenset({"prediction_set", "out_of_distribution", "softmax_temperature"})
    | frozenset({"label", "predicted", "split", "embedding", *BOX_COLUMNS})
)


@dataclass(frozen=True)
class Part:
    """The figures of the examples that share one value of a column."""

    value: str
    units: int
    groups: int
    class_counts: dict[str, int]
    metrics: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "n": self.units,
            "groups": self.groups,
            "class_counts": self.class_counts,
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
        }


def sample_columns(frame: pd.DataFrame) -> dict[str, pd.Categorical]:
    """Columns that say something of the sample: 2 to 60 values, in natural order, null left out.

    A column that divides the examples just as an earlier one does joins its name:
    `experiment = plate`.
    """
    found: dict[str, pd.Categorical] = {}
    names: dict[bytes, str] = {}
    for column in map(str, frame.columns):
        if column in STRUCTURE or column.startswith(PROBABILITY):
            continue
        values = _told_apart(frame, column)
        if not 2 <= len(values.categories) <= MOST_VALUES:
            continue
        division = pd.factorize(values.codes)[0].tobytes()
        earlier = names.get(division)
        names[division] = f"{earlier} = {column}" if earlier else column
        found[names[division]] = found.pop(earlier) if earlier else values
    return found


def measure_parts(
    units: Units, values: pd.Categorical, classes: Sequence[str], resampling: Resampling
) -> list[Part]:
    """The figures of each value of a column, with intervals over the groups that have it."""
    codes = np.asarray(values.codes)
    return [
        _part(str(value), units.where(codes == code), classes, resampling)
        for code, value in enumerate(values.categories)
    ]


def part_metrics(calls_only: bool) -> list[str]:
    """What is measured on each value of a column."""
    return [name for name in PART_METRICS if name in measurable(calls_only)]


def _part(value: str, units: Units, classes: Sequence[str], resampling: Resampling) -> Part:
    y, p = units.class_index, units.probabilities

    names = part_metrics(units.calls_only)
    statistic = Stack([METRICS[name].statistic(y, p) for name in names])
    behind = groups_behind_metrics(units)
    found = estimates(
        statistic, units.group_index, np.array([behind[name] for name in names]), resampling
    )
    return Part(
        value=value,
        units=len(units),
        groups=units.groups,
        class_counts=class_counts(y, classes),
        metrics={
            name: explained(name, estimate, y) for name, estimate in zip(names, found, strict=True)
        },
    )


def _told_apart(frame: pd.DataFrame, column: str) -> pd.Categorical:
    """Distinct values, with the plate before the well where wells of two plates share a name."""
    plain = _values(frame[column])
    if column not in LEVELS:
        return plain
    full = _values(names_of_groups(frame, column))
    return full if len(full.categories) > len(plain.categories) else plain


def _values(column: pd.Series) -> pd.Categorical:
    """Distinct values as text, numbers in numeric order; a column of lists has none."""
    try:
        distinct = in_natural_order(column.dropna().unique())
    except TypeError:
        return pd.Categorical([])
    codes = pd.Categorical(column, categories=distinct).codes
    names = pd.Index([as_text(value) for value in distinct], dtype=object)
    return pd.Categorical.from_codes(codes, names)


def in_natural_order(values: Iterable[Any]) -> list[Any]:
    """Plate 2 before plate 10, and 2 before 10."""
    return sorted(values, key=_natural)


def _natural(value: Any) -> Any:
    """A sort key that puts plate 2 before plate 10."""
    if not isinstance(value, str):
        return value
    pieces = re.split(r"(\d+)", value)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def as_text(value: Any) -> str:
    """A value as a person writes it: 6, not 6.0."""
    is_float = isinstance(value, float | np.floating)
    return np.format_float_positional(value, trim="-") if is_float else str(value)

"""Label rules applied to a table of images: who gets which label, and who is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_tools.errors import PlanError
from tfrecords_tools.rules import Condition, columns_of, parse_rule
from tfrecords_tools.sources import Row
from tfrecords_tools.split import check_column
from tfrecords_tools.table import ROW_NUMBER

_NO_COLUMNS = frozenset({"source_id", "source_paths", "label", ROW_NUMBER})


def check_columns(conditions: Sequence[Condition], rows: Sequence[Row], where: str) -> None:
    """Raise PlanError, with the nearest one, where a condition names a column that no row has."""
    there = [
        name for name in dict.fromkeys(n for row in rows for n in row) if name not in _NO_COLUMNS
    ]
    for condition in conditions:
        check_column(condition.column, there or ["none"], f"{where}, column")


def ruled(
    rows: Sequence[Row], rules: Sequence[str], *, required: bool, warnings: list[str]
) -> tuple[list[Row], str]:
    """The rows with the label of the first rule that holds, and words that count them.

    Rows that meet no rule are left out; where labels are not `required`, as in prediction, they
    stay without a label, and so do all where the columns of the rules are not there. A rule that
    gives no label is a warning. Raises PlanError for a column that does not occur.
    """
    parsed = [parse_rule(rule) for rule in rules]
    if required:
        for rule in parsed:
            check_columns(rule.conditions, rows, f"label rule '{rule}'")
    given: Counter[int] = Counter()
    labelled = []
    for row in rows:
        place = next((place for place, rule in enumerate(parsed) if rule.holds(row)), None)
        if place is not None:
            given[place] += 1
            labelled.append(row | {"label": parsed[place].label})
        elif not required:
            labelled.append(row | {"label": None})
    never = [str(rule) for place, rule in enumerate(parsed) if not given[place]]
    if required:
        warnings += [f"label rule '{text}' gives no image its label" for text in never]
    if required and not labelled:
        raise PlanError(
            f"no image meets a label rule ({'; '.join(never)}); the first image has "
            f"{_described(rows[0], columns_of(rules)) if rows else 'nothing'}"
        )
    counts: Counter[str] = Counter()
    for place, count in given.items():
        counts[parsed[place].label] += count
    return labelled, _counted(counts, len(rows))


def _counted(counts: Counter[str], images: int) -> str:
    words = ", ".join(f"{counts[label]} {label}" for label in sorted(counts)) or "none"
    rest = images - counts.total()
    return f"label rules: {words}; {rest} of {images} images meet no rule"


def _described(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {'absent' if row.get(name) is None else row[name]}" for name in columns
    )

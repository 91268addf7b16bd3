"""The table of a study: one row per cell, and one for cells that are parts of one test."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadlib.bootstrap import Estimate, Resampling, limits
from deadlib.study.answers import TEST_METRICS, Answers, pooled
from deadlib.study.cells import Cell
from deadlib.study.definition import Study
from deadlib.study.training import OF_HISTORY

TITLES = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
    "accuracy": "test accuracy",
    "balanced_accuracy": "test balanced accuracy",
    "roc_auc": "test ROC AUC",
}
"""The figures of a row, in the order of the table."""
BEST = "accuracy"
TOGETHER = "all together"


@dataclass(frozen=True)
class Spread:
    """A figure over repeats: values of each, in order; None where one has it not."""

    values: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None and math.isfinite(value)]

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.known)) if self.known else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over repeats (n - 1); None for fewer than two."""
        return float(np.std(self.known, ddof=1)) if len(self.known) > 1 else None

    @property
    def best(self) -> float | None:
        return max(self.known, default=None)

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "repeats": [v if v is not None and math.isfinite(v) else None for v in self.values],
        }


@dataclass(frozen=True)
class Row:
    """One row: what it is, and its figures over repeats.

    places: by axis; tests: the mean over repeats of each test metric with its interval over groups;
    pools: the names of the cells whose tests it joins; failed: what went wrong, by training.
    """

    name: str
    places: Mapping[str, str]
    repeats: int
    images: int
    groups: int
    spreads: Mapping[str, Spread]
    tests: Mapping[str, Estimate]
    pools: tuple[str, ...] = ()
    failed: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": self.name,
            "places": dict(self.places),
            "repeats": self.repeats,
            "images": self.images,
            "groups": self.groups,
            "figures": {name: spread.to_json() for name, spread in self.spreads.items()},
        }
        for name, estimate in self.tests.items():
            told = estimate.to_json()
            told.pop("value")
            found["figures"][name]["interval"] = told
        if "accuracy" in self.spreads:
            found["best_test_accuracy"] = self.spreads[BEST].best
        if self.pools:
            found["pools"] = list(self.pools)
        if self.failed:
            found["failed"] = dict(self.failed)
        return found


@dataclass(frozen=True)
class Done:
    """What is known of a cell: the figures of its finished trainings, and their answers."""

    cell: Cell
    figures: Sequence[Mapping[str, float | None]]
    answers: Answers | None
    failed: Mapping[str, str]


def rows_of(study: Study, cells: Sequence[Done], resampling: Resampling) -> list[Row]:
    """A row for each cell; below, one for each set of cells whose tests are parts of one."""
    rows = [_row(done, resampling) for done in cells]
    return rows + _pooled_rows(study, cells, resampling)


def _row(done: Done, resampling: Resampling) -> Row:
    spreads = {
        name: Spread(tuple(figures.get(name) for figures in done.figures)) for name in OF_HISTORY
    }
    return _with_answers(
        done.answers, resampling, spreads, done.cell.name, done.cell.places, failed=done.failed
    )


def _with_answers(
    answers: Answers | None,
    resampling: Resampling,
    spreads: dict[str, Spread],
    name: str,
    places: Mapping[str, str],
    pools: tuple[str, ...] = (),
    failed: Mapping[str, str] | None = None,
) -> Row:
    if answers is None:
        return Row(name, places, 0, 0, 0, {}, {}, pools, failed)
    each = {metric: answers.each(metric).tolist() for metric in TEST_METRICS}
    return Row(
        name=name,
        places=places,
        repeats=len(answers.probabilities),
        images=len(answers.class_index),
        groups=len(np.unique(answers.groups)),
        spreads=spreads | {metric: Spread(tuple(values)) for metric, values in each.items()},
        tests=answers.measured(resampling),
        pools=pools,
        failed=failed,
    )


def _pooled_rows(study: Study, cells: Sequence[Done], resampling: Resampling) -> list[Row]:
    """Folds, and values left out in turn, test each image once: together they are one test."""
    apart = [axis.title for axis in study.axes if axis.tests_apart]
    others = [axis.title for axis in study.axes if not axis.tests_apart]
    if len(apart) != 1:
        return []
    families: dict[tuple[str, ...], list[Done]] = {}
    for done in cells:
        families.setdefault(tuple(done.cell.places[title] for title in others), []).append(done)
    found = []
    for places, parts in families.items():
        answers = [part.answers for part in parts if part.answers is not None]
        together = pooled(answers) if len(answers) == len(parts) > 1 else None
        if together is None:
            continue
        told = {apart[0]: TOGETHER} | dict(zip(others, places, strict=True))
        found.append(
            _with_answers(
                together,
                resampling,
                {},
                ", ".join(told[axis.title] for axis in study.axes),
                told,
                pools=tuple(part.cell.name for part in parts),
            )
        )
    return found


def csv_text(axes: Sequence[str], rows: Sequence[Row]) -> str:
    """One line per row; every figure with mean, deviation over repeats and interval over groups."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [*(axes or ["cell"]), "repeats", "images", "groups"]
    for name in TITLES:
        heads += [_plain(name), f"{_plain(name)}_deviation"]
        heads += [f"{_plain(name)}_low", f"{_plain(name)}_high"] if name in TEST_METRICS else []
    writer.writerow([*heads, "best_test_accuracy", "failed"])
    for row in rows:
        values: list[Any] = [row.places[axis] for axis in axes] or [row.name]
        values += [row.repeats, row.images, row.groups]
        for name in TITLES:
            spread = row.spreads.get(name)
            values += [spread.mean, spread.deviation] if spread else [None, None]
            if name in TEST_METRICS:
                test = row.tests.get(name)
                values += [test.low, test.high] if test else [None, None]
        best = row.spreads[BEST].best if BEST in row.spreads else None
        failed = "; ".join(f"{name}: {why}" for name, why in (row.failed or {}).items())
        writer.writerow([*("" if v is None else v for v in [*values, best]), failed])
    return text.getvalue()


def latex_text(title: str, axes: Sequence[str], rows: Sequence[Row]) -> str:
    """The table for a paper, in the package booktabs."""
    heads = [*(axes or ["cell"]), *TITLES.values()]
    lines = [
        f"% {title}: mean over repeats, ± standard deviation, [95 % interval over groups]",
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{'l' * max(1, len(axes))}{'r' * len(TITLES)}}}",
        r"\toprule",
        " & ".join(_escaped(head) for head in heads) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        if row.pools and not any(before.pools for before in rows[: rows.index(row)]):
            lines.append(r"\midrule")
        names = [row.places[axis] for axis in axes] or [row.name]
        cells = [_escaped(name) for name in names]
        if row.repeats:
            cells += [_latex_figure(row, name) for name in TITLES]
        else:
            cells += [rf"\multicolumn{{{len(TITLES)}}}{{l}}{{failed}}"]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def shown(spread: Spread | None) -> str:
    """0.972 ± 0.002, or a dash."""
    if spread is None or spread.mean is None:
        return "–"
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.3f}"
    return f"{spread.mean:.3f}{deviation}"


def interval(row: Row, name: str) -> str:
    """0.968 – 0.976, or why there is none."""
    estimate = row.tests.get(name)
    if estimate is None:
        return ""
    return limits(estimate) or (estimate.reason or "")


def _latex_figure(row: Row, name: str) -> str:
    spread, estimate = row.spreads.get(name), row.tests.get(name)
    if spread is None or spread.mean is None:
        return "--"
    found = f"{spread.mean:.3f}"
    if spread.deviation is not None:
        found += rf" $\pm$ {spread.deviation:.3f}"
    if estimate is not None and estimate.low is not None and estimate.high is not None:
        found += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return found


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _plain(name: str) -> str:
    return f"test_{name}" if name in TEST_METRICS else name

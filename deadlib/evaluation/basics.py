"""Sections that show what `assess` measured: the figures of merit, as figures and as tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deadlib.bootstrap import Estimate
from deadlib.evaluation import figures
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.measure import CLASS_SCORES, Level
from deadlib.evaluation.parts import part_metrics
from deadlib.evaluation.table import FEWEST_GROUPS
from deadlib.evaluation.virtual import RESAMPLES
from deadlib.evaluation.words import on_ceiling, on_virtual_batches
from deadlib.pages import Section, fragment
from deadlib.pages.drawing import COLOURS, Drawing

MOST_CONFUSIONS = 12


@dataclass(frozen=True)
class Confusion:
    """How many images of one class are called another, and their share of the class."""

    truly: str
    called: str
    images: int
    share: Estimate


def confusion(evaluation: Evaluation) -> Section:
    table, groups = evaluation.predictions, evaluation.by_group
    drawings = [
        figures.confusion_matrix("confusion", evaluation.by_example, table.classes, "images")
    ]
    if groups:
        noun = f"{table.group_column} means"
        drawings.append(figures.confusion_matrix("confusion_groups", groups, table.classes, noun))
    return _section(
        "confusion",
        "Which class for which",
        evaluation,
        drawings,
        wide=len(table.classes) > figures.DETAILED,
        commonest=_commonest_confusions(evaluation.by_example, table.classes),
    )


def _commonest_confusions(level: Level, classes: Sequence[str]) -> list[Confusion]:
    """Wrong answers, the largest share of its class first."""
    found = [
        Confusion(truly, called, level.counts[r][c], level.shares[r][c])
        for r, truly in enumerate(classes)
        for c, called in enumerate(classes)
        if r != c and level.counts[r][c]
    ]
    return sorted(found, key=lambda one: -(one.share.value or 0.0))[:MOST_CONFUSIONS]


def by_column(evaluation: Evaluation) -> Section:
    names = figure_names(evaluation.by_column)
    drawings = []
    for column, parts in evaluation.by_column.items():
        both = any(part.metrics["balanced_accuracy"].value is not None for part in parts)
        metric = "balanced_accuracy" if both else "accuracy"
        drawings.append(figures.by_column(names[column], column, parts, metric))
    return _section(
        "by_column",
        "Plates, experiments, cell lines",
        evaluation,
        drawings,
        part_metrics=part_metrics(evaluation.predictions.calls_only),
        figure_names=names,
        fewest_groups=FEWEST_GROUPS,
    )


def probabilities(evaluation: Evaluation) -> Section | None:
    table = evaluation.predictions
    if table.calls_only:
        return None
    drawings = [
        figures.reliability(evaluation.by_example, len(table.classes)),
        figures.probabilities(table.class_index, table.probabilities, table.classes),
    ]
    return _section("probabilities", "Can the probabilities be believed?", evaluation, drawings)


def ranking(evaluation: Evaluation) -> Section | None:
    examples = evaluation.by_example
    if not examples.curves:
        return None
    drawings = [figures.roc(examples), figures.precision_recall(examples)]
    return _section(
        "ranking",
        "Ranking",
        evaluation,
        drawings,
        worst=figures.WORST_CURVES,
        many=len(examples.curves) > len(COLOURS),
    )


def annotators(evaluation: Evaluation) -> Section | None:
    found = evaluation.annotators
    if found is None:
        return None
    return _section(
        "annotators",
        "What the annotators' labels allow",
        evaluation,
        numbers=found.to_json(),
        words=on_ceiling(evaluation.by_example, found),
    )


def virtual_batches(evaluation: Evaluation) -> Section | None:
    found, table, examples = evaluation.virtual, evaluation.predictions, evaluation.by_example
    if found is None:
        return None
    balanced = examples.metrics["balanced_accuracy"]
    return _section(
        "virtual_batches",
        "Balanced virtual batches",
        evaluation,
        virtual=found,
        numbers=found.to_json(balanced, examples.groups, table.group_column or "row"),
        words=on_virtual_batches(table, examples, found, evaluation.resampling),
        resamples=RESAMPLES,
    )


def metrics(evaluation: Evaluation) -> Section:
    return _section("metrics", "Every metric", evaluation, class_scores=CLASS_SCORES)


def learning(evaluation: Evaluation) -> Section:
    metadata = evaluation.predictions.metadata
    told = metadata.get("history")
    history = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    drawings, begins = [], None
    if figures.has_learning_curves(history):
        drawings.append(figures.learning_curves(history, metadata.get("kept_epoch")))
        begins = figures.over_fitting_epoch(history)
    return _section(
        "learning",
        "Learning curves",
        evaluation,
        drawings,
        {"over_fitting_from_epoch": begins},
        over_fitting_from=begins,
    )


def method(evaluation: Evaluation) -> Section:
    return _section("method", "How the intervals are made", evaluation)


def figure_names(columns: Iterable[str]) -> dict[str, str]:
    """A file name for the figure of each column, whatever their names hold; no two alike."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for column in columns:
        plain = name = "by_" + re.sub(r"\W+", "_", column).strip("_")
        while name.lower() in taken:
            name = f"{plain}_{len(taken) + 1}"
        taken.add(name.lower())
        found[column] = name
    return found


def _section(
    key: str,
    title: str,
    evaluation: Evaluation,
    drawings: Sequence[Drawing] = (),
    numbers: Any = None,
    **values: Any,
) -> Section:
    """A section whose page is the template of its key."""
    html = fragment(
        "deadlib.evaluation",
        f"{key}.html",
        drawings,
        evaluation=evaluation,
        table=evaluation.predictions,
        level=evaluation.by_example,
        groups=evaluation.by_group,
        percent=f"{100 * evaluation.resampling.level:g}",
        unit=evaluation.predictions.group_column or "row",
        metrics=evaluation.predictions.metrics,
        **values,
    )
    return Section(key, title, html, numbers, tuple(drawings))

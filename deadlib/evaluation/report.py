"""An evaluation written down: metrics.json, figures, and one page that opens offline."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from deadlib.evaluation import figures
from deadlib.evaluation.assess import Evaluation, Progress, assess, ticker, versions
from deadlib.evaluation.gallery import (
    Answer,
    Pictures,
    answer,
    find_pictures,
    least_certain,
    worst_errors,
)
from deadlib.evaluation.measure import CLASS_SCORES
from deadlib.evaluation.parts import PART_METRICS
from deadlib.evaluation.table import FEWEST_GROUPS
from deadlib.evaluation.virtual import PER_CLASS, RESAMPLES
from deadlib.evaluation.words import on_ceiling, on_virtual_batches, summary
from deadlib.metrics import METRICS
from deadlib.pages import FIGURES, render, write, write_figures
from deadlib.pages.drawing import Drawing

REPORT = "report.html"
METRICS_FILE = "metrics.json"


def evaluate(
    predictions: str | Path,
    out: str | Path,
    *,
    group_by: str | None = None,
    split: str | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    virtual_batches: int | None = None,
    per_class: int = PER_CLASS,
    annotations: str | Path | None = None,
    dataset: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write metrics.json, figures/ and report.html on a prediction table into `out`.

    predictions: Parquet or CSV with `label` and one `probability_<class>` per class; all that
    deadlib-predict adds is used, and its absence is said. group_by: the column whose values are
    independent of each other, by default `group`, else `source_id`, else every row alone. split:
    by default `test` where the table holds several. bootstrap: resamples for each interval.
    virtual_batches: how many, of `per_class` images of each class, the accuracy is also measured
    over; None for none. annotations: the log of responses that the labels were made from, whose
    disagreement tells how good a model can be. dataset: where pictures come from, by default the
    dataset that the table names.

    Returns the path of report.html. Raises PredictionError where the table cannot be evaluated,
    WriteError where the disk refuses.
    """
    found = assess(
        predictions,
        group_by=group_by,
        split=split,
        bootstrap=bootstrap,
        seed=seed,
        virtual_batches=virtual_batches,
        per_class=per_class,
        annotations=annotations,
        progress=progress,
    )
    return write_report(found, out, dataset=dataset, progress=progress)


def write_report(
    evaluation: Evaluation,
    out: str | Path,
    *,
    dataset: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write what `evaluate` writes; the page last."""
    out, table = Path(out), evaluation.predictions
    pictures = find_pictures(table, None if dataset is None else Path(dataset))
    worst, uncertain = worst_errors(table), least_certain(table)
    tick = ticker(progress, "pictures", len(worst) + len(uncertain))

    def shown(rows: NDArray[np.intp]) -> list[Answer]:
        found = []
        for row in rows:
            found.append(answer(table, int(row), pictures))
            tick(1)
        return found

    galleries = {"worst": shown(worst), "uncertain": shown(uncertain)}
    drawings = {drawing.name: drawing for drawing in draw(evaluation)}
    numbers = evaluation.to_json()
    numbers["worst_errors"] = [one.to_json() for one in galleries["worst"]]
    numbers["figures"] = list(drawings)
    page = _page(evaluation, drawings, galleries, pictures, _command(evaluation, out))
    _remove_earlier_figures(out)
    write_figures(out, drawings.values())
    write(out / METRICS_FILE, json.dumps(numbers, indent=1, allow_nan=False).encode())
    write(out / REPORT, page.encode())
    return out / REPORT


def draw(evaluation: Evaluation) -> list[Drawing]:
    """Every figure for which there are numbers."""
    table, examples, groups = evaluation.predictions, evaluation.by_example, evaluation.by_group
    found = [figures.confusion_matrix("confusion", examples, table.classes, "images")]
    if groups:
        noun = f"{table.group_column} means"
        found.append(figures.confusion_matrix("confusion_groups", groups, table.classes, noun))
    if examples.curves:
        found += [figures.roc(examples), figures.precision_recall(examples)]
    found.append(figures.reliability(examples, len(table.classes)))
    found.append(figures.probabilities(table.class_index, table.probabilities, table.classes))
    names = figure_names(evaluation.by_column)
    for column, parts in evaluation.by_column.items():
        both = any(part.metrics["balanced_accuracy"].value is not None for part in parts)
        metric = "balanced_accuracy" if both else "accuracy"
        found.append(figures.by_column(names[column], column, parts, metric))
    history = _history(table.metadata)
    if figures.has_learning_curves(history):
        found.append(figures.learning_curves(history, table.metadata.get("kept_epoch")))
    return found


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


def _page(
    evaluation: Evaluation,
    drawings: Mapping[str, Drawing],
    galleries: Mapping[str, Sequence[Answer]],
    pictures: Pictures,
    command: str,
) -> str:
    table, metadata = evaluation.predictions, evaluation.predictions.metadata
    return render(
        "deadlib.evaluation",
        REPORT,
        drawings.values(),
        evaluation=evaluation,
        table=table,
        metadata=metadata,
        words=summary(table, evaluation.by_example, evaluation.by_group, evaluation.resampling),
        virtual_words=on_virtual_batches(
            table, evaluation.by_example, evaluation.virtual, evaluation.resampling
        ),
        virtual_resamples=RESAMPLES,
        ceiling_words=on_ceiling(evaluation.by_example, evaluation.annotators),
        metrics=METRICS,
        part_metrics=PART_METRICS,
        class_scores=CLASS_SCORES,
        figure_names=figure_names(evaluation.by_column),
        fewest_groups=FEWEST_GROUPS,
        galleries=galleries,
        pictures=pictures,
        commands=_commands(metadata, command),
        recipe=yaml.safe_dump(metadata["recipe"], sort_keys=False) if "recipe" in metadata else "",
        same_dataset=metadata.get("fingerprint") == metadata.get("trained_on_fingerprint"),
        versions=versions(),
    )


def _commands(metadata: Mapping[str, Any], command: str) -> list[str]:
    told = metadata.get("command")
    earlier = told.values() if isinstance(told, Mapping) else [told]
    return [*(str(line) for line in earlier if line), command]


def _command(evaluation: Evaluation, out: Path) -> str:
    table, resampling = evaluation.predictions, evaluation.resampling
    parts = ["deadlib-evaluate", str(table.path), "--out", str(out)]
    parts += ["--group-by", table.group_column] if table.group_column else []
    parts += ["--split", table.split] if table.split else []
    parts += ["--bootstrap", str(resampling.resamples), "--seed", str(resampling.seed)]
    if virtual := evaluation.virtual:
        parts += ["--virtual-batches", str(virtual.batches), "--per-class", str(virtual.per_class)]
    if evaluation.annotations is not None:
        parts += ["--annotations", str(evaluation.annotations)]
    return shlex.join(parts)


def _history(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = metadata.get("history")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _remove_earlier_figures(out: Path) -> None:
    """Take away the figures that an earlier report in this place made, and nothing else."""
    try:
        earlier = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))["figures"]
    except (OSError, ValueError, KeyError):
        return
    for name in earlier:
        for suffix in ("png", "svg"):
            (out / FIGURES / f"{Path(name).name}.{suffix}").unlink(missing_ok=True)

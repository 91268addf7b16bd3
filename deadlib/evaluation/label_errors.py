"""Which labels are likely wrong? What a model that never saw an example says against its label.

The scores are those of confident learning (Northcutt and others 2021, Journal of Artificial
Intelligence Research 70), computed by cleanlab. They need predictions of models that have not
learnt from the label in question: out-of-fold ones, or a test split.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.errors import PredictionError
from deadlib.evaluation.assess import Progress, ticker, versions
from deadlib.evaluation.gallery import Answer, Pictures, answer, find_pictures
from deadlib.evaluation.table import Predictions, read_predictions
from deadlib.pages import render, write

REPORT = "label_errors.html"
TABLE = "label_errors.csv"
NUMBERS = "label_errors.json"
SHOWN = 40
MANY = 0.25
"""A larger share of labels that seem wrong speaks against the model."""
# what tells where an example is, and what it is of
PLACE_COLUMNS = (
    *("source_id", "top_px", "left_px", "height_px", "width_px"),
    *("split", "group", "experiment", "plate", "well", "cell_line", "treatment", "time_hours"),
    *("study_cell", "study_seed"),
)


@dataclass(frozen=True)
class Suspicion:
    """What is said against the labels of N examples.

    score (N,): the probability that the model gives to the label, 0..1, low is suspicious; likely
    (N,): whether confident learning takes the label for wrong; order (N,): rows, the most
    suspicious first, the likely ones before all others.
    """

    score: NDArray[np.float64]
    likely: NDArray[np.bool_]
    order: NDArray[np.intp]


@dataclass(frozen=True)
class Exchange:
    """How many examples of one label are likely of another class."""

    label: str
    suggested: str
    likely_wrong: int
    of: int


def find_label_errors(
    predictions: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    dataset: str | Path | None = None,
    shown: int = SHOWN,
    progress: Progress | None = None,
) -> Path:
    """Write label_errors.csv, label_errors.json and label_errors.html into `out`, the page last.

    predictions: a table as `evaluate` takes; its rows must come from models that have not learnt
    from them; where an example stands in it several times, as in the repeats of a study, their mean
    judges it. split: by default `test` where the table holds several. dataset: where pictures come
    from, by default the dataset that the table names. shown: how many examples the page shows.

    Returns the path of the page. Raises PredictionError where the table cannot be used, WriteError
    where the disk refuses.
    """
    if shown < 1:
        raise PredictionError(f"{shown} examples to show; ask for at least 1")
    out, table = Path(out), _each_once(read_predictions(Path(predictions), split=split))
    found = suspect(table.class_index, table.probabilities)
    pictures = find_pictures(table, None if dataset is None else Path(dataset))
    answers = _answers(table, pictures, found.order[:shown], progress)
    exchanges = _exchanges(table, found)
    ranked = ranking(table, found)
    warnings, made_with = _warnings(table, found), versions() | {"cleanlab": version("cleanlab")}
    page = render(
        "deadlib.evaluation",
        REPORT,
        (),
        table=table,
        answers=[
            (one, float(found.score[row]), bool(found.likely[row]))
            for one, row in zip(answers, found.order, strict=False)
        ],
        likely=int(found.likely.sum()),
        exchanges=exchanges,
        pictures=pictures,
        warnings=warnings,
        versions=made_with,
    )
    numbers = {
        "predictions": str(table.path),
        "split": table.split,
        "classes": list(table.classes),
        "n": len(table.frame),
        "likely_wrong": int(found.likely.sum()),
        "exchanges": [asdict(one) for one in exchanges],
        "warnings": warnings,
        "shown": [one.to_json() for one in answers],
        "versions": made_with,
    }
    write(out / TABLE, ranked.to_csv(index=False).encode())
    write(out / NUMBERS, json.dumps(numbers, indent=1, allow_nan=False).encode())
    write(out / REPORT, page.encode())
    return out / REPORT


def _each_once(table: Predictions) -> Predictions:
    """Each example once, with the mean of the probabilities that it was given."""
    ids = table.frame.get("example_id")
    if ids is None:
        return table
    # rows without an id are examples of their own
    names = ids.astype(object).where(ids.notna(), pd.Series(ids.index, ids.index))
    _, first, which = np.unique(pd.factorize(names)[0], return_index=True, return_inverse=True)
    if len(first) == len(ids):
        return table
    sums = np.zeros((len(first), len(table.classes)))
    np.add.at(sums, which, table.probabilities)
    return replace(
        table,
        frame=table.frame.iloc[first].reset_index(drop=True),
        class_index=table.class_index[first],
        probabilities=sums / np.bincount(which)[:, None],
        group_index=table.group_index[first],
    )


def suspect(class_index: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Suspicion:
    """Score every label: class_index (N,) in 0..K-1, probabilities (N, K), rows summing to 1.

    Likely wrong are those that confident learning prunes by noise rate. Raises PredictionError
    where only one class occurs.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    there, labels = np.unique(class_index, return_inverse=True)
    if len(there) < 2:
        raise PredictionError(
            "all examples have the same label, so no other can be suggested; give a table with "
            "at least two classes"
        )
    # cleanlab expects an example of every class
    known = probabilities[:, there] + np.finfo(np.float64).eps
    known /= known.sum(axis=1, keepdims=True)
    score = np.asarray(get_label_quality_scores(labels, known), np.float64)
    likely = np.asarray(
        find_label_issues(labels, known, filter_by="prune_by_noise_rate", n_jobs=1), bool
    )
    return Suspicion(score, likely, np.lexsort((score, ~likely)))


def ranking(table: Predictions, found: Suspicion) -> pd.DataFrame:
    """Every example, the most suspicious label first."""
    frame, order = table.frame, found.order
    suggested = table.probabilities.argmax(axis=1)
    ranked: dict[str, Any] = {"rank": np.arange(1, len(frame) + 1)}
    if "example_id" in frame:
        ranked["example_id"] = frame["example_id"].to_numpy()[order]
    ranked |= {
        "label": np.asarray(table.classes, object)[table.class_index[order]],
        "suggested": np.asarray(table.classes, object)[suggested[order]],
        "likely_wrong": found.likely[order],
        "score": found.score[order].round(6),
        "probability_of_suggested": table.probabilities.max(axis=1)[order].round(6),
    }
    there = [name for name in PLACE_COLUMNS if name in frame]
    return pd.DataFrame(ranked | {name: frame[name].to_numpy()[order] for name in there})


def _answers(
    table: Predictions, pictures: Pictures, rows: NDArray[np.intp], progress: Progress | None
) -> list[Answer]:
    tick, found = ticker(progress, "pictures", len(rows)), []
    for row in rows:
        found.append(answer(table, int(row), pictures))
        tick(1)
    return found


def _exchanges(table: Predictions, found: Suspicion) -> list[Exchange]:
    """By label and suggested class, the most first."""
    counts = np.bincount(table.class_index, minlength=len(table.classes))
    pairs = np.stack([table.class_index, table.predicted_index])[:, found.likely]
    kinds, numbers = np.unique(pairs, axis=1, return_counts=True)
    exchanges = [
        Exchange(table.classes[label], table.classes[called], int(n), int(counts[label]))
        for (label, called), n in zip(kinds.T, numbers, strict=True)
    ]
    return sorted(exchanges, key=lambda one: -one.likely_wrong)


def _warnings(table: Predictions, suspicion: Suspicion) -> list[str]:
    found: list[str] = []
    if suspicion.likely.mean() > MANY:
        found.append(
            f"{100 * suspicion.likely.mean():.0f} of 100 labels would be wrong. More likely the "
            "model is too weak to judge them: look at the report of deadlib-evaluate first."
        )
    if table.split == "train" or table.metadata.get("seen_in_training"):
        found.append(
            "The model has learnt from examples of this table. A model repeats a wrong label that "
            "it was taught, so such errors are missing here: predict out of fold "
            "(deadlib-study with folds), so that every label is judged by a model that never saw "
            "it."
        )
    return [*found, *_about_rows(table.warnings)]


def _about_rows(warnings: Sequence[str]) -> list[str]:
    """Those that tell which rows are looked at; intervals and weights are no matter here."""
    return [text for text in warnings if "interval" not in text and "count more" not in text]

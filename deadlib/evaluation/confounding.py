"""The section on confounding: how far do plate, experiment or day and the class tell each other?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.evaluation import figures
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.parts import STRUCTURE, sample_columns
from deadlib.evaluation.table import Predictions
from deadlib.pages import Remark, Section, fragment
from tfrecords_tools import audit
from tfrecords_tools.split import LEVELS

# values of these can be held out whole, which is what a split has to be judged by
HELD_OUT = frozenset({*LEVELS, "cell_line"}) - {"well", "field", "position"}
MOST_DRAWN = 3
REPLICATES = 4


@dataclass(frozen=True)
class Pair:
    """One class and one column.

    commonest: the value with the most images of the class; of_class: the share of the class that
    lies there; of_all: the share of all images there. known: the share of images of which the
    column tells whether they are of the class, by the majority of their value; guessed: the same
    without the column.
    """

    label: str
    images: int
    commonest: str
    of_class: float
    of_all: float
    known: float
    guessed: float


@dataclass(frozen=True)
class Association:
    """How far a column and the label tell each other.

    label_from_column and column_from_label: the uncertainty coefficient in either direction, the
    share of the entropy that is taken away (Theil 1970): 0 nothing, 1 everything. honest_split:
    whether whole values can be held out with fair shares of two classes on both sides; None where
    the column is no such unit, or part of what the classes mean.
    """

    column: str
    values: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    label_from_column: float
    column_from_label: float
    part_of_the_label: bool
    honest_split: bool | None
    pairs: tuple[Pair, ...]


def confounding(evaluation: Evaluation) -> Section | None:
    table = evaluation.predictions
    source, counted = _counts(table)
    found = [associate(column, table.classes, values) for column, values in counted.items()]
    found.sort(key=lambda one: -one.label_from_column)
    told = _told(evaluation)
    remarks = [
        Remark(_capital(f"{place}{item['sentence']}"), "alarm")
        for place, items in told.items()
        for item in items
    ]
    flagged = {item["column"] for items in told.values() for item in items}
    remarks += [
        Remark(
            f"No whole {one.column} can be held out fairly: at most one holds fair shares of two "
            f"classes, so how well the model does on a new {one.column} cannot be told from these "
            "images.",
            "warning",
        )
        for one in found
        if one.honest_split is False and one.column not in flagged
    ]
    if not found and not remarks:
        return None
    drawn = [one for one in found if one.column in flagged or one.column in HELD_OUT][:MOST_DRAWN]
    drawings = tuple(
        figures.classes_by_value(
            f"confounding_{place + 1}", one.column, one.values, one.counts, table.classes
        )
        for place, one in enumerate(drawn)
    )
    html = fragment(
        "deadlib.evaluation",
        "confounding.html",
        drawings,
        found=found,
        remarks=remarks,
        source=source,
        drawn=drawn,
    )
    numbers = {
        "source": source,
        "columns": [asdict(one) for one in found],
        "flagged": [
            {"where": place.strip(" ,") or "rows under evaluation", **item}
            for place, items in told.items()
            for item in items
        ],
    }
    return Section(
        "confounding",
        "Do plates and days give the class away?",
        html,
        numbers,
        drawings,
        tuple(remarks),
    )


def associate(
    column: str, classes: Sequence[str], by_value: Mapping[str, Mapping[str, int]]
) -> Association:
    """by_value: value -> class -> examples."""
    values = tuple(by_value)
    counts = np.array([[by_value[v].get(name, 0) for name in classes] for v in values], float)
    joint = counts / counts.sum()
    value_entropy, label_entropy = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    mutual = value_entropy + label_entropy - _entropy(joint.ravel())
    part = audit.part_of_the_label(column, counts)
    return Association(
        column=column,
        values=values,
        counts=tuple(tuple(map(int, row)) for row in counts),
        label_from_column=_share(mutual, label_entropy),
        column_from_label=_share(mutual, value_entropy),
        part_of_the_label=part,
        honest_split=_honest_split(counts) if column in HELD_OUT and not part else None,
        pairs=tuple(
            _pair(name, values, counts, k) for k, name in enumerate(classes) if counts[:, k].any()
        ),
    )


def _pair(label: str, values: Sequence[str], counts: NDArray[np.float64], k: int) -> Pair:
    of_class, of_all = counts[:, k], counts.sum(axis=1)
    total, most = of_all.sum(), int(of_class.argmax())
    share = of_class.sum() / total
    return Pair(
        label=label,
        images=int(of_class.sum()),
        commonest=values[most],
        of_class=float(of_class[most] / of_class.sum()),
        of_all=float(of_all[most] / total),
        known=float(np.maximum(of_class, of_all - of_class).sum() / total),
        guessed=float(max(share, 1 - share)),
    )


def _honest_split(counts: NDArray[np.float64]) -> bool:
    """Two values of both classes, or several values of each class that can be dealt out."""
    replicated = bool(((counts > 0).sum(axis=0) >= REPLICATES)[counts.any(axis=0)].all())
    return audit.mixed_values(counts) >= 2 or replicated


def _counts(table: Predictions) -> tuple[str, dict[str, dict[str, dict[str, int]]]]:
    """Where from, and column -> value -> class -> examples, unlabelled ones left out.

    The whole dataset where its card tells: a small test split has one class on a plate by chance.
    """
    card = table.metadata.get("card") or {}
    found = {}
    if columns := card.get("columns"):
        for name, column in columns.items():
            by_value = {
                value: {label: n for label, n in labels.items() if label in table.classes}
                for value, labels in (column.get("by_class") or {}).items()
            }
            found[name] = {value: labels for value, labels in by_value.items() if labels}
        source = "the whole dataset"
    else:
        labels = np.asarray(table.classes, object)[table.class_index]
        for joined, values in sample_columns(table.frame).items():
            for name in joined.split(" = "):
                found[name] = {
                    str(value): _tally(labels[np.asarray(values.codes) == code])
                    for code, value in enumerate(values.categories)
                }
        source = "the rows of this table"
    return source, {
        name: by_value
        for name, by_value in found.items()
        if len(by_value) > 1
        and name not in STRUCTURE | {"group"}
        and audit.may_confound(name)
        and len({label for labels in by_value.values() for label in labels}) > 1
    }


def _tally(labels: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts, strict=True)}


def _told(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """What the audit says gives the label away, by where."""
    metadata = evaluation.predictions.metadata
    return {
        "": _among_rows(evaluation.predictions, evaluation.by_column),
        "In the dataset, ": (metadata.get("card") or {}).get("confounding") or [],
        "In the dataset that the model was trained on, ": (
            metadata.get("trained_on_confounding") or []
        ),
    }


def _among_rows(table: Predictions, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The audit of the dataset, made from the rows under evaluation where no data card tells."""
    if table.metadata.get("card"):
        return []
    names = [name for joined in columns for name in joined.split(" = ") if name != "group"]
    examples = table.frame.assign(group=table.group_index)
    if "source_id" not in examples:
        examples["source_id"] = examples.index
    return [item.to_json() for item in audit.confounding(examples, names)]


def _entropy(shares: NDArray[np.float64]) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def _share(mutual: float, entropy: float) -> float:
    return float(np.clip(mutual / entropy, 0, 1)) if entropy > 0 else 0.0


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]

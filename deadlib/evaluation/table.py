"""The prediction table: read, checked, and cut down to what is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Nested
from deadlib.errors import PredictionError
from deadlib.metrics import METRICS, Metric, measurable
from deadlib.predictions import (
    EQUAL,
    as_names,
    called,
    classes_of,
    metadata_of_split,
    nearest_name,
    read_frame,
    require_column,
)
from deadlib.predictions import (
    probabilities as checked_probabilities,
)
from tfrecords_tools.split import EXAMPLE, group_columns, group_names
from tfrecords_tools.table import PROBABILITY

GROUPED_BY = ("group", "source_id", "well")
"""The columns that tell which rows are not independent, the first that there is."""
FEWEST_GROUPS = 10
# below this share of their number, groups are told to be of very different size
LEAST_EFFECTIVE = 0.5


@dataclass(frozen=True)
class Predictions:
    """The examples under evaluation: labelled, of one split, with checked probabilities.

    frame: N rows, index 0..N-1; class_index (N,); probabilities (N, K) float64, rows summing to 1;
    groups: the names of the G groups, group_index (N,) into them; metadata: what the table says of
    the run, empty for a table from elsewhere; warnings: sentences for the reader; calls_only: the
    table has answers without probabilities, which are then 1 for each answer.
    """

    path: Path
    frame: pd.DataFrame
    classes: tuple[str, ...]
    class_index: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    group_column: str | None
    group_index: NDArray[np.intp]
    split: str | None
    unlabelled: int
    other_splits: dict[str, int]
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    calls_only: bool = False

    @property
    def groups(self) -> int:
        return int(self.group_index.max()) + 1

    @property
    def model(self) -> dict[str, Any] | None:
        """What the table knows of who answered: the fingerprint of the training dataset, and
        whether it was calibrated; None where it does not tell."""
        trained_on = self.metadata.get("trained_on_fingerprint") if self.metadata else None
        if trained_on is None:
            return None
        calibrated = bool(self.metadata.get("calibration"))
        return {"trained_on_fingerprint": trained_on, "calibrated": calibrated}

    @property
    def bn_at_test(self) -> str | None:
        """Whose statistics batch normalisation took: moving or batch; None where nothing tells."""
        return self.metadata.get("bn_at_test", "moving") if self.metadata else None

    @property
    def metrics(self) -> dict[str, Metric]:
        """What can be measured."""
        return measurable(self.calls_only)

    @cached_property
    def predicted_index(self) -> NDArray[np.intp]:
        return self.probabilities.argmax(axis=1)


def read_predictions(
    path: Path,
    *,
    group_by: str | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    calls: bool = False,
) -> Predictions:
    """Read and check a table of predictions, Parquet or CSV.

    Needs a column `label` and one `probability_<class>` for each class, or `logit_<class>`, or
    `predicted` alone; everything else is used where it is there. columns: our name -> that of the
    table. calls: look at `predicted` even where there are probabilities. Raises PredictionError,
    naming the row and column, where it cannot be used.
    """
    frame, metadata = read_frame(path, columns=columns)
    require_column(path, frame, "label", "the true class of each row")
    if calls:
        require_column(path, frame, "predicted", "the call of each row, asked for with --calls")
        frame = frame[[name for name in frame if not str(name).startswith(PROBABILITY)]]
    classes, calls_only = classes_of(path, frame, metadata, calls="predicted" in frame)
    warnings: list[str] = []
    frame, split, others = _one_split(path, frame, split, warnings)
    metadata = metadata_of_split(metadata, split)
    labels = as_names(frame["label"])
    unlabelled = int(labels.isna().sum())
    if unlabelled == len(frame):
        raise PredictionError(
            f"{path}: no row{_of(split)} has a label; evaluation compares probabilities with "
            "known labels: fill the column label"
        )
    if unlabelled:
        warnings.append(f"{unlabelled} of {len(frame)} examples have no label and are left out.")
    frame = frame[labels.notna()]
    class_index = _class_index(path, labels.dropna(), classes)
    probabilities = (called if calls_only else checked_probabilities)(path, frame, classes)
    _warn_about_calls(frame, probabilities, classes, calls_only, warnings)
    _refuse_contradictions(path, frame)
    column, group_index = _groups(path, frame, group_by, warnings)
    _warn_about(frame, split, column, group_index, warnings)
    _warn_about_classes(class_index, classes, warnings)
    if metadata.get("seen_in_training", 0) is None:
        warnings.append(
            "A dataset that the model was trained on is gone, so nothing shows whether it was "
            "trained on these very images."
        )
    if "crop" in frame and frame["crop"].nunique() > 1:
        warnings.append(
            "The rows are crops of images, and every figure for images or fields is one for crops: "
            "make fields of them with deadlib-aggregate --by plate,well,field."
        )
    if metadata.get("bn_at_test") == "batch":
        warnings.append(
            "Batch normalisation took its statistics from each batch of predicted images "
            "(bn_at_test: batch), as DeadNet's test did, and not from training: the answer for an "
            "image depends on the images that were predicted with it."
        )
    return Predictions(
        path=path,
        frame=frame.reset_index(drop=True),
        classes=classes,
        class_index=class_index,
        probabilities=probabilities,
        group_column=column,
        group_index=group_index,
        split=split,
        unlabelled=unlabelled,
        other_splits=others,
        metadata=metadata,
        warnings=tuple(warnings),
        calls_only=calls_only,
    )


def _one_split(
    path: Path, frame: pd.DataFrame, split: str | None, warnings: list[str]
) -> tuple[pd.DataFrame, str | None, dict[str, int]]:
    if "split" not in frame or frame["split"].isna().all():
        if split is not None:
            raise PredictionError(f"{path}: no column split, so split {split} cannot be picked")
        return frame, None, {}
    counts = {str(name): int(n) for name, n in frame["split"].value_counts().items()}
    if split is None:
        split = next(iter(counts)) if len(counts) == 1 else "test"
        if len(counts) > 1 and split in counts:
            rest = ", ".join(f"{name} ({n})" for name, n in counts.items() if name != split)
            warnings.append(f"Only split test is evaluated; the table also holds {rest}.")
    if split not in counts:
        raise PredictionError(
            f"{path}: no rows of split {split}; found {', '.join(counts)}: choose one with --split"
        )
    others = {name: n for name, n in counts.items() if name != split}
    return frame[frame["split"].astype(str) == split], split, others


def _class_index(path: Path, labels: pd.Series, classes: Sequence[str]) -> NDArray[np.intp]:
    known = {name: k for k, name in enumerate(classes)}
    for row, label in labels[~labels.isin(classes)].items():
        raise PredictionError(
            f"{path}, row {row}: label {label!r} has no column {PROBABILITY}{label}"
            f"{nearest_name(label, classes)}; the classes are {', '.join(classes)}"
        )
    return labels.map(known).to_numpy().astype(np.intp)


def _groups(
    path: Path, frame: pd.DataFrame, group_by: str | None, warnings: list[str]
) -> tuple[str | None, NDArray[np.intp]]:
    if group_by is not None:
        require_column(path, frame, group_by, "asked for with --group-by")
    there = (c for c in GROUPED_BY if c in frame and frame[c].notna().any())
    column = group_by or next(there, None)
    if column is None:
        warnings.append(
            f"The table has no column {', '.join(GROUPED_BY)}, so every row counts as independent. "
            "Where several rows come from one image, well or animal, the intervals are too narrow: "
            "name the column that tells them apart with --group-by."
        )
        if "example_id" not in frame:
            return None, np.arange(len(frame))
        # the same image twice is one observation
        ids = frame["example_id"].where(frame["example_id"].notna(), frame.index.to_series())
        return None, np.unique(ids.to_numpy(str), return_inverse=True)[1].astype(np.intp)
    names = names_of_groups(frame, column)
    alone = names.isna()
    if alone.any():
        warnings.append(
            f"{int(alone.sum())} examples have no {column}; each counts as a group of its own."
        )
        names = names.where(~alone, "\0row " + names.index.astype(str).to_series(names.index))
    return column, np.unique(names.to_numpy(str), return_inverse=True)[1].astype(np.intp)


def names_of_groups(frame: pd.DataFrame, column: str) -> pd.Series:
    """The groups that a column names, as the split does: wells B03 of two plates are two groups.

    Null where the column is.
    """
    # a column may have the name that means every example of its own to the split
    columns = (column,) if column == EXAMPLE else group_columns((column,), list(frame.columns))
    levels = pd.DataFrame({name: as_names(frame[name]) for name in columns})
    return group_names(levels, columns).where(frame[column].notna(), None)


def _warn_about(
    frame: pd.DataFrame,
    split: str | None,
    column: str | None,
    group_index: NDArray[np.intp],
    warnings: list[str],
) -> None:
    if split == "train":
        warnings.append(
            "These are the examples the model was trained on: the figures say how well it "
            "remembers, not how well it will do on new images."
        )
    groups, effective = int(group_index.max()) + 1, Nested(group_index).effective
    named = "" if column in (None, "group") else f" ({column})"
    if groups == 1:
        warnings.append(
            f"All examples belong to one group{named}: nothing shows how much the figures would "
            "change with another, so none has an interval. Predict more groups, or name a finer "
            "column with --group-by if its values are independent of each other."
        )
    elif column is not None and groups < FEWEST_GROUPS:
        warnings.append(
            f"Only {groups} independent groups{named}: the intervals rest on few draws and are "
            "wide for it. More groups help; more images of the same groups do not."
        )
    if groups > 1 and effective < LEAST_EFFECTIVE * groups:
        share = 100 * np.bincount(group_index).max() / len(group_index)
        warnings.append(
            f"The {groups:,} groups{named} are of very different size, the largest holds "
            f"{share:.0f} % of the examples: they tell as much as {effective:.1f} equal ones, and "
            "the intervals count them so."
        )
    if "example_id" in frame and frame["example_id"].dropna().duplicated().any():
        ids = frame["example_id"].dropna()
        first = ids[ids.duplicated()].iloc[0]
        warnings.append(
            "Some examples stand in the table more than once and count more than the others: "
            f"{int(ids.duplicated().sum())} rows are copies, for example of {first}."
        )


def _warn_about_calls(
    frame: pd.DataFrame,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    calls_only: bool,
    warnings: list[str],
) -> None:
    if calls_only:
        left_out = [m.title for m in METRICS.values() if not m.of_calls]
        warnings.append(
            "Only the answers are looked at, without probabilities, so nothing is said of how sure "
            f"the model is: {', '.join(left_out)} and all that needs them are left out."
        )
    elif "predicted" in frame:
        named = pd.Index(classes).get_indexer(pd.Index(as_names(frame["predicted"])))
        own = probabilities[np.arange(len(frame)), named]
        other = int(((named >= 0) & (own < probabilities.max(axis=1) - EQUAL)).sum())
        if other:
            warnings.append(
                f"{other:,} answers in the column predicted are not the most probable class. The "
                "figures here are of the most probable class; with --calls they are of the answers."
            )


def _refuse_contradictions(path: Path, frame: pd.DataFrame) -> None:
    if "example_id" not in frame:
        return
    labels = frame["label"].groupby(frame["example_id"]).nunique()
    if (labels > 1).any():
        first = labels.index[int((labels > 1).to_numpy().argmax())]
        found = ", ".join(sorted(frame["label"][frame["example_id"] == first].astype(str).unique()))
        raise PredictionError(
            f"{path}: {first} stands in the table with different labels ({found}), expected one "
            f"for each example_id; {int((labels > 1).sum())} examples are like this: find out "
            "which label is true"
        )


def _warn_about_classes(
    class_index: NDArray[np.intp], classes: Sequence[str], warnings: list[str]
) -> None:
    counts = np.bincount(class_index, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent:
        warnings.append(
            f"No example of {', '.join(absent)} among those evaluated: nothing shows how well "
            f"{'it is' if len(absent) == 1 else 'they are'} recognised, and means over classes "
            "are over the others."
        )


def _of(split: str | None) -> str:
    return f" of split {split}" if split else ""

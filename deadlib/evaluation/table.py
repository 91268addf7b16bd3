"""The prediction table: read, checked, and cut down to what is evaluated."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib.bootstrap import Nested
from deadlib.errors import PredictionError
from tfrecords_tools.split import EXAMPLE, group_columns, group_names
from tfrecords_tools.table import ABSENT, PROBABILITY

METADATA_KEY = b"deadlib"
# what rounding to three decimals may take from the sum, for each class
LARGEST_GAP = 5e-4
FEWEST_GROUPS = 10
# below this share of their number, groups are told to be of very different size
LEAST_EFFECTIVE = 0.5
# large, and nothing here reads it
NOT_READ = frozenset({"embedding", "source_paths"})


@dataclass(frozen=True)
class Predictions:
    """The examples under evaluation: labelled, of one split, with checked probabilities.

    frame: N rows, index 0..N-1; class_index (N,); probabilities (N, K) float64, rows summing to 1;
    groups: the names of the G groups, group_index (N,) into them; metadata: what the table says of
    the run, empty for a table from elsewhere; warnings: sentences for the reader.
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

    @property
    def groups(self) -> int:
        return int(self.group_index.max()) + 1

    @property
    def bn_at_test(self) -> str | None:
        """Whose statistics batch normalisation took: moving or batch; None where nothing tells."""
        return self.metadata.get("bn_at_test", "moving") if self.metadata else None

    @cached_property
    def predicted_index(self) -> NDArray[np.intp]:
        return self.probabilities.argmax(axis=1)


def read_predictions(
    path: Path, *, group_by: str | None = None, split: str | None = None
) -> Predictions:
    """Read and check a table of predictions, Parquet or CSV.

    Needs a column `label` and one `probability_<class>` for each class; everything else is used
    where it is there. Raises PredictionError, naming the row and column, where it cannot be used.
    """
    frame, metadata = _read(path)
    _column(path, frame, "label", "the true class of each row")
    classes = _classes(path, frame, metadata)
    warnings: list[str] = []
    frame, split, others = _one_split(path, frame, split, warnings)
    labels = _as_text(frame["label"])
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
    probabilities = _probabilities(path, frame, classes)
    _refuse_contradictions(path, frame)
    column, group_index = _groups(path, frame, group_by, warnings)
    _warn_about(frame, split, column, group_index, warnings)
    _warn_about_classes(class_index, classes, warnings)
    if metadata.get("seen_in_training", 0) is None:
        warnings.append(
            "A dataset that the model was trained on is gone, so nothing shows whether it was "
            "trained on these very images."
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
    )


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not path.is_file():
        raise PredictionError(f"{path}: no such file; give a table that deadlib-predict wrote")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            schema = pq.read_schema(path)
            names = [name for name in schema.names if name not in NOT_READ]
            frame = pd.read_parquet(path, columns=names)
            metadata = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
        elif suffix == ".csv":
            frame = pd.read_csv(path, keep_default_na=False, na_values=ABSENT)
            metadata = {}
        else:
            raise PredictionError(f"{path}: not a table; expected a name in .parquet or .csv")
    except (pa.ArrowException, pd.errors.ParserError, ValueError, OSError) as error:
        raise PredictionError(f"{path}: cannot be read as a table ({error})") from None
    if frame.empty:
        raise PredictionError(f"{path}: the table has no rows")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame, metadata


def _column(path: Path, frame: pd.DataFrame, name: str, meaning: str) -> None:
    if name not in frame:
        raise PredictionError(
            f"{path}: no column {name} ({meaning}){_nearest(name, list(frame.columns))}; "
            f"found {', '.join(map(str, frame.columns))}"
        )


def _classes(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> tuple[str, ...]:
    told = metadata.get("classes", ())
    missing = [name for name in told if PROBABILITY + name not in frame]
    if 0 < len(missing) < len(told):
        raise PredictionError(
            f"{path}: the model knows the classes {', '.join(told)}, but there is no column "
            f"{', '.join(PROBABILITY + name for name in missing)}: take the table as "
            "deadlib-predict wrote it"
        )
    # other columns of such a name then say something of the sample
    if len(told) > 1 and not missing:
        return tuple(told)
    found = [str(c).removeprefix(PROBABILITY) for c in frame if str(c).startswith(PROBABILITY)]
    if len(found) < 2:
        raise PredictionError(
            f"{path}: found {len(found)} columns {PROBABILITY}<class>, expected one for each of at "
            f"least two classes (for example {PROBABILITY}dead and {PROBABILITY}living)"
        )
    return tuple(found)


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
            f"{_nearest(label, classes)}; the classes are {', '.join(classes)}"
        )
    return labels.map(known).to_numpy().astype(np.intp)


def _probabilities(path: Path, frame: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """(N, K), rows divided by their sum, which differs from 1 by rounding only."""
    tolerance = LARGEST_GAP * len(classes) + 1e-9
    columns = []
    for name in classes:
        column = pd.to_numeric(frame[PROBABILITY + name], errors="coerce").astype(float)
        bad = ~((column >= 0) & (column <= 1 + tolerance))
        if bad.any():
            row = column.index[int(bad.to_numpy().argmax())]
            cell = frame[PROBABILITY + name].to_list()[int(bad.to_numpy().argmax())]
            advice = (
                "predict this image again, or take its row out"
                if pd.isna(cell)
                else "logits must go through a softmax first"
            )
            raise PredictionError(
                f"{path}, row {row}, column {PROBABILITY}{name}: found {cell!r}, expected a "
                f"probability in 0-1; rows like this: {int(bad.sum())}; {advice}"
            )
        columns.append(column.to_numpy())
    found = np.stack(columns, axis=1)
    sums = found.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > tolerance)
    if len(wrong):
        names = ", ".join(PROBABILITY + name for name in classes)
        raise PredictionError(
            f"{path}, row {frame.index[int(wrong[0])]}, columns {names}: the probabilities sum to "
            f"{sums[wrong[0]]:.4g}, expected 1; rows like this: {len(wrong)}"
        )
    return np.asarray(found / sums[:, None])


def _groups(
    path: Path, frame: pd.DataFrame, group_by: str | None, warnings: list[str]
) -> tuple[str | None, NDArray[np.intp]]:
    if group_by is not None:
        _column(path, frame, group_by, "asked for with --group-by")
    there = (c for c in ("group", "source_id") if c in frame and frame[c].notna().any())
    column = group_by or next(there, None)
    if column is None:
        warnings.append(
            "The table has no column group or source_id, so every row counts as independent. Where "
            "several rows come from one image, well or animal, the intervals are too narrow: name "
            "the column that tells them apart with --group-by."
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
    levels = pd.DataFrame({name: _as_text(frame[name]) for name in columns})
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


def _as_text(column: pd.Series) -> pd.Series:
    """Names as text, null where missing; 1.0 is 1, as nulls turn whole numbers into floats."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")


def _of(split: str | None) -> str:
    return f" of split {split}" if split else ""


def _nearest(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""

"""One vector for each well: what an embedding is judged by, as the fields of a well are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.aggregation import places, well_columns
from deadlib.predictions import (
    PredictionTable,
    as_names,
    of_split,
    open_predictions,
    require_column,
)
from deadlib.retrieval import directions

Indices = NDArray[np.intp]
Single = NDArray[np.float32]
Floats = NDArray[np.float64]

CONTROLS = ("DMSO", "Untreated")
TRAIN = "train"


@dataclass(frozen=True)
class Wells:
    """W wells of one prediction table, and the N rows that they are the means of.

    table: as it was read, rows that were not asked for left out; vectors (N, D) float32, the
    embedding of each row with length 1; unit (N,): the well of each row. frame: W rows of the
    columns that have one value in each well, and the number of `fields`; means (W, D) float32, the
    mean of a well's vectors brought to length 1 again. name (W,): plate1/B03; place (W,): the well
    as a place, for where wells hold images of several labels each label makes a vector of its own;
    label, batch (W,) object, None where unknown. control (W,): whether it is one.
    """

    title: str
    table: PredictionTable
    vectors: Single
    unit: Indices
    frame: pd.DataFrame
    means: Single
    name: NDArray[np.object_]
    place: Indices
    label: NDArray[np.object_]
    batch: NDArray[np.object_]
    control: NDArray[np.bool_]
    batch_columns: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.means)

    @property
    def split(self) -> NDArray[np.object_]:
        """(W,) the split of each well; None where the table does not tell."""
        if "split" not in self.frame:
            return np.full(len(self), None, object)
        return as_names(self.frame["split"]).to_numpy(object)

    @property
    def taught(self) -> NDArray[np.bool_]:
        """(W,) which wells taught the network: those of the training split, unless the table is of
        a dataset of which the network has seen nothing."""
        if self.table.metadata.get("seen_in_training", None) == 0:
            return np.zeros(len(self), bool)
        return np.asarray(self.split == TRAIN)


def read_wells(
    path: str | Path,
    *,
    title: str | None = None,
    batch: Sequence[str] = (),
    split: str | None = None,
    controls: Sequence[str] = CONTROLS,
) -> Wells:
    """Read a prediction table with the column `embedding`, and make one vector for each well.

    A well is what `aggregation.places` calls one; in a table that names none it is `group`, else
    every row alone. batch: the columns whose values are the batches, by
    default `plate`, and `experiment` before it where plates of two experiments share a name. split:
    only rows of this one. controls: the treatments that are controls, in any case.

    Raises PredictionError where the table has no embedding, one that is no row of finite numbers,
    or no such column or split.
    """
    path = Path(path)
    table = open_predictions(path, heavy=("embedding",))
    if split is not None:
        table = of_split(table, split)
    vectors = table.embeddings
    table = replace(table, frame=table.frame.drop(columns="embedding"))
    frame = table.frame
    columns = batch_columns(table, batch)
    names, warnings = _named(table)
    labels = (
        as_names(frame["label"]) if "label" in frame else pd.Series(None, frame.index, dtype=object)
    )
    place = names.factorize()[0].astype(np.intp)
    keys = pd.DataFrame({"place": place, "label": labels.to_numpy()})
    grouped = keys.groupby(["place", "label"], dropna=False, sort=False)
    unit = grouped.ngroup().to_numpy().astype(np.intp)
    first = np.unique(unit, return_index=True)[1]
    vectors = np.asarray(directions(vectors), np.float32)
    return Wells(
        title=title or default_title(path),
        table=table,
        vectors=vectors,
        unit=unit,
        frame=_told(frame, unit),
        means=np.asarray(directions(means(vectors, unit)), np.float32),
        name=names.to_numpy(object)[first],
        place=place[first],
        label=labels.to_numpy(object)[first],
        batch=_joined(frame, columns)[first],
        control=_controls(frame, controls)[first],
        batch_columns=columns,
        warnings=tuple(warnings),
    )


def means(vectors: Single, unit: Indices) -> NDArray[np.float64]:
    """The mean of the rows (N, D) of each unit (N,) in 0..W-1, every unit occurring: (W, D)."""
    order = np.argsort(unit, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(unit))[:-1]])
    sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)
    return np.asarray(sums / np.bincount(unit)[:, None])


def default_title(path: Path) -> str:
    """The name of a table: its file's, or its run's where all files are called alike."""
    return path.parent.name or path.stem if path.stem == "predictions" else path.stem


def batch_columns(table: PredictionTable, asked: Sequence[str]) -> tuple[str, ...]:
    frame = table.frame
    for name in asked:
        require_column(table.path, frame, name, "the batch that each image belongs to")
    if asked:
        return tuple(asked)
    require_column(
        table.path, frame, "plate", "the batch that each image belongs to; else name one by --batch"
    )
    if "experiment" in frame and (frame.groupby("plate")["experiment"].nunique() > 1).any():
        return ("experiment", "plate")
    return ("plate",)


def _named(table: PredictionTable) -> tuple[pd.Series, list[str]]:
    """The well that each row shows, (N,) text, and what to be told of it; a row without a well has
    one of its own."""
    frame = table.frame
    warnings = []
    if well_columns(frame):
        names = places(table.path, frame)
    elif "group" in frame and frame["group"].notna().any():
        names = as_names(frame["group"])
        warnings.append(
            f"{table.path}: no column well; what shares the column group counts as one well."
        )
    else:
        names = pd.Series(None, frame.index, dtype=object)
        warnings.append(
            f"{table.path}: no columns well and group; every row counts as a well of its own. "
            "Where several rows show one well, every figure here looks better than it is."
        )
    alone = pd.Series([f"row {row}" for row in frame.index], frame.index, dtype=object)
    return names.where(names.notna(), alone), warnings


def _joined(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.object_]:
    """plate1/B03 of each row (N,); None where a column is unknown."""
    texts = [as_names(frame[name]) for name in columns]
    found = np.array(
        [
            None if any(v is None for v in row) else "/".join(row)
            for row in zip(*texts, strict=True)
        ],
        object,
    )
    return found


def _controls(frame: pd.DataFrame, controls: Sequence[str]) -> NDArray[np.bool_]:
    if "treatment" not in frame:
        return np.zeros(len(frame), bool)
    known = {name.casefold() for name in controls}
    treatment = as_names(frame["treatment"]).str.casefold()
    return treatment.isin(known).to_numpy()


def _told(frame: pd.DataFrame, unit: Indices) -> pd.DataFrame:
    """One row for each unit: the columns with one value in each, and how many rows it has."""
    grouped = frame.groupby(unit, sort=True)
    kept = [name for name in frame if _constant(frame[name], unit)]
    found = grouped[kept].first() if kept else pd.DataFrame(index=np.unique(unit))
    found.insert(len(found.columns), "fields", grouped.size().to_numpy())
    return found.reset_index(drop=True)


def _constant(column: pd.Series, unit: Indices) -> bool:
    if column.map(lambda value: isinstance(value, (list, np.ndarray))).any():
        return False
    codes = pd.Series(column.factorize(use_na_sentinel=False)[0])
    return bool((codes.groupby(unit).nunique() == 1).all())

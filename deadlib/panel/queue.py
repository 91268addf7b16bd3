"""Which items to ask about first: those whose label a model doubts, or about which it is unsure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.errors import PredictionError
from deadlib.predictions import PredictionTable, as_names, open_predictions, require_column
from tfrecords_tools.cut import WINDOW

Floats = NDArray[np.float64]

_SHOWN = 3


def label_error(table: PredictionTable) -> Floats:
    """(N, 2): whether confident learning takes the label for wrong, and 1 - its probability.

    Raises PredictionError where the table has no labels, or one class only.
    """
    from deadlib.evaluation.label_errors import suspect

    labels = as_names(table.frame["label"])
    found = suspect(pd.Index(table.classes).get_indexer(pd.Index(labels)), table.probabilities)
    return np.stack([found.likely.astype(float), 1 - found.score], axis=1)


def uncertainty(table: PredictionTable) -> Floats:
    """(N, 2): whether a calibrated model leaves open which class it is, 0 of one that is not
    calibrated; and the entropy."""
    return np.concatenate([_undecided(table), entropy(table)], axis=1)


def entropy(table: PredictionTable) -> Floats:
    """(N, 1) in 0..1: that of the probabilities, as a share of the largest possible."""
    p = np.maximum(table.probabilities, np.finfo(float).tiny)
    return np.asarray(-(p * np.log(p)).sum(axis=1, keepdims=True) / np.log(p.shape[1]))


def margin(table: PredictionTable) -> Floats:
    """(N, 1) in 0..1: how near the second class comes to the first."""
    two = np.sort(table.probabilities, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1:] - two[:, :1]))


def out_of_distribution(table: PredictionTable) -> Floats:
    """(N, 1) in 0..1: how unlike all training images. Raises PredictionError where it is absent."""
    meaning = "of a calibrated run; run deadlib-calibrate, and predict again"
    require_column(table.path, table.frame, "out_of_distribution", meaning)
    return table.frame[["out_of_distribution"]].to_numpy(float)


BY: dict[str, Callable[[PredictionTable], Floats]] = {
    function.__name__: function
    for function in (label_error, uncertainty, entropy, margin, out_of_distribution)
}
"""What a queue can be ordered by: scores (N, S), the larger the earlier; the first counts most."""


@dataclass(frozen=True)
class Queue:
    """items: the items in the order in which they are to be served; scores (N, S): of each, NaN of
    those that no prediction is about, which come last; notes: what one must know of both."""

    items: pd.DataFrame
    scores: Floats
    notes: tuple[str, ...]


def queue_of(
    items: pd.DataFrame, predictions: str | Path, by: str = "uncertainty", *, seed: int = 0
) -> Queue:
    """Put the items of a panel into an order by a table of predictions.

    items: as items.parquet has them. predictions: a table as deadlib-predict writes it. An item is
    the example of its name; where none has it, every row about one of its images counts, of crops
    those whose centre lies in the item, or that hold the item's. An item of several rows, such as a
    sequence, has their mean. by: a name in `BY`; label_error leaves rows without a label out. seed:
    draws the order of items that are alike, and of those without a prediction.

    Raises PredictionError where the table cannot be used, or fits none of the items.
    """
    path = Path(predictions)
    if by not in BY:
        raise PredictionError(f"queue by {by}: expected one of {', '.join(BY)}")
    table = open_predictions(path, heavy=paths_of(path))
    notes: list[str] = []
    if by == label_error.__name__:
        table = _labelled(table, notes)
    item, row = matches(items, table.frame)
    if not len(item):
        raise PredictionError(
            f"{path}: no prediction is about an item of this panel, by example_id or by image; the "
            f"table has {_first(table.frame)}, the panel {items['item'].iloc[0]}"
        )
    found = BY[by](table)[row]
    matched = np.bincount(item, minlength=len(items))
    sums = np.stack([np.bincount(item, column, len(items)) for column in found.T], axis=1)
    scores = np.where(matched[:, None] > 0, sums / np.maximum(matched, 1)[:, None], np.nan)
    draws = np.random.default_rng(seed).random(len(items))
    keys = np.nan_to_num(-scores, nan=np.inf)
    order = np.lexsort((draws, *keys.T[::-1]))
    notes += _told(items, matched, len(table.frame) - len(np.unique(row)), path)
    return Queue(items.iloc[order].reset_index(drop=True), scores[order], tuple(notes))


def paths_of(path: Path) -> tuple[str, ...]:
    """`source_paths`, where the table can have them."""
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet" or not path.is_file():
        return ()
    try:
        return ("source_paths",) if "source_paths" in pq.read_schema(path).names else ()
    except (OSError, ValueError):
        return ()


def _labelled(table: PredictionTable, notes: list[str]) -> PredictionTable:
    require_column(table.path, table.frame, "label", "what the model's answer is compared with")
    known = as_names(table.frame["label"]).isin(table.classes).to_numpy()
    if not known.any():
        raise PredictionError(
            f"{table.path}: no row has one of the classes {', '.join(table.classes)} as its label, "
            "so none can be wrong; order by uncertainty"
        )
    if not known.all():
        notes.append(f"{table.path}: {int((~known).sum())} rows have no label and are left out")
    if table.metadata.get("seen_in_training"):
        notes.append(
            f"{table.path}: the model has learnt from {table.metadata['seen_in_training']} of "
            "these labels, and repeats errors that it was taught; predict out of fold"
        )
    return replace(table, frame=table.frame[known], probabilities=table.probabilities[known])


def matches(items: pd.DataFrame, frame: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of item and row (M,), (M,), by their places, that are about the same picture."""
    names = pd.DataFrame({"item": np.arange(len(items)), "name": items["item"].to_numpy()})
    ids = as_names(frame["example_id"]) if "example_id" in frame else pd.Series([], dtype=object)
    rows = pd.DataFrame({"row": np.arange(len(ids)), "name": ids.to_numpy()})
    pairs = names.merge(rows, on="name")[["item", "row"]]
    rest = np.setdiff1d(np.arange(len(items)), pairs["item"])
    by_image = _images_of_items(items, rest).merge(_images_of_rows(frame), on="image")
    by_image = by_image.loc[_same_place(by_image), ["item", "row"]].drop_duplicates()
    found = pd.concat([pairs, by_image])
    return found["item"].to_numpy(np.intp), found["row"].to_numpy(np.intp)


def _places(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The windows of a table, NaN where it has none."""
    windows = {
        f"{name}_{edge}": pd.to_numeric(frame[edge], errors="coerce").astype(float)
        if edge in frame
        else np.nan
        for edge in WINDOW
    }
    return pd.DataFrame(windows, index=frame.index)


def _images_of_items(items: pd.DataFrame, places: NDArray[np.intp]) -> pd.DataFrame:
    """A row for each image file of the items at these places: item, image, window."""
    chosen = items.iloc[places]
    images = [
        sorted({str(path) for paths in frames for path in paths})
        for frames in chosen["frame_paths"]
    ]
    return (
        _places(chosen, "item")
        .assign(item=places, image=pd.Series(images, chosen.index, dtype=object))
        .explode("image")
    )


def _images_of_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each image file of each prediction: row, image, window."""
    column = next((name for name in ("source_paths", "source_id", "path") if name in frame), None)
    values = [None] * len(frame) if column is None else list(frame[column])
    images = [[str(value)] if isinstance(value, str) else value for value in values]
    found = _places(frame, "row").assign(
        row=np.arange(len(frame)), image=pd.Series(images, frame.index, dtype=object)
    )
    return found.explode("image").dropna(subset="image")


def _same_place(pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the window of the item holds the centre of the row's, or the other way round."""
    edges = {
        name: [pairs[f"{name}_{edge}"].to_numpy(float) for edge in WINDOW]
        for name in ("item", "row")
    }
    unknown = np.isnan(edges["item"][0]) | np.isnan(edges["row"][0])
    return np.asarray(
        unknown | _holds(edges["item"], edges["row"]) | _holds(edges["row"], edges["item"])
    )


def _holds(outer: list[Floats], inner: list[Floats]) -> NDArray[np.bool_]:
    inside = np.ones(len(outer[0]), bool)
    for start, length in ((0, 2), (1, 3)):
        centre = inner[start] + inner[length] / 2
        inside &= (outer[start] <= centre) & (centre < outer[start] + outer[length])
    return inside


def _undecided(table: PredictionTable) -> Floats:
    if "prediction_set" not in table.frame:
        return np.zeros((len(table.frame), 1))
    # only Parquet holds lists
    sets = table.frame["prediction_set"]
    return np.array([[isinstance(found, np.ndarray) and len(found) != 1] for found in sets], float)


def _told(items: pd.DataFrame, matched: NDArray[np.intp], spare: int, path: Path) -> list[str]:
    lacking = items["item"][matched == 0].tolist()
    told = [f"{path}: {len(items) - len(lacking)} of {len(items)} items are ordered by it"]
    if lacking:
        more = ", …" if len(lacking) > _SHOWN else ""
        told.append(
            f"{len(lacking)} items have no prediction and come last ({', '.join(lacking[:_SHOWN])}"
            f"{more})"
        )
    if spare:
        told.append(f"{spare} rows of the predictions are about no item of this panel")
    return told


def _first(frame: pd.DataFrame) -> str:
    names = [name for name in ("example_id", "source_id", "path") if name in frame]
    return str(frame[names[0]].iloc[0]) if names else "no column example_id, source_id or path"

"""From many answers to one: crops to fields, fields to wells, by name and never by position.

`pooled` is on arrays alone; `aggregate` makes of a prediction table another one that every command
reads. The vote and the median are those of CellDeathPred (majority over the fields of a well, mean
or median of logits as options); the mean of probabilities is the recommended one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import indicator
from deadlib.errors import PredictionError
from deadlib.predictions import (
    PredictionTable,
    as_names,
    check_output,
    nearest_name,
    of_split,
    open_predictions,
    require_column,
    write_predictions,
)
from tfrecords_tools.split import group_columns
from tfrecords_tools.table import PLACE_COLUMNS, PROBABILITY

How = Literal["mean", "logits", "median", "vote"]
HOW: tuple[How, ...] = get_args(How)
# where nothing is said, the place that is pooled over, the first that there is
PLACES = (("well",), ("row", "column"))
# a probability of 0 is written by rounding, and would forbid a class whatever the others say
SMALLEST_PROBABILITY = 1e-12
# of single images, and no longer true of their well
OF_ONE_IMAGE = (PLACE_COLUMNS - {"label", "split", "group"}) | {
    "prediction_set",
    "out_of_distribution",
    "softmax_temperature",
    "crop",
}
MADE = frozenset({"predicted", "embedding", "votes", "tied"})
# what a place must agree on, and what to do where it does not
ONE_OR_REFUSED = {
    "label": "name the column that tells them apart with --by, or mend the labels",
    "split": "fields of one well must not lie on both sides of a split; take one with --split",
}


@dataclass(frozen=True)
class Pooled:
    """The answers of G groups.

    probabilities (G, K), rows summing to 1; predicted_index (G,); sizes (G,): how many answers each
    is made of; votes (G, K): how many of them call each class; tied (G,): whether the most voted
    class has as many votes as another.
    """

    probabilities: NDArray[np.float64]
    predicted_index: NDArray[np.intp]
    sizes: NDArray[np.intp]
    votes: NDArray[np.intp]
    tied: NDArray[np.bool_]


def pooled(
    group_index: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    *,
    how: How = "mean",
    priority: Sequence[int] = (),
) -> Pooled:
    """One answer of each group from those of its members.

    group_index (N,) in 0..G-1, every group occurring; probabilities (N, K), rows summing to 1. how:
    `mean` of probabilities; `logits`, their mean, then softmax (which the log probabilities give
    just as well, as a constant in a row changes nothing); `median` of logits, each row moved to
    the mean 0, then softmax; `vote`, where the probability is the share of the votes.

    A vote that is tied goes to the tied class of the highest mean probability; with `priority`, all
    K classes from first to last, to the first of them that is tied.
    """
    size = probabilities.shape[1]
    groups = int(group_index.max()) + 1
    sizes = np.bincount(group_index, minlength=groups)
    means = _sums(group_index, probabilities, groups) / sizes[:, None]
    calls = np.eye(size, dtype=np.intp)[probabilities.argmax(axis=1)]
    votes = _sums(group_index, calls, groups)
    most = votes == votes.max(axis=1, keepdims=True)
    tied = most.sum(axis=1) > 1
    if how == "vote":
        rank = np.empty(size)
        rank[list(priority)] = -np.arange(len(priority), dtype=float)
        predicted = np.where(most, rank if len(priority) else means, -np.inf).argmax(axis=1)
        return Pooled(votes / sizes[:, None], predicted, sizes, votes, tied)
    if how == "mean":
        found = means
    else:
        logits = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
        if how == "logits":
            middle = _sums(group_index, logits, groups) / sizes[:, None]
        else:
            centred = pd.DataFrame(logits - logits.mean(axis=1, keepdims=True))
            middle = centred.groupby(group_index).median().to_numpy()
        found = _softmax(middle)
    return Pooled(found, found.argmax(axis=1), sizes, votes, tied)


def class_priority(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """The order of classes (K,) in which ties are decided; () where none is asked for.

    Raises PredictionError where a name is no class, or a class is not named.
    """
    for name in names:
        if name not in classes:
            raise PredictionError(
                f"ties: {name} is no class{nearest_name(name, classes)}; the classes are "
                f"{', '.join(classes)}"
            )
    if names and (len(set(names)) < len(names) or len(names) < len(classes)):
        raise PredictionError(
            f"ties: found {', '.join(names)}, expected each of the classes {', '.join(classes)} "
            "once, the one that wins first"
        )
    return tuple(classes.index(name) for name in names)


def places(path: Path, frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.Series:
    """The name of the place that each row lies in, such as `1/B03`; null where it has none.

    by: columns; experiment and plate are added where the table has them, as wells B03 of two plates
    are two wells. Without, by well. Raises PredictionError where a column is not there.
    """
    columns = place_columns(path, frame, by)
    levels = pd.DataFrame({name: as_names(frame[name]) for name in columns})
    named = levels.notna().all(axis=1)
    texts = (levels[name].where(named, "") for name in columns)
    names = ["/".join(values) for values in zip(*texts, strict=True)]
    return pd.Series(names, index=frame.index, dtype=object).where(named, None)


def place_columns(path: Path, frame: pd.DataFrame, by: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that name a place, the coarsest first."""
    for name in by:
        require_column(path, frame, name, "asked for as a place")
    if not by:
        by = well_columns(frame) or ("well",)
        require_column(path, frame, by[0], "which answers belong together")
    # an empty column tells no wells apart
    there = [str(name) for name in frame if name in by or frame[name].notna().any()]
    return group_columns(by, there)


def well_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns by which a table names its wells, () where it names none."""
    there = {str(name) for name in frame if frame[name].notna().any()}
    return next((place for place in PLACES if set(place) <= there), ())


def aggregate(
    table: PredictionTable,
    by: Sequence[str] = (),
    *,
    how: How = "mean",
    ties: Sequence[str] = (),
) -> PredictionTable:
    """One row for each place: a well from its fields, a field from its crops.

    by: the columns that name a place (`places`). how, ties: see `pooled`; ties are names of
    classes. Rows stand in the order in which their places first occur; rows without a place are
    left out and counted.

    Columns: `example_id` (the place); those of the table that have one value in every place, label
    and split among them; `predicted`; the probabilities; `fields` (`crops`, where the rows are
    crops): how many answers; `votes`: how many of them call the predicted class; `tied`: whether
    the vote is a tie; `embedding`, where the table was read with it: the mean. The metadata is that
    of the table, and under `aggregation` what was done.

    Raises PredictionError where a place holds several labels or splits, where nothing has a place,
    and where calls without probabilities are to be averaged.
    """
    if table.calls_only and how != "vote":
        raise PredictionError(
            f"{table.path}: the table has calls and no probabilities, so nothing can be averaged; "
            "count votes: --how vote"
        )
    columns = place_columns(table.path, table.frame, by)
    names = places(table.path, table.frame, by)
    placed = names.notna().to_numpy()
    if not placed.any():
        raise PredictionError(
            f"{table.path}: no row has a value in each of {', '.join(columns)}, so nothing says "
            "which answers belong together; name other columns with --by"
        )
    frame = table.frame[placed]
    codes, found = pd.factorize(names[placed])
    answers = pooled(
        codes.astype(np.intp),
        table.probabilities[placed],
        how=how,
        priority=class_priority(ties, table.classes),
    )
    counted = "crops" if "crop" in frame else "fields"
    kept = _one_value_each(table.path, frame, names[placed])
    made: dict[str, Any] = {
        "predicted": np.array(table.classes, object)[answers.predicted_index],
        **{PROBABILITY + n: answers.probabilities[:, k] for k, n in enumerate(table.classes)},
        counted: answers.sizes,
        "votes": answers.votes[np.arange(len(found)), answers.predicted_index],
        "tied": answers.tied,
    }
    if "embedding" in frame:
        means = _sums(codes, table.embeddings[placed], len(found)) / answers.sizes[:, None]
        made["embedding"] = list(means.astype(np.float32))
    told = {
        "by": list(columns),
        "how": how,
        "ties": list(ties) or ("order of classes" if table.calls_only else "mean probability"),
        "counted": counted,
        "answers": int(placed.sum()),
        "places": len(found),
        "fewest": int(answers.sizes.min()),
        "most": int(answers.sizes.max()),
        "tied": int(answers.tied.sum()),
        "without_place": int((~placed).sum()),
        "dropped": [str(n) for n in frame if n not in {*kept, *made, *OF_ONE_IMAGE}],
    }
    return PredictionTable(
        table.path,
        pd.DataFrame({"example_id": found, **kept, **made}),
        table.classes,
        answers.probabilities,
        {**table.metadata, "classes": list(table.classes), "aggregation": told},
    )


def aggregate_file(
    predictions: str | Path,
    out: str | Path,
    by: Sequence[str] = (),
    *,
    how: How = "mean",
    ties: Sequence[str] = (),
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Read a prediction table, `aggregate` it, and write the table `out` (.parquet).

    split: only rows of this split. columns: our name -> that of the table (`open_predictions`).
    command: the command line, kept in the metadata. Returns what `aggregation` in the metadata
    tells. Raises PredictionError, and WriteError where the disk refuses.
    """
    out = Path(out)
    check_output(out)
    table = open_predictions(predictions, heavy=("embedding",), columns=columns, calls=True)
    if split is not None:
        table = of_split(table, split)
    found = aggregate(table, by, how=how, ties=ties)
    earlier = found.metadata.get("command")
    commands = earlier if isinstance(earlier, dict) else {"predict": earlier}
    found.metadata["command"] = commands | {"aggregate": command}
    write_predictions(out, found)
    told: dict[str, Any] = found.metadata["aggregation"]
    return told


def _one_value_each(path: Path, frame: pd.DataFrame, names: pd.Series) -> dict[str, pd.Series]:
    """The columns with one value in every place, one row for each place, in order."""
    by_place = frame.groupby(names.to_numpy(), sort=False)
    kept: dict[str, pd.Series] = {}
    for name in map(str, frame.columns):
        if name in OF_ONE_IMAGE or name.startswith(PROBABILITY) or name in MADE:
            continue
        try:
            values = by_place[name].nunique(dropna=name in ONE_OR_REFUSED)
        except TypeError:
            continue  # a column of lists
        if (values <= 1).all():
            # the first that is not null, and null where all are
            kept[name] = by_place[name].first().reset_index(drop=True)
        elif name in ONE_OR_REFUSED:
            place = values.index[int((values > 1).to_numpy().argmax())]
            there = frame[name][(names == place).to_numpy()].dropna().astype(str).unique()
            raise PredictionError(
                f"{path}: {place} holds rows of {name} {', '.join(sorted(there))}, expected one "
                f"{name} in each place; {int((values > 1).sum())} places are like this: "
                f"{ONE_OR_REFUSED[name]}"
            )
    return kept


def _sums(index: NDArray[np.intp], values: NDArray[Any], groups: int) -> NDArray[Any]:
    """The sum of values (N, K) over each group: (G, K)."""
    return np.asarray(indicator(index, groups).T @ values)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

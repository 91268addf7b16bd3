"""A model beside the annotators of a panel, as if it were one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from deadlib.annotation import labels_decided
from deadlib.annotation.concordance import Pair, pair_of, units_of
from deadlib.annotation.words import percent, percent_interval
from deadlib.bootstrap import Resampling, limits, number
from deadlib.errors import PredictionError
from deadlib.pages import Remark, Section, fragment
from deadlib.panel.queue import matches, paths_of
from deadlib.predictions import PredictionTable, open_predictions
from tfrecords_tools.annotations import UNSURE

MODEL = "the model"
AGREED = "what several annotators agree on"
DECIDED = "what was adjudicated"


def as_annotator(
    predictions: Path,
    items: pd.DataFrame,
    responses: pd.DataFrame,
    adjudications: pd.DataFrame,
    classes: Sequence[str],
    resampling: Resampling,
) -> Section:
    """How far a model's answers agree with those of each annotator, and with what is settled.

    items: as items.parquet has them; responses: one row per annotator and item. Raises
    PredictionError where the table cannot be read, has other classes, or is about none of the
    items.
    """
    table = open_predictions(predictions, heavy=paths_of(predictions))
    # a conversion writes the published classes small
    spelt = {name.casefold(): name for name in classes}
    spelling = tuple(spelt.get(name.casefold(), name) for name in table.classes)
    table = replace(table, classes=spelling)
    unknown = [name for name in table.classes if name not in classes]
    if unknown:
        raise PredictionError(
            f"{predictions}: the model answers {', '.join(table.classes)}, the panel asks for "
            f"{', '.join(classes)}; give a table with these classes"
        )
    calls = calls_of(table, items[items["item"].isin(responses["item"])])
    if calls.empty:
        raise PredictionError(
            f"{predictions}: no prediction is about an item that was answered, such as "
            f" {responses['item'].iloc[0]}; predict the images of the panel"
        )
    unit_of = units_of(responses)[1]
    said = {str(who): rows for who, rows in responses.groupby("annotator")}
    references = {who: rows.set_index("item")["response"] for who, rows in said.items()}
    references[AGREED] = agreed(responses)
    references[DECIDED] = labels_decided(adjudications)
    pairs = [
        pair_of(
            (name, MODEL), (reference[reference != UNSURE], calls), classes, unit_of, resampling
        )
        for name, reference in references.items()
    ]
    found = [pair for pair in pairs if pair is not None]
    sentence = _words(found, len(calls), responses["item"].nunique())
    html = fragment(
        "deadlib.panel",
        "templates/results_model.html",
        (),
        pairs=found,
        words=sentence,
        percent=percent,
        percent_interval=percent_interval,
        level=f"{100 * resampling.level:g}",
    )
    seen = table.metadata.get("seen_in_training")
    remarks = [Remark(sentence)]
    if seen:
        remarks.append(
            Remark(
                f"The model was trained on {seen:,} of the images of {predictions.name}: what it "
                "says of these it may only remember.",
                "warning",
            )
        )
    numbers = {
        "predictions": str(predictions),
        "items_with_a_prediction": len(calls),
        "pairs": [pair.to_json() for pair in found],
    }
    return Section(
        "model", "The model as one more annotator", html, numbers, remarks=tuple(remarks)
    )


def calls_of(table: PredictionTable, items: pd.DataFrame) -> pd.Series:
    """The most probable class of each item that the table is about, by item.

    items: as items.parquet has them; of several rows about an item the mean probability counts.
    """
    item, row = matches(items, table.frame)
    means = pd.DataFrame(table.probabilities[row]).groupby(item).mean()
    called = np.array(table.classes, object)[means.to_numpy().argmax(axis=1)]
    return pd.Series(called, index=items["item"].to_numpy()[means.index])


def agreed(responses: pd.DataFrame) -> pd.Series:
    """The class that several annotators named, and nobody another or none, by item."""
    said = responses.groupby("item")["response"].agg(["nunique", "size", "first"])
    kept = said[(said["nunique"] == 1) & (said["size"] > 1) & (said["first"] != UNSURE)]
    return kept["first"]


def _words(pairs: Sequence[Pair], predicted: int, items: int) -> str:
    told = next((pair for pair in pairs if pair.first == DECIDED), None)
    told = next((pair for pair in pairs if pair.first == AGREED), told)
    begin = f"The model answers {predicted:,} of the {items:,} items"
    if told is None:
        return f"{begin}; on none of them there is a label of several annotators to compare with."
    return (
        f"{begin}. On {told.items:,} of them it can be compared with {told.first}, and says the "
        f"same of {percent(told.agreement)} ({percent_interval(told.agreement)}); beyond chance "
        f"{number(told.kappa)} ({limits(told.kappa) or told.kappa.reason})."
    )

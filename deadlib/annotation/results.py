"""Everything that the log of a panel tells of its annotators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deadlib.annotation.adjudication import Standing, labels_decided, standing
from deadlib.annotation.concordance import HEALTHY, Concordance, concordance_of
from deadlib.annotation.confusion import (
    Confusion,
    Judged,
    against_decided,
    against_others,
    two_by_two,
)
from deadlib.annotation.pace import Drift, Pace, drifts, pace
from deadlib.annotation.repeats import REPEAT, Repeated, repeated
from deadlib.bootstrap import Resampling

SHOWN = "shown"
"""Served with its label, in a trial: what is answered then is no answer."""


@dataclass(frozen=True)
class Results:
    """What the answers of a panel say, as far as it got.

    against_others, pairs: tables of answers against answers; judged: annotators beside the
    adjudicated labels; repeated: beside themselves; by_annotator, by_answer: times; drifts: None
    where items do not come in random order, so that a trend may be one of the items; withdrawn:
    answers that were taken back.
    """

    concordance: Concordance
    standing: Standing
    against_others: list[Confusion]
    pairs: list[Confusion]
    judged: list[Judged]
    repeated: list[Repeated]
    by_annotator: list[Pace]
    by_answer: list[Pace]
    drifts: list[Drift] | None
    withdrawn: int

    def to_json(self) -> dict[str, Any]:
        return {
            **self.concordance.to_json(),
            "standing": self.standing.to_json(),
            "withdrawn_answers": self.withdrawn,
            "confusion_with_the_others": [one.to_json() for one in self.against_others],
            "confusion_two_by_two": [one.to_json() for one in self.pairs],
            "against_adjudicated_labels": [one.to_json() for one in self.judged],
            "repeated_items": [one.to_json() for one in self.repeated],
            "seconds_by_annotator": [one.to_json() for one in self.by_annotator],
            "seconds_by_answer": [one.to_json() for one in self.by_answer],
            "drift": None if self.drifts is None else [one.to_json() for one in self.drifts],
        }


def results_of(
    log: pd.DataFrame,
    *,
    responses: pd.DataFrame | None = None,
    adjudications: pd.DataFrame | None = None,
    classes: Sequence[str] = (),
    healthy: str = HEALTHY,
    random_order: bool = True,
    resampling: Resampling | None = None,
) -> Results | None:
    """All figures on a log; None where nothing was answered.

    log: one row per event with annotator, item, number (the order for each annotator), served
    (fresh, overlap, repeat or of a trial), response (null where none was asked for), seconds,
    withdrawn, and what is known of the item. responses: what counts of it, one row per annotator
    and item; else the answers to items that are no repeats, the last of each. adjudications: item
    and label, in the order in which they were made.
    """
    resampling = resampling or Resampling()
    given = answers_of(log)
    if responses is None:
        fresh = given[given["served"] != REPEAT].sort_values("number")
        responses = fresh.drop_duplicates(["annotator", "item"], keep="last")
    if responses.empty:
        return None
    found = concordance_of(responses, classes=classes, healthy=healthy, resampling=resampling)
    decided = labels_decided(adjudications)
    answers = (*found.answers, *sorted(set(decided) - set(found.answers)))
    return Results(
        concordance=found,
        standing=standing(responses, set(decided.index)),
        against_others=against_others(responses, found.answers),
        pairs=two_by_two(responses, found.answers),
        judged=against_decided(responses, decided, answers, resampling),
        repeated=repeated(given, found.answers, resampling),
        by_annotator=pace(given, "annotator"),
        by_answer=pace(given, "response", found.answers),
        # what comes again is alike what came before, and comes late
        drifts=drifts(given[given["served"] != REPEAT], found.answers, resampling)
        if random_order
        else None,
        withdrawn=int(_withdrawn(log).sum()),
    )


def answers_of(log: pd.DataFrame) -> pd.DataFrame:
    """The events that are answers and were not taken back."""
    return log[~_withdrawn(log) & log["response"].notna() & (log["served"] != SHOWN)]


def _withdrawn(log: pd.DataFrame) -> pd.Series:
    return log["withdrawn"].astype(bool)

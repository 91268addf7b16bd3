"""Items on which annotators do not agree, and what an adjudicator makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tfrecords_tools.annotations import DISAGREEMENT, UNSURE


@dataclass(frozen=True)
class Standing:
    """How far the panel is: items that were answered, and what became of them.

    alone: agreed items that one annotator alone has answered; decided: of the disputed ones, by an
    adjudicator; open: the rest of them.
    """

    items: int
    agreed: int
    alone: int
    disagreements: int
    unsure: int
    decided: int

    @property
    def disputed(self) -> int:
        return self.disagreements + self.unsure

    @property
    def open(self) -> int:
        return self.disputed - self.decided

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "disputed": self.disputed, "open": self.open}


def disputed(
    responses: pd.DataFrame, *, by: str | None = None, decided: Collection[str] = (), seed: int = 0
) -> pd.DataFrame:
    """The items that an adjudicator has still to decide, in an order that tells nothing.

    responses: one row per annotator and item (annotator, item, response). by: the adjudicator, who
    is given no item that they answered themselves. decided: items that have a label already. Each
    item keeps its place as others come in.

    Returns item, why (disagreement: two classes were named; unsure: one class at most), answers
    (how many), and one column `votes` of dicts, answer -> how often.
    """
    rows: list[dict[str, Any]] = []
    for item, answers in responses.groupby("item", sort=False):
        votes = answers["response"].value_counts()
        agreed = len(votes) == 1 and UNSURE not in votes
        if agreed or item in decided or (by and answered_by(answers, by)):
            continue
        classes = set(votes.index) - {UNSURE}
        rows.append(
            {
                "item": item,
                "why": DISAGREEMENT if len(classes) > 1 else UNSURE,
                "answers": len(answers),
                "votes": {str(answer): int(count) for answer, count in sorted(votes.items())},
            }
        )
    rows.sort(key=lambda row: hashlib.sha256(f"{seed}/{row['item']}".encode()).digest())
    return pd.DataFrame(rows, columns=["item", "why", "answers", "votes"])


def answered_by(answers: pd.DataFrame, name: str) -> bool:
    """Whether one of the answers is by somebody of this name; capitals make no difference."""
    return name.casefold() in {str(who).casefold() for who in answers["annotator"]}


def labels_decided(adjudications: pd.DataFrame | None) -> pd.Series:
    """The label that the last adjudication gave to each item, by item.

    adjudications: the columns item and label, in the order in which they were made.
    """
    if adjudications is None or adjudications.empty:
        return pd.Series(dtype=object, name="label")
    return adjudications.drop_duplicates("item", keep="last").set_index("item")["label"]


def standing(responses: pd.DataFrame, decided: Collection[str] = ()) -> Standing:
    """What became of the items that were answered. decided: items with an adjudicated label."""
    every = disputed(responses)
    counts = responses["item"].value_counts()
    agreed = counts.drop(every["item"])
    return Standing(
        items=len(counts),
        agreed=len(agreed),
        alone=int((agreed == 1).sum()),
        disagreements=int((every["why"] == DISAGREEMENT).sum()),
        unsure=int((every["why"] == UNSURE).sum()),
        decided=int(every["item"].isin(list(decided)).sum()),
    )

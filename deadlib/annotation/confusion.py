"""What one annotator calls what others call: tables of answers against answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.annotation.concordance import rate, units_of
from deadlib.bootstrap import Estimate, Resampling
from tfrecords_tools.annotations import UNSURE

Counts = NDArray[np.int64]
NONE_DECIDED = "none of the decided items was answered by this annotator with a class"


@dataclass(frozen=True)
class Confusion:
    """Answers of one annotator against those of a reference on the same items.

    counts (K, K): rows are what the reference says, columns what the annotator does, both in the
    order of `answers`.
    """

    annotator: str
    reference: str
    answers: tuple[str, ...]
    counts: Counts

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of each row, (K, K); a row without any answer is 0."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def to_json(self) -> dict[str, Any]:
        return {
            "annotator": self.annotator,
            "reference": self.reference,
            "rows_and_columns": list(self.answers),
            "counts": self.counts.tolist(),
        }


@dataclass(frozen=True)
class Judged:
    """An annotator beside the decided labels.

    right: of `sure` answers, those with a class to items that were given a class; unsure: answers.
    """

    confusion: Confusion
    sure: int
    right: int
    unsure: int
    share: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            **self.confusion.to_json(),
            "answers_with_a_class": self.sure,
            "right": self.right,
            "unsure": self.unsure,
            "share_right": self.share.to_json(),
        }


def against_others(responses: pd.DataFrame, answers: Sequence[str]) -> list[Confusion]:
    """Each annotator against every answer that the others gave to the same items.

    responses: one row per annotator and item. Annotators who share no item are left out.
    """
    names, counts = _everybody(responses, answers)
    found = [
        Confusion(name, "the others", tuple(answers), counts[:, place].sum(axis=0))
        for place, name in enumerate(names)
    ]
    return [one for one in found if one.total]


def two_by_two(responses: pd.DataFrame, answers: Sequence[str]) -> list[Confusion]:
    """Every two annotators who share an item, the first of them in the rows."""
    names, counts = _everybody(responses, answers)
    found = [
        Confusion(names[second], names[first], tuple(answers), counts[first, second])
        for first, second in combinations(range(len(names)), 2)
    ]
    return [one for one in found if one.total]


def against_decided(
    responses: pd.DataFrame, decided: pd.Series, answers: Sequence[str], resampling: Resampling
) -> list[Judged]:
    """Each annotator against the labels that an adjudicator gave. decided: label by item."""
    unit_of = units_of(responses)[1]
    there = responses[responses["item"].isin(decided.index)]
    found = []
    for who, rows in there.groupby("annotator"):
        label = rows["item"].map(decided)
        sure = (rows["response"] != UNSURE) & (label != UNSURE)
        right = np.asarray((rows["response"] == label)[sure], np.float64)
        found.append(
            Judged(
                confusion=Confusion(
                    str(who),
                    "adjudicated",
                    tuple(answers),
                    crossed(label, rows["response"], answers),
                ),
                sure=int(sure.sum()),
                right=int(right.sum()),
                unsure=int((rows["response"] == UNSURE).sum()),
                share=rate(right, rows["item"][sure].map(unit_of), resampling)
                if sure.any()
                else Estimate(None, reason=NONE_DECIDED),
            )
        )
    return found


def mixed_up(confusions: Sequence[Confusion]) -> tuple[str, str, float] | None:
    """The two classes that are taken for each other most, and how often of all pairs of answers
    that name one of these two and no third; None where no two answers differ. Unsure is no class.

    confusions: of every two annotators.
    """
    if not confusions:
        return None
    answers = confusions[0].answers
    counts = sum((one.counts for one in confusions), np.zeros_like(confusions[0].counts))
    counts = counts + counts.T
    places = [place for place, name in enumerate(answers) if name != UNSURE]
    pairs = [(counts[a, b], a, b) for a in places for b in places if a < b and counts[a, b]]
    if not pairs:
        return None
    differing, a, b = max(pairs, key=lambda pair: int(pair[0]))
    # the diagonal of the sum holds every pair twice, and so does an entry with its mirror image
    return (
        answers[a],
        answers[b],
        float(2 * differing / (2 * differing + counts[a, a] + counts[b, b])),
    )


def _everybody(responses: pd.DataFrame, answers: Sequence[str]) -> tuple[list[str], Counts]:
    """Names, and (A, A, K, K): how often the first answers k where the second answers l."""
    table = pd.DataFrame(
        {
            "item": responses["item"].to_numpy(),
            "who": pd.Categorical(responses["annotator"].astype(str)).codes,
            "said": pd.Index(answers).get_indexer(pd.Index(responses["response"])),
        }
    )
    both = table.merge(table, on="item", suffixes=("", "_other"))
    both = both[both["who"] != both["who_other"]]
    names = sorted(set(responses["annotator"].astype(str)))
    shape = (len(names), len(names), len(answers), len(answers))
    cells = np.ravel_multi_index(
        [both[name].to_numpy(np.int64) for name in ("who", "who_other", "said", "said_other")],
        shape,
    )
    return names, np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


def crossed(rows: pd.Series, columns: pd.Series, answers: Sequence[str]) -> Counts:
    """How often each two answers meet, (K, K), in the order of `answers`."""
    table = pd.crosstab(rows.to_numpy(), columns.to_numpy())
    found = table.reindex(index=list(answers), columns=list(answers), fill_value=0)
    return found.to_numpy(np.int64)

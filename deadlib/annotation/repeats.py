"""Annotators against themselves: items that were served to them a second time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deadlib.annotation.agreement import cohens_kappa
from deadlib.annotation.concordance import figure, rate, units_of
from deadlib.bootstrap import Estimate, Resampling

REPEAT = "repeat"


@dataclass(frozen=True)
class Repeated:
    """One annotator's second answers beside the ones before, unsure being an answer like others.

    between: the median number of answers from one to the other.
    """

    annotator: str
    pairs: int
    same: int
    between: float
    agreement: Estimate
    kappa: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "annotator": self.annotator,
            "pairs": self.pairs,
            "same": self.same,
            "median_answers_between": self.between,
            "agreement": self.agreement.to_json(),
            "kappa": self.kappa.to_json(),
        }


def repeated(log: pd.DataFrame, answers: Sequence[str], resampling: Resampling) -> list[Repeated]:
    """Every annotator who was served an item again, in alphabetical order.

    log: answers that count, with the columns annotator, item, number (their order for each
    annotator), served (`repeat` for those served again), response.
    """
    ordered = log.sort_values(["annotator", "number"])
    before = ordered.groupby(["annotator", "item"])[["response", "number"]].shift()
    pairs = ordered.assign(first=before["response"], gap=ordered["number"] - before["number"])
    pairs = pairs[(pairs["served"] == REPEAT) & pairs["first"].notna()]
    unit_of = units_of(log)[1]
    place = {name: number for number, name in enumerate(answers)}
    found = []
    for who, rows in pairs.groupby("annotator"):
        first, second = (rows[name].map(place).to_numpy(int) for name in ("first", "response"))
        units = rows["item"].map(unit_of)
        same = first == second
        found.append(
            Repeated(
                annotator=str(who),
                pairs=len(rows),
                same=int(same.sum()),
                between=float(rows["gap"].median()),
                agreement=rate(same.astype(np.float64), units, resampling),
                kappa=figure(cohens_kappa(first, second), units, resampling),
            )
        )
    return found

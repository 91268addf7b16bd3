"""From a log of responses to all the numbers on how far annotators agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from deadlib.annotation.agreement import (
    Floats,
    cohens_kappa,
    disagreement,
    krippendorffs_alpha,
)
from deadlib.annotation.ambiguity import implied_estimates
from deadlib.bootstrap import Estimate, Resampling, binomial_interval, estimates
from tfrecords_tools.annotations import UNSURE

SCHEMA_VERSION = 1
HEALTHY = "healthy"


@dataclass(frozen=True)
class Answers:
    """How often each answer was given, in the order of `Concordance.answers`."""

    name: str
    counts: dict[str, int]
    overlapping: int
    disagreements: int

    @property
    def responses(self) -> int:
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "responses": self.responses,
            "counts": self.counts,
            "overlapping_items": self.overlapping,
            "disagreements": self.disagreements,
        }


@dataclass(frozen=True)
class Pair:
    """Two annotators on the items that both answered, neither of them with unsure."""

    first: str
    second: str
    items: int
    agreement: Estimate
    kappa: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "annotators": [self.first, self.second],
            "items": self.items,
            "agreement": self.agreement.to_json(),
            "kappa": self.kappa.to_json(),
        }


@dataclass(frozen=True)
class Unexposed:
    """Responses to items without any dose, unsure left out: how many say what must be true."""

    expected: str
    responses: int
    right: int
    unsure: int
    share: Estimate


@dataclass(frozen=True)
class Concordance:
    """All figures on a log of responses.

    classes: the answers besides unsure; answers: those and unsure; overlapping: items with several
    annotators and no unsure, disagreements: those of them with different answers; kept: items that
    pass the filter, kept_alone: those of them with one annotator; most_annotators: of an
    overlapping item; unit: what intervals are drawn over, position or item. implied: the fields of
    `ambiguity.Implied`.
    """

    classes: tuple[str, ...]
    answers: tuple[str, ...]
    annotators: tuple[str, ...]
    responses: int
    items: int
    overlapping: int
    disagreements: int
    kept: int
    kept_alone: int
    most_annotators: int
    unit: str
    units: int
    resampling: Resampling
    disagreement: Estimate
    implied: dict[str, Estimate]
    implied_alone: dict[str, Estimate]
    alpha: Estimate
    by_annotator: list[Answers]
    by_dose: list[Answers]
    pairs: list[Pair]
    unexposed: Unexposed | None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "classes": list(self.classes),
            "annotators": list(self.annotators),
            "responses": self.responses,
            "items": self.items,
            "interval": {
                "level": self.resampling.level,
                "unit": self.unit,
                "resamples": self.resampling.resamples,
                "seed": self.resampling.seed,
            },
            "filter": {"kept": self.kept, "kept_with_one_annotator": self.kept_alone},
            "overlapping_items": self.overlapping,
            "overlapping_units": self.units,
            "disagreements": self.disagreements,
            "disagreement": self.disagreement.to_json(),
            "implied": _to_json(self.implied),
            "implied_for_items_with_one_annotator": _to_json(self.implied_alone),
            "krippendorffs_alpha": self.alpha.to_json(),
            "by_annotator": [found.to_json() for found in self.by_annotator],
            "by_dose": [found.to_json() for found in self.by_dose],
            "pairs": [pair.to_json() for pair in self.pairs],
            "unexposed": {
                "expected": self.unexposed.expected,
                "responses": self.unexposed.responses,
                "right": self.unexposed.right,
                "unsure": self.unexposed.unsure,
                "share": self.unexposed.share.to_json(),
            }
            if self.unexposed
            else None,
        }


def concordance_of(
    responses: pd.DataFrame, *, healthy: str = HEALTHY, resampling: Resampling | None = None
) -> Concordance:
    """How far annotators agree, and what that implies.

    responses: one row per annotator and item with the columns annotator, item, response and, where
    known, position and light_dose_s, as `tfrecords_tools.annotations.read_annotations` returns
    them; any number of annotators and of classes beside unsure. healthy: the class that an item
    without dose (light_dose_s 0) truly has. Intervals are over positions, whose items are alike,
    or over items where no position is known.
    """
    resampling = resampling or Resampling()
    said = set(responses["response"]) - {UNSURE}
    # the healthy class first, as a figure is read from the bottom
    classes = tuple(sorted(said, key=lambda name: (name != healthy, name)))
    unit = "position" if _known(responses, "position").all() else "item"
    items = _by_item(responses, classes, unit)
    several = items[(items["answers"] > 1) & (items[UNSURE] == 0)]
    counts = several[list(classes)].to_numpy(float)
    differing = disagreement(counts)
    rate = _rate(differing, several["unit"], resampling)
    width = max(2, len(classes))
    by_chance = width ** (1.0 - counts.sum(axis=1))
    alike = items[(items[UNSURE] == 0) & (items[list(classes)].gt(0).sum(axis=1) == 1)]
    dose = items["dose"]
    doses = sorted(dose.dropna().unique())
    return Concordance(
        classes=classes,
        answers=(*classes, UNSURE),
        annotators=tuple(sorted(responses["annotator"].unique())),
        responses=len(responses),
        items=len(items),
        overlapping=len(several),
        disagreements=int((differing > 0).sum()),
        kept=len(alike),
        kept_alone=int((alike["answers"] == 1).sum()),
        most_annotators=int(several["answers"].max()) if len(several) else 0,
        unit=unit,
        units=several["unit"].nunique(),
        resampling=resampling,
        disagreement=rate,
        implied=implied_estimates(
            rate, classes=width, passing=float(by_chance.mean()) if len(several) else 1 / width
        ),
        implied_alone=implied_estimates(rate, classes=width, passing=1.0),
        alpha=_figure(partial(krippendorffs_alpha, counts), several["unit"], resampling),
        by_annotator=[
            _answers(name, rows, classes, several, differing)
            for name, rows in responses.groupby("annotator")
        ],
        by_dose=[
            _answers(
                np.format_float_positional(value, trim="-"),
                responses[responses["item"].isin(dose.index[dose == value])],
                classes,
                several,
                differing,
            )
            for value in doses
        ],
        pairs=_pairs(responses, classes, items["unit"], resampling),
        unexposed=_unexposed(responses, items, healthy, resampling),
    )


def _by_item(responses: pd.DataFrame, classes: tuple[str, ...], unit: str) -> pd.DataFrame:
    """One row per item: how often each answer was given, `answers` in all, its unit and dose."""
    counts = pd.crosstab(responses["item"], responses["response"])
    counts = counts.reindex(columns=[*classes, UNSURE], fill_value=0)
    first = responses.drop_duplicates("item").set_index("item").reindex(counts.index)
    return counts.assign(
        answers=counts.sum(axis=1),
        unit=counts.index if unit == "item" else first[unit],
        dose=first.get("light_dose_s", np.nan),
    )


def _answers(
    name: object,
    rows: pd.DataFrame,
    classes: tuple[str, ...],
    several: pd.DataFrame,
    differing: Floats,
) -> Answers:
    given = rows["response"].value_counts()
    there = several.index.isin(rows["item"].unique())
    return Answers(
        name=str(name),
        counts={answer: int(given.get(answer, 0)) for answer in (*classes, UNSURE)},
        overlapping=int(there.sum()),
        disagreements=int((differing[there] > 0).sum()),
    )


def _pairs(
    responses: pd.DataFrame,
    classes: tuple[str, ...],
    unit_of: pd.Series,
    resampling: Resampling,
) -> list[Pair]:
    """Every two annotators who share an item, in alphabetical order."""
    number = {name: place for place, name in enumerate(classes)}
    sure = responses[responses["response"] != UNSURE]
    table = sure.pivot(index="item", columns="annotator", values="response")
    found = []
    for first, second in combinations(table.columns, 2):
        shared = table[[first, second]].dropna()
        if shared.empty:
            continue
        one, other = (shared[name].map(number).to_numpy() for name in (first, second))
        units = unit_of[shared.index]
        found.append(
            Pair(
                first=str(first),
                second=str(second),
                items=len(shared),
                agreement=_rate((one == other).astype(np.float64), units, resampling),
                kappa=_figure(partial(cohens_kappa, one, other), units, resampling),
            )
        )
    return found


def _unexposed(
    responses: pd.DataFrame, items: pd.DataFrame, healthy: str, resampling: Resampling
) -> Unexposed | None:
    unexposed = responses[responses["item"].isin(items.index[items["dose"] == 0])]
    sure = unexposed[unexposed["response"] != UNSURE]
    if sure.empty or healthy not in items:
        return None
    right = np.asarray(sure["response"] == healthy, np.float64)
    return Unexposed(
        expected=healthy,
        responses=len(sure),
        right=int(right.sum()),
        unsure=len(unexposed) - len(sure),
        share=_rate(right, sure["item"].map(items["unit"]), resampling),
    )


def _rate(values: Floats, units: pd.Series, resampling: Resampling) -> Estimate:
    """Mean of values in 0..1; exact binomial where each is 0 or 1 and no two share a unit."""
    if len(values) and not units.duplicated().any() and np.isin(values, (0, 1)).all():
        hits = int(values.sum())
        limits = binomial_interval(hits, len(values), resampling.tail)
        return Estimate(hits / len(values), *limits, "binomial")

    def mean(weights: Floats) -> Floats:
        return np.asarray(weights @ values / weights.sum(axis=1))

    return _figure(mean, units, resampling, is_rate=True)


def _figure(
    statistic: Callable[[Floats], Floats],
    units: pd.Series,
    resampling: Resampling,
    *,
    is_rate: bool = False,
) -> Estimate:
    """A figure, weights (B, N) -> (B,), with its interval over units."""
    if units.empty:
        return Estimate(None, reason="no item has two answers, none of them unsure")
    index = pd.factorize(units)[0].astype(np.intp)
    behind = int(index.max()) + 1 if is_rate else 0
    return estimates(
        lambda weights: statistic(weights)[:, None], index, np.array([behind]), resampling
    )[0]


def _known(responses: pd.DataFrame, column: str) -> pd.Series:
    if column in responses:
        return responses[column].notna()
    return pd.Series(False, index=responses.index)


def _to_json(found: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in found.items()}

"""From a log of responses to all the numbers on how far annotators agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from deadlib.annotation.agreement import (
    Floats,
    cohens_kappa,
    disagreement,
    fleiss_kappa,
    krippendorffs_alpha,
    mean,
)
from deadlib.annotation.ambiguity import implied_estimates
from deadlib.bootstrap import Estimate, Resampling, Sums, binomial_interval, estimates
from tfrecords_tools.annotations import UNSURE
from tfrecords_tools.split import group_columns, group_names

SCHEMA_VERSION = 2
HEALTHY = "healthy"
UNITS = ("group", "well", "position", "field", "source_id")
"""What tells which items are alike, coarse ones first: the first that is known of all items."""
LIGHT, CONCENTRATION = "light_dose_s", "concentration_um"
NOTHING_SHARED = "no item has two answers, none of them unsure"
ONE_ANSWER = "all answers are the same, so chance cannot be told from agreement"


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
class Together:
    """How far all annotators agree on the items that several answered.

    agreement: share of the pairs of answers to an item that are the same; fleiss, krippendorff:
    the same beyond chance, each in its own way.
    """

    items: int
    agreement: Estimate
    fleiss: Estimate
    krippendorff: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "agreement": self.agreement.to_json(),
            "fleiss_kappa": self.fleiss.to_json(),
            "krippendorffs_alpha": self.krippendorff.to_json(),
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
    overlapping item; unit: what intervals are drawn over, one of UNITS or item. implied: the fields
    of `ambiguity.Implied`. together: on the overlapping items; with_unsure: on all that several
    answered, unsure being an answer like the others. dose: what `by_dose` is by.
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
    together: Together
    with_unsure: Together
    by_annotator: list[Answers]
    dose: str
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
            "agreement": self.together.to_json(),
            "agreement_with_unsure_as_an_answer": self.with_unsure.to_json(),
            "by_annotator": [found.to_json() for found in self.by_annotator],
            "dose": self.dose,
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
    responses: pd.DataFrame,
    *,
    classes: Sequence[str] = (),
    healthy: str = HEALTHY,
    resampling: Resampling | None = None,
) -> Concordance:
    """How far annotators agree, and what that implies.

    responses: one row per annotator and item with the columns annotator, item, response and
    whatever is known of the items, as `tfrecords_tools.annotations.read_annotations` returns them;
    any number of annotators and of classes beside unsure. classes: those that could be answered,
    in their order; what else was answered follows. healthy: the class that an item without dose
    (light_dose_s 0) truly has. Intervals are over groups of items that are alike (UNITS), or over
    items where nothing tells them. Doses are seconds of light, else treatments and concentrations.
    """
    resampling = resampling or Resampling()
    said = set(responses["response"]) - {UNSURE} - set(classes)
    # the healthy class first, as a figure is read from the bottom
    classes = (*classes, *sorted(said, key=lambda name: (name != healthy, name)))
    unit, units = units_of(responses)
    items = _by_item(responses, classes, units)
    several = items[(items["answers"] > 1) & (items[UNSURE] == 0)]
    counts = several[list(classes)].to_numpy(float)
    differing = disagreement(counts)
    differ = rate(differing, several["unit"], resampling)
    width = max(2, len(classes))
    by_chance = width ** (1.0 - counts.sum(axis=1))
    alike = items[(items[UNSURE] == 0) & (items[list(classes)].gt(0).sum(axis=1) == 1)]
    subject, dose_of = _doses(responses)
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
        disagreement=differ,
        implied=implied_estimates(
            differ, classes=width, passing=float(by_chance.mean()) if len(several) else 1 / width
        ),
        implied_alone=implied_estimates(differ, classes=width, passing=1.0),
        together=_together(several, classes, resampling),
        with_unsure=_together(items[items["answers"] > 1], (*classes, UNSURE), resampling),
        by_annotator=[
            _answers(name, rows, classes, several, differing)
            for name, rows in responses.groupby("annotator")
        ],
        dose=subject,
        by_dose=[
            _answers(name, rows, classes, several, differing)
            for name, rows in responses.groupby(dose_of, observed=True)
        ],
        pairs=_pairs(responses, classes, items["unit"], resampling),
        unexposed=_unexposed(responses, items, healthy, resampling),
    )


def units_of(responses: pd.DataFrame) -> tuple[str, pd.Series]:
    """What tells which items are alike, and the unit of each item, by item.

    A well is one of its plate, a field one of its well, where these are known.
    """
    items = responses.drop_duplicates("item").set_index("item", drop=False)
    unit = next((n for n in UNITS if known(responses, n).any() and known(responses, n).all()), None)
    if unit is None:
        return "item", items["item"]
    return unit, group_names(items, group_columns((unit,), list(items.columns)))


def known(responses: pd.DataFrame, column: str) -> pd.Series:
    """Which rows have a value there."""
    if column in responses:
        return responses[column].notna()
    return pd.Series(False, index=responses.index)


def _by_item(responses: pd.DataFrame, classes: Sequence[str], units: pd.Series) -> pd.DataFrame:
    """One row per item: how often each answer was given, `answers` in all, its unit and dose."""
    counts = pd.crosstab(responses["item"], responses["response"])
    counts = counts.reindex(columns=[*classes, UNSURE], fill_value=0)
    first = responses.drop_duplicates("item").set_index("item").reindex(counts.index)
    return counts.assign(
        answers=counts.sum(axis=1),
        unit=units.reindex(counts.index),
        dose=first.get(LIGHT, np.nan),
    )


def _doses(responses: pd.DataFrame) -> tuple[str, pd.Series]:
    """What the doses are, and the name of that of each response, ordered; null where unknown."""
    if known(responses, LIGHT).any():
        return "light dose in s", _ordered(responses[[LIGHT]])
    columns = [name for name in ("treatment", CONCENTRATION) if known(responses, name).any()]
    if not columns:
        return "dose", pd.Series(None, index=responses.index, dtype=object)
    subject = {"treatment": "treatment", CONCENTRATION: "concentration in µM"}
    return " and ".join(subject[name] for name in columns), _ordered(responses[columns])


def _ordered(levels: pd.DataFrame) -> pd.Series:
    """One name per row, null where all levels are, categories in the order of the levels."""
    told = levels.dropna(how="all").sort_values(list(levels.columns), na_position="first")
    names = told.apply(
        lambda row: " ".join(_level(value) for value in row if pd.notna(value)), axis=1
    )
    return pd.Series(
        pd.Categorical(names.reindex(levels.index), categories=list(dict.fromkeys(names))),
        index=levels.index,
    )


def _level(value: object) -> str:
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


def _together(items: pd.DataFrame, answers: Sequence[str], resampling: Resampling) -> Together:
    counts = items[list(answers)].to_numpy(float)
    same = 1 - disagreement(counts)
    return Together(
        items=len(items),
        agreement=rate(same, items["unit"], resampling),
        fleiss=figure(fleiss_kappa(counts), items["unit"], resampling),
        krippendorff=figure(krippendorffs_alpha(counts), items["unit"], resampling),
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
    classes: Sequence[str],
    unit_of: pd.Series,
    resampling: Resampling,
) -> list[Pair]:
    """Every two annotators who share an item, in alphabetical order."""
    sure = responses[responses["response"] != UNSURE]
    said = {str(who): rows.set_index("item")["response"] for who, rows in sure.groupby("annotator")}
    found = [
        pair_of((first, second), (said[first], said[second]), classes, unit_of, resampling)
        for first, second in combinations(said, 2)
    ]
    return [pair for pair in found if pair is not None]


def pair_of(
    names: tuple[str, str],
    said: tuple[pd.Series, pd.Series],
    classes: Sequence[str],
    unit_of: pd.Series,
    resampling: Resampling,
) -> Pair | None:
    """Two who gave classes to items; None where they share none. said, unit_of: by item."""
    items = said[0].index.intersection(said[1].index)
    if items.empty:
        return None
    one, other = (pd.Index(classes).get_indexer(pd.Index(given[items])) for given in said)
    units = unit_of[items]
    return Pair(
        first=names[0],
        second=names[1],
        items=len(items),
        agreement=rate((one == other).astype(np.float64), units, resampling),
        kappa=figure(cohens_kappa(one, other), units, resampling),
    )


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
        share=rate(right, sure["item"].map(items["unit"]), resampling),
    )


def rate(values: Floats, units: pd.Series, resampling: Resampling) -> Estimate:
    """Mean of values in 0..1; exact binomial where each is 0 or 1 and no two share a unit."""
    if len(values) and not units.duplicated().any() and np.isin(values, (0, 1)).all():
        hits = int(values.sum())
        limits = binomial_interval(hits, len(values), resampling.tail)
        return Estimate(hits / len(values), *limits, "binomial")
    return figure(mean(values), units, resampling, is_rate=True)


def figure(
    statistic: Sums, units: pd.Series, resampling: Resampling, *, is_rate: bool = False
) -> Estimate:
    """A figure with its interval over units, one for each of the N items that it is of."""
    if units.empty:
        return Estimate(None, reason=NOTHING_SHARED)
    index = pd.factorize(units)[0].astype(np.intp)
    behind = int(index.max()) + 1 if is_rate else 0
    found = estimates(statistic, index, np.array([behind]), resampling)[0]
    return found if found.value is not None else replace(found, reason=found.reason or ONE_ANSWER)


def _to_json(found: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in found.items()}

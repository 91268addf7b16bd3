"""One control: a score, how well it tells the classes, and how well among images of one plate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Resampling, estimates
from deadlib.controls.probe import Probe
from deadlib.controls.ranking import Pairs, pairs_of, shares_right
from deadlib.controls.shuffling import Dealer, folds_of, joint, units_of

Indices = NDArray[np.intp]
Floats = NDArray[np.floating]

FOLDS = 3
REPEATS = 4
FEWEST_GROUPS = 6
"""With fewer the probes are taught on units of all groups."""
FEWEST_RARER = 4
"""With fewer groups of the rarer classes within strata, pairs of one stratum prove nothing."""
BLOCKS = 200
"""More groups are drawn in so many blocks."""
TARGETS_AT_ONCE = 2**24
"""Scores held at once: permutations x examples x classes x repeats."""
ENOUGH, ENOUGH_AS_HIGH = 100, 20
"""After so many permutations, of which so many did as well, no more are drawn: chance can do it
(Besag & Clifford 1991)."""
ALARM = 0.01
"""What chance does less often than this is a finding."""

NO_STRATA = "no plate or experiment is known"

Verdict = Literal[
    "nothing",
    "too_few",
    "itself",
    "shortcut",
    "partly",
    "inseparable",
    "unclear",
    "unmeasured",
]


@dataclass(frozen=True)
class Question:
    """What is to be told, of which examples, and what could stand in for it.

    target (N,) in 0..classes-1: what is told; strata (N,): what could stand in for it, None where
    nothing is known; groups (N,): what is drawn and dealt as a whole; units (N,): below them.
    """

    target: Indices
    classes: int
    groups: Indices
    units: Indices
    strata: Indices | None

    @classmethod
    def of(
        cls, frame: pd.DataFrame, target: Indices, groups: Indices, strata: Indices | None
    ) -> Question:
        target = np.unique(target, return_inverse=True)[1].astype(np.intp)
        units = units_of(frame, groups, target)
        return cls(target, int(target.max()) + 1, groups, units, strata)

    @property
    def blocks(self) -> Indices:
        """(N,): the groups, or random blocks of them where there are many."""
        many = int(self.groups.max()) + 1
        if many <= BLOCKS:
            return self.groups
        return (np.random.default_rng(0).permutation(many) % BLOCKS)[self.groups].astype(np.intp)


@dataclass(frozen=True)
class Answer:
    """How well a score answers a question.

    all: share of all pairs of examples of two classes that are ranked rightly; same: of those in
    one stratum; gap: their difference. chance: mean, 2.5th and 97.5th percentile of `all` where
    labels are dealt anew; p_all, p_same: how often such a share is as high. least_all, least_same:
    the smallest such p that the groups allow, 1 where there is none. rarer: how many groups
    are not of the commonest class of their stratum: on so many rest the pairs of one stratum.
    """

    all: Estimate
    same: Estimate
    gap: Estimate
    chance: tuple[float, float, float]
    p_all: float
    p_same: float | None
    least_all: float
    least_same: float
    gap_is_sure: bool
    rarer: int

    @property
    def verdict(self) -> Verdict:
        """nothing: was not found to tell the classes; too_few: could not be, however well it does;
        itself: does so among images of one stratum as well;
        shortcut: only across strata; partly: better across them; inseparable: hardly any pair in
        one stratum; unclear: across them, but too few groups to say more."""
        few = self.same.value is None or self.rarer < FEWEST_RARER or self.least_same > ALARM
        within = not few and self.p_same is not None and self.p_same <= ALARM
        if self.all.value is None:
            return "unmeasured"
        if self.p_all > ALARM:
            if within:
                return "itself"
            return "too_few" if self.least_all > ALARM else "nothing"
        if self.same.reason == NO_STRATA:
            return "unclear"
        if few:
            return "inseparable"
        if self.gap_is_sure:
            return "partly" if within else "shortcut"
        return "itself" if within else "unclear"

    def to_json(self) -> dict[str, Any]:
        return {
            "all_pairs": self.all.to_json() | {"p": self.p_all},
            "same_pairs": self.same.to_json() | {"p": self.p_same},
            "smallest_p": {"all_pairs": self.least_all, "same_pairs": self.least_same},
            "gap": self.gap.to_json() | {"is_sure": self.gap_is_sure},
            "groups_of_rarer_classes": self.rarer,
            "chance": dict(zip(("mean", "low", "high"), self.chance, strict=True)),
            "verdict": self.verdict,
        }


def answer_of_probe(
    features: Floats, question: Question, resampling: Resampling, permutations: int
) -> Answer:
    """How well a linear classifier on features (N, D) answers, taught on other groups.

    Each group is tested by classifiers that were taught on two thirds of the others, four times;
    only pairs tested by the same classifier are compared. The permuted labels teach classifiers of
    their own.
    """
    rng = np.random.default_rng(resampling.seed)
    many = int(question.groups.max()) + 1
    clusters = question.groups if many >= FEWEST_GROUPS else joint(question.groups, question.units)
    fold_of = folds_of(clusters, REPEATS, FOLDS, rng)
    probe = Probe(features, fold_of)

    def scores(targets: Indices) -> Floats:
        return probe.scores(targets, question.classes)

    return _answer(scores, fold_of, question, resampling, permutations, rng)


def answer_of_scores(
    found: Floats, question: Question, resampling: Resampling, permutations: int
) -> Answer:
    """How well given scores (N, K) answer: those of a model that was taught elsewhere."""
    rng = np.random.default_rng(resampling.seed)

    def scores(targets: Indices) -> Floats:
        return np.broadcast_to(found, (1, len(targets), *found.shape))

    fold_of = np.zeros((1, len(found)), np.intp)
    return _answer(scores, fold_of, question, resampling, permutations, rng)


def _answer(
    scores: Any,
    fold_of: Indices,
    question: Question,
    resampling: Resampling,
    permutations: int,
    rng: np.random.Generator,
) -> Answer:
    strata = np.zeros_like(question.target) if question.strata is None else question.strata
    # pairs of one fold, and pairs of one fold and stratum
    alike = [joint(fold, np.zeros_like(fold)) for fold in fold_of]
    within = [joint(fold, strata) for fold in fold_of]
    given = scores(question.target[None])[:, 0]
    compared = [_pairs(given, question, places) for places in (alike, within)]
    found, sure = _estimates(compared, question, resampling)
    if question.strata is None:
        unknown = Estimate(None, reason=NO_STRATA)
        found, sure = (found[0], unknown, unknown), False

    def shares(dealer: Dealer, places: list[Indices]) -> tuple[float, Floats]:
        many = max(1, min(ENOUGH, TARGETS_AT_ONCE // given.size))
        drawn = [_share(scores, question.target[None], places)]
        for start in range(0, permutations, many):
            size = min(many, permutations - start)
            drawn.append(_share(scores, np.stack([dealer.deal(rng) for _ in range(size)]), places))
            every = np.concatenate(drawn)
            if len(every) > ENOUGH and np.count_nonzero(every[1:] >= every[0]) >= ENOUGH_AS_HIGH:
                break
        return float(every[0]), every[1:]

    groups, units = question.groups, question.units
    freely = Dealer(question.target, units, groups)
    value, dealt = shares(freely, alike)
    p_all, p_same, least_same = _p(value, dealt), None, 1.0
    if found[1].value is not None:
        inside = Dealer(question.target, units, groups, strata)
        p_same, least_same = _p(*shares(inside, within)), inside.chance_of_the_same
    low, high = np.nanquantile(dealt, [0.025, 0.975]) if np.isfinite(dealt).any() else (0.5, 0.5)
    mean = float(np.nanmean(dealt)) if np.isfinite(dealt).any() else 0.5
    return Answer(
        all=found[0],
        same=found[1],
        gap=found[2],
        chance=(mean, float(low), float(high)),
        p_all=p_all,
        p_same=p_same,
        least_all=freely.chance_of_the_same,
        least_same=least_same,
        gap_is_sure=sure,
        rarer=_rarer(question, strata),
    )


def _pairs(given: Floats, question: Question, places: list[Indices]) -> Pairs:
    blocks = question.blocks
    size = int(blocks.max()) + 1
    each = [
        pairs_of(score, question.target, place, blocks, size)
        for score, place in zip(given, places, strict=True)
    ]
    summed = each[0]
    for more in each[1:]:
        summed += more
    return summed


def _share(scores: Any, targets: Indices, places: list[Indices]) -> Floats:
    """Mean over repeats of the share of pairs ranked rightly: (B,)."""
    found = scores(targets)
    each = [
        shares_right(found[repeat], targets, place, int(place.max()) + 1)
        for repeat, place in enumerate(places)
    ]
    told = np.isfinite(each)
    total = np.where(told, each, 0).sum(axis=0)
    return np.divide(total, told.sum(axis=0), out=np.full(len(targets), np.nan), where=told.any(0))


def _estimates(
    compared: list[Pairs], question: Question, resampling: Resampling
) -> tuple[tuple[Estimate, Estimate, Estimate], bool]:
    """All, same and gap with intervals, and whether the gap is above 0 beyond doubt."""
    blocks = question.blocks

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        every, same = (pairs.share(weights) for pairs in compared)
        return np.stack([every, same, every - same], axis=1)

    size = int(blocks.max()) + 1
    behind = min(len(np.unique(blocks[question.target == k])) for k in range(question.classes))
    asked = (np.arange(size), np.array([behind, behind, 0]))
    every, same, gap = estimates(statistic, *asked, resampling)
    wide = estimates(statistic, *asked, replace(resampling, level=1 - 2 * ALARM))[2]
    return (every, same, gap), wide.low is not None and wide.low > 0


def _rarer(question: Question, strata: Indices) -> int:
    """Groups that are not of the commonest class of their stratum."""
    there = np.unique(np.stack([strata, question.target, question.groups]), axis=1)
    counts = np.zeros((int(strata.max()) + 1, question.classes), int)
    np.add.at(counts, (there[0], there[1]), 1)
    return int((counts.sum(axis=1) - counts.max(axis=1)).sum())


def _p(value: float, dealt: Floats) -> float:
    """How often chance does as well; the observed one counts, so never 0 (Phipson & Smyth 2010)."""
    known = dealt[np.isfinite(dealt)]
    return float((1 + np.count_nonzero(known >= value - 1e-12)) / (1 + len(known)))

"""Which compounds do something: each compound and class against the control wells of its plates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb, prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import false_discovery_control

from deadlib.bootstrap import Estimate, Indices, Nested, Resampling, Sums, estimates
from deadlib.doses.wells import Wells
from tfrecords_tools.table import PROBABILITY

Floats = NDArray[np.float64]

PERMUTATIONS = 9999
FEWEST_CONTROLS = 3
"""Of one plate: fewer do not say how control wells vary."""
FEWEST_PLATES = 3
HOPELESS = 0.05
"""Where even the most extreme of all deals has a larger p, there is no hit to be found."""
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Hit:
    """One compound and class.

    effect: the probability of the class in the compound's wells, less that in the control wells of
    the same plate, mean over wells, in -1..1; p: how often control and compound wells dealt by lot
    within plates differ as much; q: the share of false finds among all pairs at least as
    sure (Benjamini & Hochberg 1995); strongest, at: the largest mean effect of one dose, and that
    dose.
    """

    compound: str
    name: str
    wells: int
    controls: int
    plates: int
    effect: Estimate
    p: float
    q: float
    strongest: float
    at: float


def hits_of(
    wells: Wells, resampling: Resampling | None = None
) -> tuple[list[Hit], tuple[str, ...]]:
    """All compounds and classes, the surest and strongest first, and what could not be compared."""
    resampling = resampling or Resampling()
    controls = wells.controls
    counts = controls.groupby("plate").size()
    usable = set(counts[counts >= FEWEST_CONTROLS].index)
    found: list[Hit] = []
    remarks = []
    if not usable:
        return [], (
            f"No plate has {FEWEST_CONTROLS} control wells, so nothing says what a well without "
            "compound looks like, and there is no hit list; name the controls with --control.",
        )
    left_out = wells.treated[~wells.treated.plate.isin(usable)]
    if len(left_out):
        names = ", ".join(sorted(left_out.plate.unique())[:5])
        remarks.append(
            f"{len(left_out):,} wells of plates with fewer than {FEWEST_CONTROLS} control wells "
            f"({names}) are not in the hit list."
        )
    columns = [PROBABILITY + name for name in wells.classes]
    treated = wells.treated[wells.treated.plate.isin(usable)]
    hopeless = []
    for number, (compound, frame) in enumerate(treated.groupby("compound")):
        beside = controls[controls.plate.isin(set(frame.plate))]
        both = pd.concat([frame, beside], ignore_index=True)
        is_compound = np.arange(len(both)) < len(frame)
        plate = pd.factorize(both.plate)[0]
        lowest = 1 / _deals(plate, is_compound)
        if lowest > HOPELESS:
            hopeless.append(lowest)
        values = both[columns].to_numpy(float)
        p = _dealt(values, plate, is_compound, np.random.default_rng([resampling.seed, number]))
        away = (
            frame[columns].to_numpy(float)
            - _control_means(values, plate, is_compound)[plate[is_compound]]
        )
        by_dose = pd.DataFrame(away, index=frame.place.to_numpy()).groupby(level=0).mean()
        for k, name in enumerate(wells.classes):
            at = int(by_dose[k].abs().to_numpy().argmax())
            found.append(
                Hit(
                    compound=str(compound),
                    name=name,
                    wells=len(frame),
                    controls=len(beside),
                    plates=frame.plate.nunique(),
                    effect=_interval(values[:, k], plate, is_compound, resampling),
                    p=float(p[k]),
                    q=float("nan"),
                    strongest=float(by_dose[k].iloc[at]),
                    at=wells.of_place(float(by_dose.index[at])),
                )
            )
    if hopeless:
        remarks.append(
            f"{len(hopeless):,} of {treated.compound.nunique():,} compounds cannot be hits, "
            "whatever they do: with so few wells chance alone gives p of "
            f"{min(hopeless):.2g} or more. Add replicates or control wells, or read the list by "
            "effect."
        )
    corrected = false_discovery_control([hit.p for hit in found])
    found = [replace(hit, q=float(q)) for hit, q in zip(found, corrected, strict=True)]
    return sorted(found, key=_rank), tuple(remarks)


def _rank(hit: Hit) -> tuple[float, float, str, str]:
    return hit.q, -abs(hit.effect.value or 0.0), hit.compound, hit.name


def _deals(plate: Indices, is_compound: NDArray[np.bool_]) -> int:
    """In how many ways wells can be dealt to compound and control within plates."""
    sizes, treated = np.bincount(plate), np.bincount(plate, is_compound)
    return prod(comb(int(n), int(k)) for n, k in zip(sizes, treated, strict=True))


def _control_means(values: Floats, plate: Indices, is_compound: NDArray[np.bool_]) -> Floats:
    """(plates, K)."""
    return np.stack([values[(plate == p) & ~is_compound].mean(0) for p in range(plate.max() + 1)])


def _effects(values: Floats, plate: Indices, is_compound: NDArray[np.bool_]) -> Floats:
    """(K,): compound less controls of the same plate, mean over the compound's wells."""
    means = _control_means(values, plate, is_compound)
    return np.asarray((values[is_compound] - means[plate[is_compound]]).mean(0))


def _dealt(
    values: Floats,
    plate: Indices,
    is_compound: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Floats:
    """(K,): two-sided p of the effect, wells dealt to compound and control within plates."""
    observed = np.abs(_effects(values, plate, is_compound))
    shares = is_compound.sum()
    total = np.zeros((PERMUTATIONS, values.shape[1]))
    for p in range(plate.max() + 1):
        here = values[plate == p]
        size, treated = len(here), int(is_compound[plate == p].sum())
        for start in range(0, PERMUTATIONS, chunk := max(1, _AT_ONCE // size)):
            stop = min(start + chunk, PERMUTATIONS)
            order = rng.random((stop - start, size)).argsort(1)
            chosen = (order < treated).astype(float)
            compound, all_wells = chosen @ here, here.sum(0)
            difference = compound / treated - (all_wells - compound) / (size - treated)
            total[start:stop] += difference * treated / shares
    as_large = (np.abs(total) >= observed - 1e-12).sum(0)
    return np.asarray((1 + as_large) / (1 + PERMUTATIONS))


def _interval(
    values: Floats, plate: Indices, is_compound: NDArray[np.bool_], resampling: Resampling
) -> Estimate:
    """Over plates from three on (t); else over wells, drawn within plate and role."""
    plates = plate.max() + 1
    effect = float(_effects(values[:, None], plate, is_compound)[0])
    if plates >= FEWEST_PLATES:
        each = [
            float(_effects(values[here][:, None], plate[here] * 0, is_compound[here])[0])
            for here in (plate == p for p in range(plates))
        ]
        tail = (1 - resampling.level) / 2
        step = float(-stdtrit(plates - 1, tail) * np.std(each, ddof=1) / plates**0.5)
        middle = float(np.mean(each))
        return Estimate(
            effect, max(-1.0, min(effect, middle - step)), min(1.0, max(effect, middle + step)), "t"
        )
    stratum = plate * 2 + is_compound
    share = (
        np.array([np.sum(is_compound & (plate == p)) for p in range(plates)]) / is_compound.sum()
    )
    columns = np.zeros((len(values), 4 * plates))
    for p in range(plates):
        for role in (0, 1):
            member = stratum == p * 2 + role
            columns[member, 4 * p + 2 * role] = values[member]
            columns[member, 4 * p + 2 * role + 1] = 1

    def finish(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums[:, 0::2] / sums[:, 1::2]
        return np.asarray(((means[:, 1::2] - means[:, 0::2]) * share).sum(1, keepdims=True))

    nested = Nested(np.arange(len(values)), pd.factorize(stratum)[0])
    return estimates(Sums(columns, finish), nested, np.zeros(1, np.intp), resampling)[0]

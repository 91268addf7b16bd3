"""Intervals from a bootstrap over groups.

Examples of one well look alike, so they do not count as independent: whole groups are drawn with
replacement, as many as there are, and every figure is computed again with each example weighted by
how often its group was drawn (Field & Welsh 2007, the cluster bootstrap). From those replicates the
interval is BCa (Efron 1987): bias-corrected, with the acceleration from leaving out one group at a
time. Two cases need something else, and say so:

- a rate of exactly 0 or 1 never varies, and the bootstrap would claim certainty: the exact binomial
  limit (Clopper & Pearson 1934) over the groups behind the rate stands in;
- a figure that lies outside all its replicates (a biased one, such as the calibration error of few
  examples) has no bias correction: the basic interval, 2 x figure - quantile, stands in.

An interval that the correction moves past the figure itself is widened to hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

# Weights held at once: large enough for BLAS, small enough for the cache and for any memory.
WEIGHTS_AT_ONCE = 2**20
# Beyond this many groups the acceleration is close to 0, and blocks of groups estimate it well.
JACKKNIFE_BLOCKS = 200
LEAST_DEFINED = 0.5


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn. The same seed gives the same intervals."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    @property
    def tail(self) -> float:
        return (1 - self.level) / 2


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where there is none, with the reason.

    method: bca, binomial or basic; None without interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high}
        if self.method:
            found["method"] = self.method
        if self.reason:
            found["reason"] = self.reason
        return found


def number(estimate: Estimate) -> str:
    """0.882, or a dash."""
    return "–" if estimate.value is None else f"{estimate.value:.3f}"


def limits(estimate: Estimate) -> str:
    """0.873 – 0.890, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f} – {estimate.high:.3f}"


def estimates(
    statistic: Statistic,
    group_index: NDArray[np.intp],
    groups_behind: NDArray[np.intp],
    resampling: Resampling,
    on_resamples: Callable[[int], None] | None = None,
) -> list[Estimate]:
    """Value and interval of each of S figures.

    statistic: weights (B, N) -> (B, S), NaN where undefined; group_index (N,) in 0..G-1, every
    group occurring; groups_behind (S,): the groups that a rate rests on, 0 for what is no rate;
    on_resamples is told how many resamples were added.
    """
    value = statistic(np.ones((1, len(group_index))))[0]
    if group_index.max(initial=0) == 0:
        reason = "one group only"
        return [Estimate(_finite(v), reason=reason) for v in value]
    replicates = bootstrap(statistic, group_index, resampling, on_resamples)
    left_out = jackknife(statistic, group_index, resampling.seed)
    return [
        _estimate(value[s], replicates[:, s], left_out[:, s], int(groups_behind[s]), resampling)
        for s in range(len(value))
    ]


def of_independent(right: int, of: int, resampling: Resampling) -> Estimate:
    """The rate of `right` in `of` answers, each taken as independent of the others.

    of: at least 2. A resample of such answers has a binomial number of right ones, so that is what
    is drawn.
    """
    value = right / of
    rng = np.random.default_rng(resampling.seed)
    replicates = rng.binomial(of, value, resampling.resamples) / of
    left_out = np.repeat([right - 1, right], [right, of - right]) / (of - 1)
    return _estimate(value, replicates, left_out, of, resampling)


def bootstrap(
    statistic: Statistic,
    group_index: NDArray[np.intp],
    resampling: Resampling,
    on_resamples: Callable[[int], None] | None = None,
) -> Floats:
    """The figures of each resample of groups: (resamples, S)."""
    groups = int(group_index.max()) + 1
    chunk = max(1, WEIGHTS_AT_ONCE // len(group_index))
    rng = np.random.default_rng(resampling.seed)
    found = []
    for start in range(0, resampling.resamples, chunk):
        size = min(chunk, resampling.resamples - start)
        found.append(statistic(draw_groups(rng, size, groups)[:, group_index]))
        if on_resamples:
            on_resamples(size)
    return np.concatenate(found)


def draw_groups(rng: np.random.Generator, size: int, groups: int) -> Floats:
    """How often each group is drawn in each of `size` resamples: (size, groups), rows sum to G."""
    drawn = rng.integers(0, groups, (size, groups)) + np.arange(size)[:, None] * groups
    return np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(float)


def jackknife(statistic: Statistic, group_index: NDArray[np.intp], seed: int) -> Floats:
    """The figures without each group, or without each of 200 blocks of groups: (blocks, S)."""
    groups = int(group_index.max()) + 1
    blocks = min(groups, JACKKNIFE_BLOCKS)
    block_of_group = np.random.default_rng(seed).permutation(groups) % blocks
    block_index = block_of_group[group_index]
    chunk = max(1, WEIGHTS_AT_ONCE // len(group_index))
    found = [
        statistic((block_index != np.arange(start, min(start + chunk, blocks))[:, None]) * 1.0)
        for start in range(0, blocks, chunk)
    ]
    return np.concatenate(found)


def bca_interval(
    value: float, replicates: Floats, left_out: Floats, tail: float
) -> tuple[float, float] | None:
    """Efron's BCa limits; None where `value` lies outside all replicates.

    Ties count half in the bias correction, which matters for rates of few groups.
    """
    below = (np.mean(replicates < value) + np.mean(replicates <= value)) / 2
    if not 0 < below < 1:
        return None
    bias = ndtri(below)
    away = left_out.mean() - left_out
    spread = np.sum(away**2)
    acceleration = np.sum(away**3) / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + ndtri([tail, 1 - tail])
    low, high = np.quantile(replicates, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def basic_interval(value: float, replicates: Floats, tail: float) -> tuple[float, float]:
    """2 x value - quantile (Davison & Hinkley 1997, section 5.2), not below 0."""
    low, high = 2 * value - np.quantile(replicates, [1 - tail, tail])
    return max(0.0, float(low)), max(0.0, float(high))


def binomial_interval(hits: int, of: int, tail: float) -> tuple[float, float]:
    """The exact limits of a rate of `hits` in `of` (Clopper & Pearson 1934)."""
    low = betaincinv(hits, of - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, of - hits, 1 - tail) if hits < of else 1.0
    return float(low), float(high)


def _estimate(
    value: float, replicates: Floats, left_out: Floats, behind: int, resampling: Resampling
) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None)
    value = float(value)
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < LEAST_DEFINED * len(replicates):
        return Estimate(value, reason="too few groups")
    if np.ptp(defined) < 1e-12:
        if behind and min(value, 1 - value) < 1e-12:
            low, high = binomial_interval(round(value) * behind, behind, resampling.tail)
            return Estimate(value, low, high, "binomial")
        return Estimate(value, reason="no change in any resample")
    method = "bca"
    found = bca_interval(value, defined, left_out[np.isfinite(left_out)], resampling.tail)
    if found is None:
        method, found = "basic", basic_interval(value, defined, resampling.tail)
    return Estimate(value, min(found[0], value), max(found[1], value), method)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""Intervals from a bootstrap over groups.

Examples of one well look alike, so they do not count as independent: whole groups are drawn with
replacement, as many as there are, and every figure is computed again with each example weighted by
how often its group was drawn (Field & Welsh 2007, the cluster bootstrap). Groups that lie in
coarser ones (wells in plates) may be drawn within them, so that the coarser ones stay as they are.
Levels below the drawn one are not drawn again: a group brings its own spread along, and drawing
within it too would count that twice (Davison & Hinkley 1997, section 3.8).

Few groups vary less than they should, and groups of very different size count as fewer, so every
interval uses t with the effective number of groups (Kish 1965) less one as degrees of freedom:

- t: a rate, such as accuracy or ROC AUC. The standard deviation of its resamples, times
  sqrt(n / (n - 1)), on the logit scale, where rates near 1 are symmetric; with fewer degrees of
  freedom where few groups make the variance, as the only ones with errors do;
- bca: any other figure. BCa limits (Efron 1987: bias-corrected, the acceleration from leaving out
  one group at a time) at tails widened to those of t (Hesterberg 2015);
- binomial: a rate of exactly 0 or 1 never varies, and a bootstrap would claim certainty; the exact
  limit (Clopper & Pearson 1934) over the groups behind the rate stands in;
- basic: a figure that lies outside all its resamples (a biased one, such as the calibration error
  of few examples) has no bias correction: 2 x figure - quantile stands in.

An interval that the correction moves past the figure itself is widened to hold it.
`bin/bench coverage` measures how often these intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import betaincinv, expit, logit, ndtr, ndtri, stdtrit

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Floats], Floats]

# Weights held at once: large enough for BLAS, small enough for the cache and for any memory.
WEIGHTS_AT_ONCE = 2**20
# Beyond this many groups the acceleration is close to 0, and blocks of groups estimate it well.
JACKKNIFE_BLOCKS = 200
LEAST_DEFINED = 0.5
# of the examples, in groups that have siblings; others cannot be drawn within their parents
LEAST_WITH_SIBLINGS = 0.5
DENSE = 0.05
# beyond the most extreme of any number of resamples, and yet a number
SMALLEST_TAIL = 1e-12


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

    method: t, bca, binomial or basic; None without interval.
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


@dataclass(frozen=True)
class Nested:
    """Groups that are drawn within the coarser groups they lie in, wells within their plates.

    index (N,): the group of each example, in 0..G-1, every group occurring; parent (G,) in
    0..P-1: where each group lies, None where all are drawn together.
    """

    index: Indices
    parent: Indices | None = None

    @staticmethod
    def of(index: Indices | Nested) -> Nested:
        return index if isinstance(index, Nested) else Nested(np.asarray(index, np.intp))

    def __len__(self) -> int:
        return int(self.index.max(initial=-1)) + 1

    @property
    def sizes(self) -> Indices:
        """Examples of each group (G,)."""
        return np.bincount(self.index, minlength=len(self))

    @property
    def parents(self) -> Indices:
        """(G,), zeros where all groups are drawn together."""
        return np.zeros(len(self), np.intp) if self.parent is None else self.parent

    @property
    def with_siblings(self) -> NDArray[np.bool_]:
        """Which groups (G,) can be exchanged for another."""
        return np.bincount(self.parents)[self.parents] > 1

    @property
    def effective(self) -> float:
        """How many groups of equal size would vary as much: Kish's number, summed over parents."""
        chosen = self.with_siblings
        sizes, parents = self.sizes[chosen].astype(float), self.parents[chosen]
        total = np.bincount(parents, sizes)
        squares = np.bincount(parents, sizes**2)
        return float(np.sum(total[squares > 0] ** 2 / squares[squares > 0]))

    @property
    def strata(self) -> int:
        """How many parents have groups that can be exchanged."""
        return len(np.unique(self.parents[self.with_siblings]))

    @property
    def refusal(self) -> str | None:
        """Why nothing can be drawn; None where it can."""
        if len(self) < 2:
            return "one group only"
        if self.sizes[self.with_siblings].sum() < LEAST_WITH_SIBLINGS * len(self.index):
            return "most groups have no other to be exchanged for"
        return None


@runtime_checkable
class Groupable(Protocol):
    """A statistic that need not see every row: what it needs of each group is computed once."""

    def __call__(self, weights: Floats) -> Floats: ...

    def on_groups(self, index: Indices, groups: int) -> tuple[Statistic, int]:
        """The same figures from weights of groups (B, G), and how wide its arrays are."""
        ...


@dataclass(frozen=True)
class Sums:
    """Figures that follow from weighted sums over rows.

    columns (N, C), dense or sparse; finish: sums (B, C) -> (B, S).
    """

    columns: Floats | sparse.csr_array
    finish: Callable[[Floats], Floats]

    def __call__(self, weights: Floats) -> Floats:
        return self.finish(np.asarray(weights @ self.columns))

    def on_groups(self, index: Indices, groups: int) -> tuple[Statistic, int]:
        sums = indicator(index, groups).T @ self.columns
        if sparse.issparse(sums) and sums.nnz > DENSE * np.prod(sums.shape):
            sums = sums.toarray()
        return Sums(sums, self.finish), max(sums.shape)


@dataclass(frozen=True)
class Stack:
    """The figures of several statistics, side by side."""

    parts: Sequence[Statistic]

    def __call__(self, weights: Floats) -> Floats:
        return np.hstack([part(weights) for part in self.parts])

    def on_groups(self, index: Indices, groups: int) -> tuple[Statistic, int]:
        found = [on_groups(part, index, groups) for part in self.parts]
        return Stack([part for part, _ in found]), max(width for _, width in found)


def on_groups(statistic: Statistic, index: Indices, groups: int) -> tuple[Statistic, int]:
    """The statistic of weights of groups (B, G), and how wide its arrays are."""
    if isinstance(statistic, Groupable):
        return statistic.on_groups(index, groups)
    return lambda weights: statistic(weights[:, index]), len(index)


def indicator(index: Indices, width: int) -> sparse.csr_array:
    """(N, width), one 1 in each row, at `index`."""
    size = len(index)
    return sparse.csr_array((np.ones(size), index, np.arange(size + 1)), shape=(size, width))


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
    group_index: Indices | Nested,
    groups_behind: NDArray[np.intp],
    resampling: Resampling,
    on_resamples: Callable[[int], None] | None = None,
) -> list[Estimate]:
    """Value and interval of each of S figures.

    statistic: weights (B, N) -> (B, S), NaN where undefined; fast where it is Groupable.
    group_index (N,) in 0..G-1, every group occurring, or groups within coarser ones;
    groups_behind (S,): the groups that a rate rests on, 0 for what is no rate; on_resamples is told
    how many resamples were added.
    """
    nested = Nested.of(group_index)
    on, width = on_groups(statistic, nested.index, len(nested))
    value = on(np.ones((1, len(nested))))[0]
    if reason := nested.refusal:
        return [Estimate(_finite(v), reason=reason) for v in value]
    replicates = bootstrap(on, nested, resampling, on_resamples, width=width)
    left_out = jackknife(on, len(nested), resampling.seed, width=width)
    effective, strata = nested.effective, nested.strata
    return [
        _estimate(
            value[s],
            replicates[:, s],
            left_out[:, s],
            effective * (behind / len(nested) if behind else 1.0),
            strata,
            resampling,
            is_rate=bool(behind),
        )
        for s, behind in enumerate(groups_behind)
    ]


def of_independent(right: int, of: int, resampling: Resampling) -> Estimate:
    """The rate of `right` in `of` answers, each taken as independent of the others: plain BCa.

    of: at least 2. A resample of such answers has a binomial number of right ones, so that is what
    is drawn.
    """
    value = right / of
    if right in (0, of):
        return Estimate(value, *binomial_interval(right, of, resampling.tail), "binomial")
    rng = np.random.default_rng(resampling.seed)
    replicates = rng.binomial(of, value, resampling.resamples) / of
    left_out = np.repeat([right - 1, right], [right, of - right]) / (of - 1)
    return _skewed(value, replicates, left_out, resampling.tail)


def bootstrap(
    statistic: Statistic,
    groups: Nested,
    resampling: Resampling,
    on_resamples: Callable[[int], None] | None = None,
    *,
    width: int | None = None,
) -> Floats:
    """The figures of each resample of groups: (resamples, S).

    statistic: weights of groups (B, G) -> (B, S); width: how wide its arrays are.
    """
    chunk = max(1, WEIGHTS_AT_ONCE // (width or len(groups)))
    rng = np.random.default_rng(resampling.seed)
    found = []
    for start in range(0, resampling.resamples, chunk):
        size = min(chunk, resampling.resamples - start)
        found.append(statistic(draw_groups(rng, size, groups)))
        if on_resamples:
            on_resamples(size)
    return np.concatenate(found)


def draw_groups(rng: np.random.Generator, size: int, groups: Nested | int) -> Floats:
    """How often each group is drawn in each of `size` resamples: (size, groups).

    Rows sum to G, and within each parent to the number of its groups. Of an int, all are drawn
    together.
    """
    if isinstance(groups, int) or groups.parent is None:
        count = groups if isinstance(groups, int) else len(groups)
        drawn = rng.integers(0, count, (size, count))
    else:
        count = len(groups)
        order = np.argsort(groups.parent, kind="stable")
        siblings = np.bincount(groups.parent)
        first = np.repeat(np.cumsum(siblings) - siblings, siblings)
        slot = rng.integers(0, np.repeat(siblings, siblings), (size, count))
        drawn = order[first + slot]
    cells = (drawn + np.arange(size)[:, None] * count).ravel()
    return np.bincount(cells, minlength=size * count).reshape(size, count).astype(float)


def jackknife(statistic: Statistic, groups: int, seed: int, *, width: int | None = None) -> Floats:
    """The figures without each group, or without each of 200 blocks of groups: (blocks, S)."""
    blocks = min(groups, JACKKNIFE_BLOCKS)
    block_of_group = np.random.default_rng(seed).permutation(groups) % blocks
    chunk = max(1, WEIGHTS_AT_ONCE // (width or groups))
    found = [
        statistic((block_of_group != np.arange(start, min(start + chunk, blocks))[:, None]) * 1.0)
        for start in range(0, blocks, chunk)
    ]
    return np.concatenate(found)


def t_interval(value: float, deviation: float, freedom: float, tail: float) -> tuple[float, float]:
    """Limits of a rate strictly between 0 and 1, symmetric on the logit scale."""
    step = -stdtrit(freedom, tail) * deviation / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-step, step]))
    return float(low), float(high)


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
    # beyond the pole of the correction lies the most extreme resample
    steepness = 1 - acceleration * z
    moved = np.where(
        steepness > 0, bias + z / np.where(steepness > 0, steepness, 1), np.sign(z) * 9
    )
    low, high = np.quantile(replicates, ndtr(moved))
    return float(low), float(high)


def basic_interval(value: float, replicates: Floats, tail: float) -> tuple[float, float]:
    """2 x value - quantile (Davison & Hinkley 1997, section 5.2).

    Not below 0 where no resample is.
    """
    low, high = 2 * value - np.quantile(replicates, [1 - tail, tail])
    least = 0.0 if replicates.min() >= 0 else -np.inf
    return max(least, float(low)), max(least, float(high))


def binomial_interval(hits: float, of: float, tail: float) -> tuple[float, float]:
    """The exact limits of a rate of `hits` in `of` (Clopper & Pearson 1934)."""
    low = betaincinv(hits, of - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, of - hits, 1 - tail) if hits < of else 1.0
    return float(low), float(high)


def _estimate(
    value: float,
    replicates: Floats,
    left_out: Floats,
    effective: float,
    strata: int,
    resampling: Resampling,
    *,
    is_rate: bool,
) -> Estimate:
    """effective: groups behind the figure, of equal size; strata: within how many parents."""
    if not np.isfinite(value):
        return Estimate(None)
    value = float(value)
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < LEAST_DEFINED * len(replicates):
        return Estimate(value, reason="too few groups")
    if is_rate and min(value, 1 - value) < 1e-12:
        hits = round(value) * effective
        return Estimate(value, *binomial_interval(hits, effective, resampling.tail), "binomial")
    if np.ptp(defined) < 1e-12:
        return Estimate(value, reason="no change in any resample")
    freedom = max(effective - strata, 1.0)
    widening = np.sqrt((freedom + strata) / freedom)
    if is_rate:
        deviation = float(defined.std() * widening)
        if strata == 1:
            freedom = min(freedom, _freedom_of_variance(left_out[np.isfinite(left_out)]))
        return Estimate(value, *t_interval(value, deviation, freedom, resampling.tail), "t")
    tail = max(float(ndtr(widening * stdtrit(freedom, resampling.tail))), SMALLEST_TAIL)
    return _skewed(value, defined, left_out[np.isfinite(left_out)], tail)


def _freedom_of_variance(left_out: Floats) -> float:
    """Degrees of freedom where few groups make most of the variance, at least 4.

    Twice the effective number of groups that move the figure: near 1, those with any error.
    """
    away = (left_out - left_out.mean()) ** 2
    fourth = float(np.sum(away**2))
    return max(2 * float(away.sum()) ** 2 / fourth, 4.0) if fourth > 0 else np.inf


def _skewed(value: float, replicates: Floats, left_out: Floats, tail: float) -> Estimate:
    """BCa limits, or the basic ones where there are none."""
    method, found = "bca", bca_interval(value, replicates, left_out, tail)
    if found is None:
        method, found = "basic", basic_interval(value, replicates, tail)
    return Estimate(value, min(found[0], value), max(found[1], value), method)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""The four-parameter Hill curve: how a share of cells changes with the dose.

A curve goes from `start`, without the compound, to `end`, at any dose however high, and is half way
at the `midpoint` (the EC50), rising or falling (Hill 1910; in its logistic form Finney 1978):

    value(x) = start + (end - start) / (1 + exp(-slope (x - midpoint)))

x is the *place* of a dose: its decimal logarithm, or its number where doses are only numbered.

For a given midpoint and slope the best start and end follow from a linear regression, so only two
parameters are searched, on a grid (variable projection, Golub & Pereyra 1973); least squares begin
from there, and so in no wrong valley.

Shares near 0 or 1 vary less than those between: points are weighted by 1 / (u (1 - u) + 0.05), u
the fitted share; and points far off count less (Huber 1964, from three deviations on).

Intervals are profiles (Bates & Watts 1988, section 6.1): all midpoints, or all doses of a crossing,
with which a curve fits nearly as well, by the F distribution. Where the data leave an end open it
is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import expit, logit
from scipy.stats import f as f_distribution

Floats = NDArray[np.float64]

PARAMETERS = 4
FEWEST_DOSES = 5
# of the range of doses, on either side: midpoints out there are looked at to be told, not believed
_BEYOND = 0.5
_MIDPOINTS, _SLOPES = 61, 31
# from 10 to 90 % takes 2 ln 9 / slope
_RISE = 2 * np.log(9)
_REWEIGHTINGS = 4
_LEAST_VARIANCE = 0.05
_HUBER = 3.0
_PROFILED = 161
_CROSSED = np.linspace(0.05, 0.95, 25)


@dataclass(frozen=True)
class Hill:
    """start, end: values without compound and at the highest effect; midpoint: a place; slope: per
    unit of place, positive."""

    start: float
    end: float
    midpoint: float
    slope: float

    def __call__(self, places: Floats) -> Floats:
        """Values at places, same shape."""
        share = expit(self.slope * (np.asarray(places, float) - self.midpoint))
        return np.asarray(self.start + (self.end - self.start) * share)

    def place_of(self, level: float) -> float | None:
        """Where the curve has this value, None where it never has."""
        if self.end == self.start:
            return None
        share = (level - self.start) / (self.end - self.start)
        if not 0 < share < 1:
            return None
        return float(self.midpoint + logit(share) / self.slope)


@dataclass(frozen=True)
class Fit:
    """A curve through N points.

    low, high: the limits of the midpoint at the level of confidence asked for, None where the
    doses at hand leave that end open; spread: standard deviation of the residuals; p: how often
    noise about one level for all doses would look as much like a curve, by an F test.
    """

    curve: Hill
    low: float | None
    high: float | None
    spread: float
    p: float


@dataclass(frozen=True)
class _Search:
    """Which midpoints and slopes are looked at for given places."""

    midpoints: Floats
    slopes: Floats

    @staticmethod
    def of(places: Floats, midpoints: int = _MIDPOINTS, slopes: int = _SLOPES) -> _Search:
        distinct = np.unique(places)
        span = distinct[-1] - distinct[0]
        step = float(np.median(np.diff(distinct)))
        return _Search(
            np.linspace(distinct[0] - _BEYOND * span, distinct[-1] + _BEYOND * span, midpoints),
            # half a step to twice the range: no data could tell anything beyond
            np.geomspace(_RISE / (2 * span), _RISE / (0.5 * step), slopes),
        )

    @property
    def grid(self) -> tuple[Floats, Floats]:
        midpoints, slopes = np.meshgrid(self.midpoints, self.slopes, indexing="ij")
        return midpoints.ravel(), slopes.ravel()


def fit_hill(
    places: Floats,
    values: Floats,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
) -> Fit:
    """The curve through values (N,) at places (N,), both finite; start and end lie in `bounds`.

    Needs FEWEST_DOSES distinct places. Raises ValueError with fewer.
    """
    places, values = np.asarray(places, float), np.asarray(values, float)
    if len(np.unique(places)) < FEWEST_DOSES:
        raise ValueError(f"a curve needs {FEWEST_DOSES} doses, found {len(np.unique(places))}")
    weights = np.ones_like(values)
    curve = _refined(places, values, weights, bounds, _searched(places, values, weights, bounds))
    for _ in range(_REWEIGHTINGS):
        weights = _weights(values, curve(places), bounds)
        curve = _refined(places, values, weights, bounds, curve)
    return Fit(
        curve,
        *_midpoint_limits(places, values, weights, curve, bounds, confidence),
        spread=float(np.sqrt(_squares(places, values, weights, curve) / _freedom(values))),
        p=_better_than_level(places, values, weights, curve),
    )


def crossing(
    places: Floats,
    values: Floats,
    level: float,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
    confidence: float = 0.95,
) -> tuple[float | None, float | None, float | None]:
    """Where the curve through the values passes `level`, and the limits of that place.

    None, None, None where it does not pass it within the doses; a limit is None where it is open.
    """
    fit = fit_hill(places, values, bounds=bounds, confidence=confidence)
    found = fit.curve.place_of(level)
    if found is None or not places.min() <= found <= places.max():
        return None, None, None
    weights = _weights(values, fit.curve(places), bounds)
    squares = _crossing_squares(places, values - level, weights)
    inflation = _inflation(places, values, weights, fit.curve, _moved(fit.curve, level))
    limit = _cutoff(squares, _freedom(values), inflation, confidence)
    return found, *_inside(places, _candidates(places), squares, limit, found)


def _freedom(values: Floats) -> int:
    return max(len(values) - PARAMETERS, 1)


def _weights(values: Floats, fitted: Floats, bounds: tuple[float, float]) -> Floats:
    """(N,): shares near the bounds vary less, and what is far off counts less; mean 1."""
    share = np.clip((fitted - bounds[0]) / (bounds[1] - bounds[0]), 0, 1)
    variance = share * (1 - share) + _LEAST_VARIANCE
    away = np.abs(values - fitted) / np.sqrt(variance)
    # the scale of those that vary most, a tenth of wild ones aside
    scale = max(float(np.quantile(away, 0.9)) / 1.645, 1e-6)
    weights = np.minimum(1, _HUBER * scale / np.maximum(away, 1e-12)) / variance
    return np.asarray(weights / weights.mean())


def _searched(places: Floats, values: Floats, weights: Floats, bounds: tuple[float, float]) -> Hill:
    """The best curve of the grid."""
    midpoints, slopes = _Search.of(places).grid
    squares, starts, ends = _projected(places, values, weights, midpoints, slopes, bounds)
    at = int(squares.argmin())
    return Hill(float(starts[at]), float(ends[at]), float(midpoints[at]), float(slopes[at]))


def _refined(
    places: Floats, values: Floats, weights: Floats, bounds: tuple[float, float], near: Hill
) -> Hill:
    """The best curve in the valley of another one."""
    search, root = _Search.of(places), np.sqrt(weights)
    low = np.array([bounds[0], bounds[0], search.midpoints[0], search.slopes[0]])
    high = np.array([bounds[1], bounds[1], search.midpoints[-1], search.slopes[-1]])
    inset = 1e-6 * (high - low)
    begun = np.clip([near.start, near.end, near.midpoint, near.slope], low + inset, high - inset)
    found = least_squares(
        lambda at: root * (Hill(*at)(places) - values), begun, bounds=(low, high), xtol=1e-9
    )
    return Hill(*(float(parameter) for parameter in found.x))


def _projected(
    places: Floats,
    values: Floats,
    weights: Floats,
    midpoints: Floats,
    slopes: Floats,
    bounds: tuple[float, float],
) -> tuple[Floats, Floats, Floats]:
    """The least sum of squares for each of G midpoints and slopes, with the start and end (G,)
    within bounds that reach it."""
    share = expit(slopes * (places[:, None] - midpoints))
    rest = 1 - share
    weighted = weights[:, None]
    aa, ab = (weighted * rest**2).sum(0), (weighted * rest * share).sum(0)
    bb = (weighted * share**2).sum(0)
    ay, by = (weights * values) @ rest, (weights * values) @ share
    yy = float(weights @ values**2)

    def squares(start: Floats, end: Floats) -> Floats:
        linear = start * ay + end * by
        return yy - 2 * linear + start**2 * aa + 2 * start * end * ab + end**2 * bb

    def against(fixed: Floats, cross: Floats, own: Floats, target: Floats) -> Floats:
        """The best of one end where the other one is fixed."""
        return np.clip((target - fixed * cross) / np.maximum(own, 1e-12), *bounds)

    determinant = aa * bb - ab**2
    usable = determinant > 1e-12 * aa * bb
    divisor = np.where(usable, determinant, 1)
    start, end = (ay * bb - by * ab) / divisor, (by * aa - ay * ab) / divisor
    low, high = bounds
    free = usable & (start >= low) & (start <= high) & (end >= low) & (end <= high)
    candidates = [(np.where(free, start, low), np.where(free, end, low))]
    for bound in bounds:
        at = np.full_like(aa, bound)
        candidates += [(at, against(at, ab, bb, by)), (against(at, ab, aa, ay), at)]
    found = np.stack([squares(*pair) for pair in candidates])
    found[0] = np.where(free, found[0], np.inf)
    best = found.argmin(0)
    every = np.arange(len(aa))
    starts, ends = (np.stack([pair[i] for pair in candidates])[best, every] for i in (0, 1))
    return np.maximum(found[best, every], 0), starts, ends


def _squares(places: Floats, values: Floats, weights: Floats, curve: Hill) -> float:
    return float(weights @ (values - curve(places)) ** 2)


def _cutoff(
    squares: Floats, freedom: int, inflation: tuple[float, float], confidence: float
) -> float:
    """The sum of squares up to which one parameter's value is not refuted.

    The least of the profile itself is what counts: curves on a grid fit a little less well than the
    best one, and the difference must not narrow an interval.
    """
    wider, own_freedom = inflation
    factor = 1 + wider * float(f_distribution.ppf(confidence, 1, own_freedom)) / freedom
    return float(squares.min()) * factor + 1e-12


def _inflation(
    places: Floats, values: Floats, weights: Floats, curve: Hill, gradient: Floats
) -> tuple[float, float]:
    """How much larger the variance of a place is than even noise would make it, at least 1, and
    the degrees of freedom of that variance.

    Wells near the middle of a curve, which fix its place, often vary most. The sandwich with
    residuals freed of their leverage (HC3, MacKinnon & White 1985) sees that.
    """
    slopes = _jacobian(places, curve)
    inverse = np.linalg.pinv(slopes.T @ (weights[:, None] * slopes))
    influence = gradient @ inverse @ (weights[:, None] * slopes).T
    leverage = np.einsum("ni,ij,nj->n", slopes, inverse, weights[:, None] * slopes)
    residuals = (values - curve(places)) / (1 - np.clip(leverage, 0, 0.9))
    parts = (influence * residuals) ** 2
    freedom = _freedom(values)
    even = gradient @ inverse @ gradient * _squares(places, values, weights, curve) / freedom
    if not even > 0 or not parts.sum() > even:
        return 1.0, freedom
    # as a sum of squares of normal draws (Satterthwaite 1946), whose fourth moment is 3
    own = 3 * parts.sum() ** 2 / (parts**2).sum()
    return float(parts.sum() / even), float(np.clip(own, 3, max(freedom, 3)))


def _jacobian(places: Floats, curve: Hill) -> Floats:
    """(N, 4): how values move with start, end, midpoint and slope."""
    share = expit(curve.slope * (places - curve.midpoint))
    steep = (curve.end - curve.start) * share * (1 - share)
    return np.stack(
        [1 - share, share, -curve.slope * steep, (places - curve.midpoint) * steep], axis=1
    )


def _moved(curve: Hill, level: float) -> Floats:
    """(4,): how the place of a level moves with start, end, midpoint and slope."""
    share = (level - curve.start) / (curve.end - curve.start)
    per_share = 1 / (curve.slope * share * (1 - share) * (curve.end - curve.start))
    return np.array(
        [-(1 - share) * per_share, -share * per_share, 1, -logit(share) / curve.slope**2]
    )


def _candidates(places: Floats) -> Floats:
    return _Search.of(places, midpoints=_PROFILED).midpoints


def _midpoint_limits(
    places: Floats,
    values: Floats,
    weights: Floats,
    curve: Hill,
    bounds: tuple[float, float],
    confidence: float,
) -> tuple[float | None, float | None]:
    search = _Search.of(places, midpoints=_PROFILED, slopes=_SLOPES)
    squares, _, _ = _projected(places, values, weights, *search.grid, bounds)
    profile = squares.reshape(_PROFILED, -1).min(1)
    inflation = _inflation(places, values, weights, curve, np.array([0.0, 0, 1, 0]))
    limit = _cutoff(profile, _freedom(values), inflation, confidence)
    return _inside(places, search.midpoints, profile, limit, curve.midpoint)


def _crossing_squares(places: Floats, values: Floats, weights: Floats) -> Floats:
    """The least sum of squares of curves that are 0 at each candidate place."""
    grid = np.meshgrid(_CROSSED, _Search.of(places).slopes, indexing="ij")
    at, slopes = (axis.ravel() for axis in grid)
    total, mean, yy = weights.sum(), weights @ values, float(weights @ values**2)
    found = []
    for place in _candidates(places):
        # curves of every slope that have this share of their way behind them here
        share = expit(slopes * (places[:, None] - place) + logit(at))
        s, ss, sy = weights @ share, weights @ share**2, (weights * values) @ share
        # the curve is height x (share - at)
        own, cross = ss - 2 * at * s + at**2 * total, sy - at * mean
        found.append(float((yy - cross**2 / np.maximum(own, 1e-12)).min()))
    return np.maximum(found, 0)


def _inside(
    places: Floats, candidates: Floats, squares: Floats, limit: float, found: float
) -> tuple[float | None, float | None]:
    """The limits of what is not refuted, None where that goes on beyond the doses."""
    kept = candidates[squares <= limit]
    low, high = min([*kept, found]), max([*kept, found])
    half = (candidates[1] - candidates[0]) / 2
    # limits lie between the last candidate kept and the first refuted
    low, high = low - half, high + half
    return (
        None if low < places.min() else float(low),
        None if high > places.max() else float(high),
    )


def _better_than_level(places: Floats, values: Floats, weights: Floats, curve: Hill) -> float:
    """p of an F test of the curve against one level for all doses."""
    level = float(weights @ values / weights.sum())
    flat = float(weights @ (values - level) ** 2)
    rest = _squares(places, values, weights, curve)
    if flat <= 1e-15:
        return 1.0
    ratio = max(flat - rest, 0) / (PARAMETERS - 1) / max(rest / _freedom(values), 1e-15)
    return float(f_distribution.sf(ratio, PARAMETERS - 1, _freedom(values)))

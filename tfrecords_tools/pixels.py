"""Pixels counted as they come: percentiles, mean and deviation in one pass and bounded memory.

Both kinds of count hold 65,536 bins and can be added up over parts. Values are in unit range:
integer types divided by their largest value, float32 as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)
BINS = 1 << 16

ValueOf = Callable[[np.ndarray, np.ndarray], np.ndarray]


def percentile_name(percent: float) -> str:
    """The column of a percentile: `percentile_0.1`, `percentile_50`."""
    return f"percentile_{percent:g}"


class IntegerPixels:
    """uint8 and uint16 pixels, exactly: how often each of the 65,536 levels occurs.

    An 8-bit value v is the 16-bit level 257 v: 255 x 257 = 65535.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, plane: np.ndarray) -> None:
        """Count the pixels of a uint8 or uint16 array of any shape."""
        found = np.bincount(plane.ravel())
        if plane.dtype == np.uint8:
            levels = np.zeros((len(found) - 1) * 257 + 1, np.int64)
            levels[::257] = found
            found = levels
        self._counts = _sum(self._counts, found)

    def merge(self, other: IntegerPixels) -> None:
        self._counts = _sum(self._counts, other._counts)

    def statistics(self) -> dict[str, float | int]:
        """pixels, mean, deviation and the percentiles, as numpy computes them from all pixels."""
        total = int(self._counts.sum())
        levels = np.flatnonzero(self._counts)
        counts = self._counts[levels]
        mean = float((levels * counts).sum() / total)
        variance = float((np.square(levels - mean) * counts).sum() / total)
        largest = BINS - 1
        found = _percentiles(counts, lambda bins, _: levels[bins].astype(np.float64))
        return {
            "pixels": total,
            "mean": mean / largest,
            "deviation": variance**0.5 / largest,
            **{name: value / largest for name, value in found.items()},
        }


class FloatPixels:
    """float32 pixels: exact mean and deviation, percentiles from bins of 1/128 of the value.

    A bin holds the values whose sign, exponent and first seven bits of the fraction agree; its
    values are taken as even between its ends, and none lies beyond the lowest and highest pixel.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._pixels, self._mean, self._squares = 0, 0.0, 0.0
        self._low, self._high = np.inf, -np.inf

    def add(self, plane: np.ndarray) -> None:
        """Count the pixels of a float32 array of any shape."""
        values = np.ascontiguousarray(plane, np.float32).ravel()
        self._counts += np.bincount(_bin_of(values), minlength=BINS)
        mean = float(values.mean(dtype=np.float64))
        squares = float(np.square(values.astype(np.float64) - mean).sum())
        self._add_moments(len(values), mean, squares)
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def merge(self, other: FloatPixels) -> None:
        self._counts += other._counts
        self._add_moments(other._pixels, other._mean, other._squares)
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)

    def statistics(self) -> dict[str, float | int]:
        """pixels, mean, deviation and the percentiles."""
        bins = np.flatnonzero(self._counts)
        low = np.clip(_lower_end(bins), self._low, self._high)
        high = np.clip(_lower_end(bins + 1), self._low, self._high)
        counts = self._counts[bins]

        def value(chosen: np.ndarray, share: np.ndarray) -> np.ndarray:
            return low[chosen] + share * (high[chosen] - low[chosen])

        return {
            "pixels": self._pixels,
            "mean": self._mean,
            "deviation": (self._squares / self._pixels) ** 0.5,
            **_percentiles(counts, value),
        }

    def _add_moments(self, pixels: int, mean: float, squares: float) -> None:
        """Chan, Golub and LeVeque (1983): a small spread on a high background is not lost."""
        total = self._pixels + pixels
        shift = mean - self._mean
        self._squares += squares + shift**2 * (self._pixels * pixels / total)
        self._mean += shift * (pixels / total)
        self._pixels = total


def _percentiles(counts: np.ndarray, value: ValueOf) -> dict[str, float]:
    """Linear between the order statistics on either side, as numpy's default.

    value: (bins, shares of the bin that lie below) → values.
    """
    ends = counts.cumsum()
    places = (ends[-1] - 1) * np.asarray(PERCENTILES) / 100
    lower = np.floor(places).astype(np.int64)

    def at(rank: np.ndarray) -> np.ndarray:
        bins = np.searchsorted(ends, rank, side="right")
        below = rank - (ends[bins] - counts[bins])
        return value(bins, (below + 0.5) / counts[bins])

    first, second = at(lower), at(np.minimum(lower + 1, ends[-1] - 1))
    found = first + (places - lower) * (second - first)
    return {percentile_name(p): float(v) for p, v in zip(PERCENTILES, found, strict=True)}


def _bin_of(values: np.ndarray) -> np.ndarray:
    """The upper 16 bits of a float32, turned so that they rise with its value."""
    bits = values.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16


def _lower_end(bins: np.ndarray) -> np.ndarray:
    """The least value of a bin, float64; the inverse of `_bin_of`."""
    turned = (bins.astype(np.uint64) << 16).astype(np.uint32)
    bits = np.where(turned >> 31, turned & np.uint32(0x7FFFFFFF), ~turned)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total

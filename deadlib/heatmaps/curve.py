"""The sick area of a frame, how sure it is, and its course in groups of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from deadlib.heatmaps.onset import LEVEL
from deadlib.windows import Grid, upsampled

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 6
RESAMPLES = 2000
FEWEST_UNITS = 3


@dataclass(frozen=True)
class Blocks:
    """A frame divided into blocks at least as large as a window, which share no window's centre.

    Windows overlap, so neighbouring values of the grid are not independent; a block is the
    smallest piece of the frame that counts as one observation.
    """

    tops_px: tuple[int, ...]
    lefts_px: tuple[int, ...]
    """Edges, the frame's own side last."""

    @classmethod
    def over(cls, shape: tuple[int, int], window_px: tuple[float, float]) -> Blocks:
        edges = []
        for side, window in zip(shape, window_px, strict=True):
            count = max(1, int(side // window))
            edges.append(tuple(round(place) for place in np.linspace(0, side, count + 1)))
        return cls(*edges)

    @property
    def shares(self) -> Floats:
        """(B,) share of the frame's pixels in each block, row by row."""
        sizes = np.outer(np.diff(self.tops_px), np.diff(self.lefts_px)).ravel().astype(float)
        return np.asarray(sizes / sizes.sum())

    def bands(self) -> Iterator[tuple[int, int]]:
        """Top and height of each row of blocks."""
        for top, bottom in zip(self.tops_px[:-1], self.tops_px[1:], strict=True):
            yield top, bottom - top


def block_areas(
    values: NDArray[np.float32], grid: Grid, scale: float, blocks: Blocks, threshold: float
) -> tuple[Floats, Floats]:
    """(B,) share of each block above the threshold, and (B,) mean probability in it.

    values: (rows, columns) probabilities of the target on the grid. The picture of a large frame
    is never whole in memory: a row of blocks is drawn at a time.
    """
    width = blocks.lefts_px[-1]
    above: list[float] = []
    mean: list[float] = []
    for top, height in blocks.bands():
        band = upsampled(values, grid, (top, 0, height, width), scale)
        for block in np.split(band, blocks.lefts_px[1:-1], axis=1):
            above.append(float((block > threshold).mean()))
            mean.append(float(block.mean()))
    return np.array(above), np.array(mean)


def resampled_areas(
    areas: NDArray[Any], shares: Floats, generator: np.random.Generator
) -> Floats | None:
    """(R, T) sick areas of frames put together from blocks drawn with replacement.

    areas: (T, B); a resample takes the same blocks at all times, as a place keeps its cells.
    None where there are fewer than six blocks: too few to say anything.
    """
    count = areas.shape[1]
    if count < FEWEST_BLOCKS:
        return None
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) * shares
    return np.asarray((drawn / drawn.sum(axis=1, keepdims=True)) @ areas.T)


def limits(resampled: Floats | None, areas: NDArray[Any]) -> Floats:
    """(T, 2) 95 % percentile limits; NaN where there are too few blocks, or where all blocks agree
    and resampling them cannot show how they might differ."""
    if resampled is None:
        return np.full((areas.shape[0], 2), np.nan)
    tail = (1 - LEVEL) / 2
    found = np.quantile(resampled, (tail, 1 - tail), axis=0).T
    found[np.ptp(areas, axis=1) == 0] = np.nan
    return np.asarray(found)


def mean_limits(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean of independent shares with its 95 % limits by Student's t, kept within 0 and 1.

    No limits for fewer than three values, or for values that are all the same.
    """
    found = np.asarray(values, float)
    mean = float(found.mean())
    if len(found) < FEWEST_UNITS or np.ptp(found) == 0:
        return mean, None, None
    error = found.std(ddof=1) / len(found) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(found) - 1) * error)
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)

"""When a position falls sick: the first time from which the sick area stays large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

LEVEL = 0.95


@dataclass(frozen=True)
class Rule:
    """The sick area (share of the frame) is above `area` in at least `frames` frames in a row."""

    area: float = 0.25
    frames: int = 3

    def first(self, areas: Floats) -> NDArray[np.int64]:
        """(..., T) areas to the index (...) of the frame of onset; -1 where it is not reached."""
        above = np.asarray(areas) > self.area
        if above.shape[-1] < self.frames:
            return np.full(above.shape[:-1], -1)
        runs = np.lib.stride_tricks.sliding_window_view(above, self.frames, axis=-1).all(axis=-1)
        return np.where(runs.any(axis=-1), runs.argmax(axis=-1), -1)


@dataclass(frozen=True)
class Onset:
    """The onset of one position; None where it is not reached, or not known.

    time: hours, or frame numbers where no time is known. last_below: the last time seen before it
    that does not belong to the run, so that the onset lies between the two; None where it was sick
    from the first frame on. low, high: between them lie 95 % of the onsets of resampled blocks;
    high is None where more than 2.5 % of these never reach it. reached: share of them that do; None
    without resampling.
    """

    time: float | None
    last_below: float | None = None
    low: float | None = None
    high: float | None = None
    reached: float | None = None


def onset(times: Floats, areas: Floats, resampled: Floats | None, rule: Rule) -> Onset:
    """times, areas: (T,), in order; resampled: (R, T) areas of resamples, or None without them.

    A frame that is missing counts neither way: it is not in `times`.
    """
    place = int(rule.first(areas))
    reached, low, high = None, None, None
    if resampled is not None:
        places = rule.first(resampled)
        reached = float((places >= 0).mean())
        # Never reached is later than any time.
        found = np.where(places >= 0, np.asarray(times, float)[places], np.inf)
        tail = (1 - LEVEL) / 2
        limits = np.quantile(found, (tail, 1 - tail), method="inverted_cdf")
        low, high = (float(limit) if np.isfinite(limit) else None for limit in limits)
    if place < 0:
        return Onset(None, None, low, high, reached)
    last = float(times[place - 1]) if place else None
    return Onset(float(times[place]), last, low, high, reached)

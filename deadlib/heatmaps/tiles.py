"""A frame cut into tiles of windows that fit in memory, all of one shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of windows, and how many of them make a tile.

    The last tiles of a row or column hang over where the windows do not divide evenly.
    """

    windows: Pair
    per_tile: Pair

    def __iter__(self) -> Iterator[Pair]:
        """The first window, row and column, of each tile."""
        for row in range(0, self.windows[0], self.per_tile[0]):
            for column in range(0, self.windows[1], self.per_tile[1]):
                yield row, column


def tiling(windows: Pair, single_px: Pair, stride_px: Pair, most_px: float) -> Tiling | None:
    """The fewest tiles of at most `most_px` pixels each; None where not even one window fits.

    A tile with n windows along an axis is single + (n - 1) x stride pixels long.
    """
    best: Tiling | None = None
    least = math.inf
    for down in range(1, windows[0] + 1):
        high = math.ceil(windows[0] / down)
        rows_px = single_px[0] + (high - 1) * stride_px[0]
        wide = min(windows[1], int((most_px / rows_px - single_px[1]) // stride_px[1]) + 1)
        if wide < 1:
            continue
        across = math.ceil(windows[1] / wide)
        wide = math.ceil(windows[1] / across)
        columns_px = single_px[1] + (wide - 1) * stride_px[1]
        area = math.ceil(windows[0] / high) * across * rows_px * columns_px
        if area < least:
            best, least = Tiling(windows, (high, wide)), area
    return best

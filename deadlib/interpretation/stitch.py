"""One map of a whole frame from maps of windows that overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deadlib.interpretation.heat import enlarge
from deadlib.windows import grid_over

Corner = tuple[int, int]
"""First row and column of a window, in pixels of the frame."""

HeatOf = Callable[[list[Corner]], np.ndarray]
"""B windows → their maps, (B, h, w, classes) float32."""


def corners(shape: tuple[int, int], window_px: tuple[int, int], stride_px: int) -> list[Corner]:
    """Windows that cover a frame (H, W), row by row.

    The last window of a row and of a column ends at the frame's edge, so it may stand closer.
    Raises InputError where the window is larger than the frame, or the stride below 1.
    """
    grid = grid_over(shape, window_px, stride_px)
    starts = zip((grid.tops_px, grid.lefts_px), shape, window_px, strict=True)
    tops, lefts = (sorted({*first.tolist(), side - window}) for first, side, window in starts)
    return [(top, left) for top in tops for left in lefts]


def stitched(
    heat_of: HeatOf,
    windows: list[Corner],
    shape: tuple[int, int],
    window_px: tuple[int, int],
    batch: int,
) -> np.ndarray:
    """Maps of windows, enlarged to the window's pixels and blended: (H, W, classes) float32.

    At each pixel the mean over the windows that show it, weighted by how far inside they do: at
    its border a window sees less of the surroundings, and seams would show.
    windows: they cover the frame (H, W); `batch` of them are asked at once.
    """
    weight = _bump(window_px)
    total: np.ndarray = np.zeros(())
    weights = np.zeros(shape, np.float32)
    for start in range(0, len(windows), batch):
        part = windows[start : start + batch]
        for (top, left), maps in zip(part, heat_of(part), strict=True):
            if total.ndim == 0:
                total = np.zeros((*shape, maps.shape[-1]), np.float32)
            rows, columns = slice(top, top + window_px[0]), slice(left, left + window_px[1])
            total[rows, columns] += enlarge(maps, window_px) * weight[..., None]
            weights[rows, columns] += weight
    return np.asarray(total / weights[..., None])


def _bump(window_px: tuple[int, int]) -> np.ndarray:
    """(rows, columns) float32 > 0: highest in the middle, low at the border."""
    rows, columns = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in window_px)
    return np.outer(rows, columns).astype(np.float32)

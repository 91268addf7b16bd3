"""A sketch of an image: few enough numbers to keep for every image, enough to know it again.

The mean of all channels is averaged over a grid of at most 64 x 64 cells; slow changes of
brightness (lamp, meniscus) are taken away; what remains is told in units of its own typical size
and clipped, so that one bright speck does not outweigh the cells. 16 levels are kept.
"""

from __future__ import annotations

import base64
from functools import lru_cache

import numpy as np

MOST_CELLS = 64
# Images without this many cells to a side are too small for a sketch to say anything.
FEWEST_CELLS = 16
_PX_PER_CELL = 3

# Levels 0 to 14 with 7 for "as its surroundings"; clipped at three times the typical deviation.
_CENTRE = 7
_CLIP = 3.0
# Of the median absolute deviation, for a normal distribution.
_TO_DEVIATION = 1.4826
# The width of the Gaussian that tells slow from fast changes, as a share of the sketch's side.
_SLOW = 0.04


def sketch_shape(height_px: int, width_px: int) -> tuple[int, int]:
    """Rows and columns of the sketch of an image of this size."""
    rows, columns = (min(MOST_CELLS, side // _PX_PER_CELL) for side in (height_px, width_px))
    return rows, columns


def sketch(image: np.ndarray) -> str:
    """The sketch of an image (H, W, C), as text; empty for one that is too small or blank."""
    rows, columns = sketch_shape(*image.shape[:2])
    if min(rows, columns) < FEWEST_CELLS:
        return ""
    cells = _cell_means(image, rows, columns)
    detail = cells - _smoothing(rows) @ cells @ _smoothing(columns).T
    # Where most of an image is of one value, the median is 0 and the deviation counts.
    typical = max(float(np.median(np.abs(detail))) * _TO_DEVIATION, 0.1 * float(detail.std()))
    if typical <= 1e-6 * max(1.0, float(np.abs(cells).max())):
        return ""
    scaled = np.clip(detail / typical, -_CLIP, _CLIP) * (_CENTRE / _CLIP)
    levels = (np.rint(scaled) + _CENTRE).astype(np.uint8).ravel()
    if levels.size % 2:
        levels = np.append(levels, np.uint8(0))
    return base64.b64encode((levels[::2] << 4 | levels[1::2]).tobytes()).decode()


def read_sketch(text: str, height_px: int, width_px: int) -> np.ndarray:
    """The sketch of an image of this size as (rows, columns) float32, -7 to 7."""
    rows, columns = sketch_shape(height_px, width_px)
    pairs = np.frombuffer(base64.b64decode(text), np.uint8)
    levels = np.stack([pairs >> 4, pairs & 15], axis=1).ravel()[: rows * columns]
    return levels.reshape(rows, columns).astype(np.float32) - _CENTRE


def _cell_means(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over the cells of a grid, (rows, columns) float64; where the grid does not divide the
    image, the last row of pixels of a taller cell is left out."""
    height, width, channels = image.shape
    top, left = _edges(height, rows), _edges(width, columns)
    exact = np.float64 if image.dtype.kind == "f" else np.uint32
    sums = np.zeros((rows, width * channels), exact)
    lines = image.reshape(height, width * channels)
    deep = height // rows
    for line in range(deep):
        sums += lines[top[:-1] + line]
    # The channels of a pixel stand side by side.
    cells = np.add.reduceat(sums.astype(np.float64), left[:-1] * channels, axis=1)
    return np.asarray(cells / (np.diff(left) * deep * channels))


def _edges(length: int, cells: int) -> np.ndarray:
    return np.arange(cells + 1) * length // cells


@lru_cache(maxsize=64)
def _smoothing(cells: int) -> np.ndarray:
    """A Gaussian along one side, as a matrix whose rows add up to 1."""
    place = np.arange(cells)
    weights = np.exp(-0.5 * ((place[:, None] - place) / (_SLOW * cells)) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))

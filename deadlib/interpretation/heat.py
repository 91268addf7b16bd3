"""A map of heat: laid over its image, and where in it the heat lies."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from deadlib.recipe import InputSection

BORDER_FRACTION = 0.1


def place(heat: np.ndarray, shape: tuple[int, int], section: InputSection) -> np.ndarray:
    """Lay a heat map (h, w) over an image of `shape` (H, W): bilinear, (H, W) float32.

    With fit=crop the network saw the central window alone, and the rest of the image gets 0.
    """
    if section.fit == "resize":
        return enlarge(heat, shape)
    top, left, rows, columns = seen_window(shape, section)
    placed = np.zeros(shape, np.float32)
    placed[top : top + rows, left : left + columns] = enlarge(heat, (rows, columns))
    return placed


def seen_window(shape: tuple[int, int], section: InputSection) -> tuple[int, int, int, int]:
    """Top, left, rows and columns, in pixels, of what the network sees of an image (H, W)."""
    if section.fit == "resize":
        return (0, 0, *shape)
    rows, columns = section.size_px
    return ((shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns)


def border_share(heat: np.ndarray) -> float:
    """Share of the heat (H, W) in the outer tenth of each side; 0.36 for even heat, NaN for none.

    A network that reads cells should stay near or below that: a scale bar, a well's rim or a
    vignette lies further out.
    """
    rows, columns = (max(1, round(side * BORDER_FRACTION)) for side in heat.shape)
    total = float(heat.sum())
    if total == 0:
        return float("nan")
    return 1 - float(heat[rows:-rows, columns:-columns].sum()) / total


def half_heat_area(heat: np.ndarray) -> float:
    """Smallest share of the area that holds half of the heat (H, W); 0.5 for even heat."""
    total = float(heat.sum(dtype=np.float64))
    if total == 0:
        return float("nan")
    cumulated = np.cumsum(np.sort(heat, axis=None)[::-1], dtype=np.float64)
    return float(np.searchsorted(cumulated, total / 2) + 1) / heat.size


def enlarge(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map (h, w) or maps (h, w, classes) at another size (H, W), bilinear."""
    planes = heat if heat.ndim == 3 else heat[..., None]
    enlarged = np.asarray(tf.image.resize(planes, shape, antialias=True), np.float32)
    return enlarged if heat.ndim == 3 else enlarged[..., 0]

"""Reading images at fractional coordinates: the one gather of all geometry.

Coordinates are rows and columns in pixels, pixel centres at whole numbers. Outside the image they
are reflected about the outermost pixels' centres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

# The corners of a 2 x 2 neighbourhood, in reading order.
IS_UPPER = np.array([1, 1, 0, 0], np.float32)
IS_LEFT = np.array([1, 0, 1, 0], np.float32)


def pixel_grid(height_px: int, width_px: int) -> np.ndarray:
    """Rows and columns of every pixel, (2, 1, H, W) float32, on the host."""
    rows, columns = np.meshgrid(np.arange(height_px), np.arange(width_px), indexing="ij")
    return np.stack([rows, columns])[:, None].astype(np.float32)


def sample(images: Any, coordinates: Any, interpolate: bool = True) -> Any:
    """Images (B, H, W, C) at rows and columns, each (B, h, w): (B, h, w, C), bilinear.

    With interpolate=False the coordinates must be whole numbers and pixels are copied. A host
    array as coordinates is the pixel grid itself: nothing has moved and `images` come back.
    """
    if isinstance(coordinates, np.ndarray):
        return images
    rows, columns = coordinates
    height, width, channels = images.shape[1:4]
    rows, columns = _reflect(rows, height), _reflect(columns, width)
    if not interpolate:
        return _gather(images, rows, columns)
    top, left = ops.floor(rows), ops.floor(columns)
    corners = _gather(_neighbourhoods(images), top, left)
    corners = ops.reshape(corners, (-1, *rows.shape[1:], 4, channels))
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    weights = ops.abs(IS_UPPER - down) * ops.abs(IS_LEFT - right)
    # A sum over an axis, because XLA computes a reduction once; plain arithmetic it repeats for
    # every tap of a blur that follows, and takes minutes to compile that.
    return ops.sum(corners * weights[..., None], axis=3)


def _reflect(position: Any, size: int) -> Any:
    """Positions folded into [0, size - 1]."""
    period = float(max(2 * (size - 1), 1))
    # Not ops.mod, which XLA takes half a minute to compile here; if rounding makes the quotient
    # one too small or too large, the fold that follows makes up for it.
    folded = ops.abs(position - period * ops.floor(position / period))
    return ops.clip(ops.minimum(folded, period - folded), 0.0, float(size - 1))


def _neighbourhoods(images: Any) -> Any:
    """Each pixel with its right, lower and lower right neighbours: (B, H, W, 4C)."""
    height, width = images.shape[1:3]
    wider = ops.concatenate([images, images[:, :, -1:]], axis=2)
    padded = ops.concatenate([wider, wider[:, -1:]], axis=1)
    corners = [
        padded[:, down : down + height, right : right + width]
        for down in (0, 1)
        for right in (0, 1)
    ]
    return ops.concatenate(corners, axis=-1)


def _gather(images: Any, row: Any, column: Any) -> Any:
    """Pixels at whole-numbered positions (B, h, w): (B, h, w, C)."""
    height, width, channels = images.shape[1:4]
    batch = ops.shape(images)[0]
    image = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1)) * (height * width)
    index = image + ops.cast(row, "int32") * width + ops.cast(column, "int32")
    pixels = ops.take(ops.reshape(images, (-1, channels)), ops.reshape(index, (-1,)), axis=0)
    return ops.reshape(pixels, (-1, *row.shape[1:], channels))

"""Reading images at fractional coordinates: the one gather of all geometry.

Coordinates are float32 rows and columns in pixels, pixel centres at whole numbers. What lies
outside the image is by `border` either mirrored about the outermost pixels' centres or clamped to
the outermost pixels.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from keras import ops

Border = Literal["mirror", "clamp"]
Interpolation = Literal["none", "bilinear", "bicubic"]

TAPS: dict[Interpolation, tuple[np.ndarray, np.ndarray]] = {
    "none": (np.array([0], np.int32), np.array([[1]], np.float32)),
    "bilinear": (np.array([0, 1], np.int32), np.array([[1, -1], [0, 1]], np.float32)),
    "bicubic": (
        np.array([-1, 0, 1, 2], np.int32),
        np.array(
            [[0, -0.5, 1, -0.5], [1, 0, -2.5, 1.5], [0, 0.5, 2, -1.5], [0, 0, -0.5, 0.5]],
            np.float32,
        ),
    ),
}
"""Along one axis: the pixels that are read, counted from the one at or before the position, and
what each counts, as a polynomial of the distance from that one, powers ascending."""


def pixel_grid(height_px: int, width_px: int) -> np.ndarray:
    """Rows and columns of every pixel, (2, 1, H, W) float32, on the host."""
    rows, columns = np.meshgrid(np.arange(height_px), np.arange(width_px), indexing="ij")
    return np.stack([rows, columns])[:, None].astype(np.float32)


def sample(
    images: Any,
    coordinates: Any,
    interpolation: Interpolation = "bilinear",
    border: Border = "mirror",
) -> Any:
    """Images (B, H, W, C) at rows and columns, each (B, h, w): (B, h, w, C), of the images' dtype.

    bicubic is cubic convolution with a = -0.5 (Keys 1981, equation 15). With none the coordinates
    must be whole numbers and pixels are copied. A host array as coordinates is the pixel grid
    itself: nothing has moved and `images` come back.
    """
    if isinstance(coordinates, np.ndarray):
        return images
    height, width, channels = images.shape[1:4]
    steps, weights = TAPS[interpolation]
    batch = ops.reshape(ops.arange(ops.shape(images)[0], dtype="int32"), (-1, 1, 1, 1))
    pixels = ops.reshape(images, (-1, channels))
    first_row, below = _split(coordinates[0], height, border)
    first_column, right = _split(coordinates[1], width, border)
    # Rows as one axis, columns written out: XLA then computes the sum once, in one pass over the
    # result. Plain sums alone it repeats for every tap of a blur that follows, and takes minutes
    # to compile that.
    start = (batch * height + _pixel(first_row + steps, height, border)) * width

    def read(step: int) -> Any:
        return ops.take(pixels, start + _pixel(first_column + step, width, border), axis=0)

    if interpolation == "none":
        return read(0)[:, :, :, 0]
    lines: Any = sum(
        _polynomial(column_weights.tolist(), right)[..., None] * ops.cast(read(step), "float32")
        for step, column_weights in zip(steps.tolist(), weights, strict=True)
    )
    result = ops.sum(_polynomial(list(weights.T), below)[..., None] * lines, axis=3)
    return ops.cast(result, images.dtype)


def _split(position: Any, size: int, border: Border) -> tuple[Any, Any]:
    """Positions (B, h, w) as the pixel at or before, int32, and the rest, float32: (B, h, w, 1)."""
    position = _inside(position, size, border)
    whole = ops.floor(position)
    return ops.cast(whole, "int32")[..., None], (position - whole)[..., None]


def _pixel(position: Any, size: int, border: Border) -> Any:
    """Pixels of which some may be a tap's width outside, brought inside."""
    if border == "mirror":
        position = ops.abs(position)
        position = ops.minimum(position, 2 * size - 2 - position)
    # Mirrored, only where an image is narrower than the taps.
    return position if border == "mirror" and size > 2 else ops.clip(position, 0, size - 1)


def _polynomial(coefficients: list[Any], t: Any) -> Any:
    """Powers ascending, by Horner's rule."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * t + coefficient
    return value


def _inside(position: Any, size: int, border: Border) -> Any:
    """Positions in [0, size - 1]."""
    if border == "mirror":
        period = float(max(2 * (size - 1), 1))
        # Not ops.mod, which XLA takes half a minute to compile here; if rounding makes the
        # quotient one too small or too large, the fold that follows makes up for it.
        folded = ops.abs(position - period * ops.floor(position / period))
        position = ops.minimum(folded, period - folded)
    return ops.clip(position, 0.0, float(size - 1))

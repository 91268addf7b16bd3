"""An image at another number of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def resampled_shape(shape: Sequence[int], zoom: float) -> tuple[int, int]:
    """Rows and columns of an image of so many, `zoom` times as large: at least 1 px a side."""
    return max(1, round(shape[0] * zoom)), max(1, round(shape[1] * zoom))


def resampled(image: np.ndarray, zoom: float) -> np.ndarray:
    """An image (H, W, C) `zoom` times as large, in its own data type: bilinear, without aliases.

    Integers are rounded.
    """
    height, width = resampled_shape(image.shape, zoom)
    planes = [
        np.asarray(
            Image.fromarray(image[..., channel].astype(np.float32)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for channel in range(image.shape[2])
    ]
    found = np.stack(planes, axis=2)
    return found if image.dtype.kind == "f" else np.rint(found).astype(image.dtype)

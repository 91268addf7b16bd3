"""Five windows of one image, by which a network sees most of a field at full resolution.

CellDeathPred cuts the four corners and the centre of each field; the mean of their embeddings is
the field's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from deadlib.errors import InputError

FIVE = 5


def five_crops(images: Any, size_px: Sequence[int]) -> Any:
    """Corners (top left, top right, bottom left, bottom right) and centre of (B, H, W, C) images.

    Gives (B, 5, *size_px, C); windows overlap where size_px is more than half of the image. Raises
    InputError where images are smaller than a window.
    """
    found_px = ops.shape(images)[1:3]
    below, beside = (image - window for image, window in zip(found_px, size_px, strict=True))
    if None not in images.shape[1:3] and (below < 0 or beside < 0):
        raise too_small(found_px, size_px)
    places = [(0, 0), (0, beside), (below, 0), (below, beside), (below // 2, beside // 2)]
    rows, columns = size_px
    return ops.stack(
        [images[:, top : top + rows, left : left + columns, :] for top, left in places], axis=1
    )


def too_small(found_px: Sequence[int], size_px: Sequence[int]) -> InputError:
    """What to say of images (rows, columns) that no window of `size_px` fits into."""
    height, width = found_px
    rows, columns = size_px
    return InputError(
        f"images of {height} x {width} px are smaller than the {rows} x {columns} px that the "
        "model takes; give images of the size that it was trained on"
    )


def one_by_one(images: Any) -> Any:
    """Crops (B, N, H, W, C) as images (B x N, H, W, C); images stay as they are."""
    return images if len(images.shape) == 4 else ops.reshape(images, (-1, *images.shape[2:]))


def mean_of_crops(values: Any, images: Any) -> Any:
    """Of values (B x N, D) of all crops of `images` (B, N, H, W, C) their mean, (B, D); values of
    images (B, H, W, C) stay as they are."""
    if len(images.shape) == 4:
        return values
    return ops.mean(ops.reshape(values, (-1, images.shape[1], values.shape[-1])), axis=1)

"""Windows: where in a source image an example lies, and how its pixels are read."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tfrecords_tools.errors import PlanError
from tfrecords_tools.settings import ConversionSettings


class Window(NamedTuple):
    """A rectangle of a source image, in pixels from the top left corner.

    `suffix` follows the source's name in the example's id; grid tiles also know their 1-based
    place.
    """

    top_px: int
    left_px: int
    height_px: int
    width_px: int
    suffix: str = ""
    tile_row: int | None = None
    tile_column: int | None = None


TILES = (2, 4, 6, 8)

WINDOW = ("top_px", "left_px", "height_px", "width_px")
"""The manifest's columns of a window."""


class Box(NamedTuple):
    """An object's box: 0-based pixel edges, the right and lower ones exclusive."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


def image_windows(height_px: int, width_px: int, settings: ConversionSettings) -> list[Window]:
    """The windows of one image, for every unit but boxes; empty where the image is too small."""
    if settings.tile is not None:
        return grid_windows(height_px, width_px, *settings.tile)
    if settings.crop_px is not None:
        stride_px = settings.stride_px or settings.crop_px
        return sliding_windows(height_px, width_px, settings.crop_px, stride_px, settings.lattice)
    return [Window(0, 0, height_px, width_px)]


def grid_of(tiles: int) -> tuple[int, int]:
    """Rows and columns of the grid that cuts an image into so many tiles, wider than high.

    As the celldeath slicer has them but for 8, which it cut into 3 x 3 = 9. Raises PlanError for
    other numbers than 2, 4, 6 and 8.
    """
    if tiles not in TILES:
        numbers = ", ".join(str(number) for number in TILES)
        raise PlanError(f"{tiles} tiles: expected {numbers}, or a grid such as 3x3")
    columns = math.ceil(math.sqrt(tiles)) if tiles < 8 else 4
    return tiles // columns, columns


def grid_windows(height_px: int, width_px: int, rows: int, columns: int) -> list[Window]:
    """Equal tiles, row by row; what the division leaves at the right and lower edge is dropped.

    Tiles are named `_ROW_COLUMN`, 1-based with two digits, as the celldeath slicer names them.
    """
    height, width = height_px // rows, width_px // columns
    if height == 0 or width == 0:
        return []
    return [
        Window(
            row * height,
            column * width,
            height,
            width,
            f"_{row + 1:02}_{column + 1:02}",
            row + 1,
            column + 1,
        )
        for row in range(rows)
        for column in range(columns)
    ]


def sliding_windows(
    height_px: int, width_px: int, crop_px: int, stride_px: int, lattice: str = "inclusive"
) -> list[Window]:
    """Every square crop whose corner lies on the stride's lattice and that fits, row by row.

    1024 x 1344 px cut at 256 px with a stride of 128 px give 7 x 9 = 63 crops. The exclusive
    lattice stops short of a crop that would end exactly at the lower or right border; these frames
    lose their last row and give 6 x 9 = 54, the number that DeadNet was published with.
    """
    beyond = 1 if lattice == "inclusive" else 0
    return [
        Window(top, left, crop_px, crop_px, f"_y{top}_x{left}")
        for top in range(0, height_px - crop_px + beyond, stride_px)
        for left in range(0, width_px - crop_px + beyond, stride_px)
    ]


def box_window(box: Box, context: float = 0.0, box_px: int | None = None) -> Window:
    """The square window centred on a box: its longer side x (1 + context), or `box_px`.

    Near the border the window reaches outside the image, so that the object stays in its centre.
    """
    longer = max(box.xmax - box.xmin, box.ymax - box.ymin)
    # Rounded first, so that 20 x (1 + 0.1) is 22 and not, by a binary fraction, 23.
    side = box_px or max(1, math.ceil(round(longer * (1 + context), 6)))
    top = math.floor((box.ymin + box.ymax - side) / 2 + 0.5)
    left = math.floor((box.xmin + box.xmax - side) / 2 + 0.5)
    return Window(top, left, side, side)


def overlap(one: Window, other: Window) -> bool:
    """Whether two windows share a pixel."""
    return (
        one.top_px < other.top_px + other.height_px
        and other.top_px < one.top_px + one.height_px
        and one.left_px < other.left_px + other.width_px
        and other.left_px < one.left_px + one.width_px
    )


def contains(one: Window, other: Window) -> bool:
    """Whether all of the other window lies in the one."""
    return (
        one.top_px <= other.top_px
        and one.left_px <= other.left_px
        and other.top_px + other.height_px <= one.top_px + one.height_px
        and other.left_px + other.width_px <= one.left_px + one.width_px
    )


def read_window(image: np.ndarray, window: Window) -> np.ndarray:
    """The pixels (height_px, width_px, C) of a window of an image (H, W, C), same dtype.

    Where the window reaches outside, the image is mirrored at its edge pixels, as often as needed.
    """
    inside = (
        window.top_px >= 0
        and window.left_px >= 0
        and window.top_px + window.height_px <= image.shape[0]
        and window.left_px + window.width_px <= image.shape[1]
    )
    if inside:
        rows = slice(window.top_px, window.top_px + window.height_px)
        columns = slice(window.left_px, window.left_px + window.width_px)
        return image[rows, columns]
    return image[
        np.ix_(
            _mirrored(window.top_px, window.height_px, image.shape[0]),
            _mirrored(window.left_px, window.width_px, image.shape[1]),
        )
    ]


def _mirrored(start: int, length: int, size: int) -> np.ndarray:
    """Indices start .. start + length - 1, folded back into 0 .. size - 1 at both ends."""
    period = max(1, 2 * (size - 1))
    folded = np.arange(start, start + length) % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros(length, dtype=int)

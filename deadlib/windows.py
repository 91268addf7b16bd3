"""Windows laid over a frame: where they stand, and how a value of each becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deadlib.errors import InputError

if TYPE_CHECKING:
    from deadlib.runs import Run

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Windows of one size, `stride_px` apart, from the upper left corner of a frame on."""

    rows: int
    columns: int
    stride_px: int
    window_px: tuple[int, int]
    """Rows and columns of a window."""

    @property
    def tops_px(self) -> NDArray[np.int64]:
        """(rows,) the first row of the windows."""
        return np.arange(self.rows, dtype=np.int64) * self.stride_px

    @property
    def lefts_px(self) -> NDArray[np.int64]:
        """(columns,) the first column of the windows."""
        return np.arange(self.columns, dtype=np.int64) * self.stride_px


def training_window(run: Run) -> tuple[int, int]:
    """Rows and columns, in pixels of a frame, of what the network saw of it in training.

    Raises InputError where the training images had several sizes.
    """
    section = run.recipe.input
    if section.fit == "crop":
        return section.size_px
    shape = run.dataset.get("image_shape")
    if shape is None:
        raise InputError(
            f"{run.folder}: trained on images of several sizes, each brought to "
            f"{section.size_px[0]} x {section.size_px[1]} px, so that no size of window fits whole "
            "frames; train on crops or tiles of one size"
        )
    return (int(shape[0]), int(shape[1]))


def normalised_with(run: Run) -> tuple[int, int]:
    """Rows and columns, in pixels of the network's input, of what a window is normalised with: the
    window itself, or the stored training image around it, where that was brought to its own
    statistics or made even before the window was cut."""
    section = run.recipe.input
    shape = run.dataset.get("image_shape")
    whole = section.crops_last or (section.fit == "crop" and section.equalise)
    return (int(shape[0]), int(shape[1])) if whole and shape else section.size_px


def grid_over(shape: tuple[int, int], window_px: tuple[int, int], stride_px: int) -> Grid:
    """All windows that lie wholly in a frame of `shape` (rows, columns).

    Raises InputError where the window is larger than the frame.
    """
    if stride_px < 1:
        raise InputError(f"stride of {stride_px} px: expected 1 or more")
    if window_px[0] > shape[0] or window_px[1] > shape[1]:
        raise InputError(
            f"the network looks at windows of {window_px[0]} x {window_px[1]} px, but the frame "
            f"has {shape[0]} x {shape[1]} px; give larger frames, or frames at the magnification "
            "of the training"
        )
    rows, columns = (
        (side - window) // stride_px + 1 for side, window in zip(shape, window_px, strict=True)
    )
    return Grid(rows, columns, stride_px, window_px)


def upsampled(
    values: Any, grid: Grid, region: tuple[int, int, int, int], scale: float = 1.0
) -> Floats:
    """Values (rows, columns, ...) at every pixel of a region of the frame, (height, width, ...).

    Bilinear between the centres of the windows, constant beyond the outermost ones.
    region: top, left, height and width in pixels of the frame. scale: pixels of the frame that the
    windows lie on per pixel of the region's, where it was resampled for the network.
    """
    top, left, height, width = region
    stride = grid.stride_px / scale
    window = tuple(side / scale for side in grid.window_px)
    values = np.asarray(values, np.float32)
    along_rows = _weights(grid.rows, window[0], stride, top, height)
    along_columns = _weights(grid.columns, window[1], stride, left, width)
    rows = np.tensordot(along_rows, values, (1, 0))
    return np.moveaxis(np.tensordot(along_columns, rows, (1, 1)), 0, 1).astype(np.float32)


def _weights(count: int, window_px: float, stride_px: float, start: int, length: int) -> Floats:
    """(length, count): how much each window counts at the pixels start, start + 1, ..."""
    centre = (window_px - 1) / 2
    place = np.clip((np.arange(start, start + length) - centre) / stride_px, 0, count - 1)
    before = np.minimum(place.astype(np.int64), max(count - 2, 0))
    share = (place - before).astype(np.float32)
    weights = np.zeros((length, count), np.float32)
    weights[np.arange(length), before] = 1 - share
    weights[np.arange(length), np.minimum(before + 1, count - 1)] += share
    return weights

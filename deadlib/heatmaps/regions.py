"""Frames of any size, read where they are needed, and beyond their borders as in a mirror."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from deadlib.errors import InputError


class Frame(Protocol):
    """A frame that need not lie in memory; a NumPy array (H, W, C) is one.

    Integers are taken in the range of their type, floats in unit range.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and channels."""

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: tuple[slice, slice]) -> Any:
        """The pixels of some rows and columns, (h, w, C)."""


def read_region(frame: Frame, top: int, left: int, height: int, width: int) -> np.ndarray:
    """The pixels (height, width, C) from row `top` and column `left` on, in the frame's dtype.

    Beyond its borders the frame is continued by its mirror image, as often as it takes.
    """
    rows = mirrored(np.arange(top, top + height), frame.shape[0])
    columns = mirrored(np.arange(left, left + width), frame.shape[1])
    first, left = int(rows.min()), int(columns.min())
    found = np.asarray(frame[first : int(rows.max()) + 1, left : int(columns.max()) + 1])
    if found.shape[:2] == (height, width) and top == first and columns[0] == left:
        return found
    return found[np.ix_(rows - first, columns - left)]


def mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Where the places `index` of an endless row of mirror images stand in 0 to length - 1."""
    place = np.mod(index, 2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def check_frame(frame: Frame, channels: int) -> None:
    """Raise InputError where a frame is not (H, W, channels) of integers or floats."""
    shape = tuple(frame.shape)
    if len(shape) != 3 or shape[2] != channels:
        raise InputError(
            f"a frame of shape {shape}: expected rows, columns and {channels} "
            f"channel{'' if channels == 1 else 's'}, as the network was trained on"
        )
    if np.dtype(frame.dtype).kind not in "uif":
        raise InputError(f"a frame of {frame.dtype}: expected unsigned integers or floats")

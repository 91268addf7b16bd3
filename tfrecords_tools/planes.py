"""Planes of a z-stack to one image: one of them, a projection, or the one in focus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrecords_tools.locator import PROJECTIONS

Plane = Callable[[int], np.ndarray]
"""Reads the plane of this number (from 0): (height, width) or (height, width, sample)."""


def one_image(read: Plane, count: int, z: str | None) -> np.ndarray:
    """The image that `z` makes of `count` planes, which are read one after another.

    z: a plane's number from 1; `max` or `mean` (rounded where intensities are whole numbers) of
    every pixel over the planes; `focus`, the plane with the highest `sharpness`; None where there
    is one plane. Raises ValueError, with what there is, where no such plane exists.
    """
    if z is None or z not in PROJECTIONS:
        return read(_plane_number(z, count))
    if z == "focus":
        return _sharpest(read, count)
    first = read(0)
    total = first.astype(np.float64) if z == "mean" else first
    for number in range(1, count):
        plane = read(number)
        total = total + plane if z == "mean" else np.maximum(total, plane)
    if z == "max":
        return total
    mean = total / count
    return (np.rint(mean) if first.dtype.kind in "ui" else mean).astype(first.dtype)


def sharpness(plane: np.ndarray) -> float:
    """The squared difference of pixels two apart, along rows and columns, averaged.

    Brenner et al. 1976, An automated microscope for cytologic research, J Histochem Cytochem
    24:100, there along one axis.
    """
    values = plane.astype(np.float32)
    rows = np.square(values[2:] - values[:-2])
    columns = np.square(values[:, 2:] - values[:, :-2])
    return float(sum(part.mean(dtype=np.float64) for part in (rows, columns) if part.size))


def check_z(z: str | None) -> str | None:
    """What is wrong with this choice of z, or None."""
    if z is None or z in PROJECTIONS or (z.isdecimal() and int(z) > 0):
        return None
    return f"z {z!r}: expected the number of a plane from 1, or {', '.join(PROJECTIONS)}"


def _plane_number(z: str | None, count: int) -> int:
    number = 1 if z is None else int(z)
    if number > count or (z is None and count > 1):
        raise ValueError(f"z plane {z or 'not chosen'}, but it has planes 1 to {count}")
    return number - 1


def _sharpest(read: Plane, count: int) -> np.ndarray:
    best = read(0)
    highest = sharpness(best)
    for number in range(1, count):
        plane = read(number)
        value = sharpness(plane)
        if value > highest:
            best, highest = plane, value
    return best

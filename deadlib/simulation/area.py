"""Sick or not: the one rule for cells, and the share of a frame that belongs to sick ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

SICK_STRESS = 0.15
STEP_PX = 2


def is_sick(stress: float) -> bool:
    """Whether a cell of this stress (0 to 1) counts as sick; dying and dead cells have 1."""
    return stress >= SICK_STRESS


def sick_area(mask: NDArray[np.uint16], sick: Iterable[int]) -> float | None:
    """The share of a frame's pixels whose nearest cell is one of `sick`; None without cells.

    mask: (H, W), each pixel's cell number, 0 outside. Counted on every second row and column.
    """
    coarse = mask[::STEP_PX, ::STEP_PX]
    if not coarse.any():
        return None
    rows, columns = distance_transform_edt(coarse == 0, return_distances=False, return_indices=True)
    return float(np.isin(coarse[rows, columns], list(sick)).mean())

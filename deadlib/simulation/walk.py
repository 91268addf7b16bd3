"""How the camera goes through a well: to places of their own, or along a strip in steps so short
that neighbouring fields overlap and show the same cells, shifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.field import Field

STAGE_ERROR_UM = 3.0


@dataclass(frozen=True)
class Place:
    """Where one field's canvas lies on what is drawn for it: whole pixels, rows first."""

    extent_px: tuple[int, int]
    corner_px: tuple[int, int]

    def cut(self, scene: NDArray[Any], field: Field) -> NDArray[Any]:
        """The field's canvas out of an array of the extent."""
        (top, left), (rows, columns) = self.corner_px, field.canvas
        return scene[top : top + rows, left : left + columns]


def own_place(field: Field) -> Place:
    """A field that shares nothing with any other."""
    return Place(field.canvas, (0, 0))


def strip_place(
    field: Field, index: int, fields: int, overlap: float, rng: np.random.Generator
) -> Place:
    """The field `index` (from 0) of a strip of `fields`, each a step to the right of the last.

    A step is (1 - overlap) x the image's width. The stage errs by up to STAGE_ERROR_UM in both
    directions, drawn evenly from `rng`.
    """
    error = round(STAGE_ERROR_UM / field.pixel_um)
    step = round((1 - overlap) * field.width)
    down, right = (int(value) for value in rng.integers(-error, error + 1, 2))
    rows, columns = field.canvas
    return Place(
        extent_px=(rows + 2 * error, columns + 2 * error + (fields - 1) * step),
        corner_px=(error + down, error + index * step + right),
    )

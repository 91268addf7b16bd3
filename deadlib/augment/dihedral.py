"""Affine augmentations beside those of `geometry`: the dihedral group, and zoom about any point."""

from __future__ import annotations

from typing import Any

from keras import ops
from pydantic import Field

from deadlib.augment.base import CommonSettings, PositiveRange
from deadlib.augment.geometry import Affine
from deadlib.augment.randomness import uniform


class Dihedral(Affine):
    """One of the 8 mirrored and quarter-turned views, all alike.

    Oblong images keep their frame and their scale: the four views that swap the axes are read
    about the centre, so two ends are cut and two are filled by reflection.
    """

    interpolates = False

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        view = ops.floor(8 * uniform(seeds, 1))
        swapped = ops.floor(view / 4)
        up = 1 - 2 * (ops.floor(view / 2) - 2 * swapped)
        left = 1 - 2 * (view - 2 * ops.floor(view / 2))
        straight, crossed = 1 - swapped, swapped
        lines = [
            _about_centre([up * straight, up * crossed], size_px, 0),
            _about_centre([left * crossed, left * straight], size_px, 1),
        ]
        return ops.stack(lines, axis=1)


class ZoomAnywhere(Affine):
    """Magnify about a point drawn anywhere in the image, which stays where it is."""

    class Settings(CommonSettings):
        factor: PositiveRange = Field((1.0, 1.1), description="above 1 magnifies; uniform")

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        step = 1 / uniform(seeds, 1, (), *self.settings.factor)
        zero = ops.zeros_like(step)
        rows, columns = (
            (1 - step) * uniform(seeds, 2 + axis, (), 0.0, size - 1.0)
            for axis, size in enumerate(size_px)
        )
        lines = [[step, zero, rows], [zero, step, columns]]
        return ops.stack([ops.stack(line, axis=-1) for line in lines], axis=1)


def _about_centre(signs: list[Any], size_px: tuple[int, int], axis: int) -> Any:
    """A row of the matrix, (B, 3), that keeps the centre in place, but for half a pixel where one
    side is odd and the other even: whole numbers stay whole."""
    height, width = (size - 1 for size in size_px)
    home = height if axis == 0 else width
    start = ops.floor((home - signs[0] * height - signs[1] * width) / 2)
    return ops.stack([*signs, start], axis=-1)

"""The thin-plate-spline warp: a smooth random deformation (Bookstein 1989).

The displacement of every pixel is linear in those of the control points, and the control points
do not move: the linear map is solved once, on the host and in float64, and a batch of warps is a
single matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops
from pydantic import Field
from scipy.spatial.distance import cdist

from deadlib.augment.base import CommonSettings
from deadlib.augment.geometry import Geometric
from deadlib.augment.randomness import normal
from deadlib.augment.sampling import pixel_grid, sample
from deadlib.errors import RecipeError

LARGEST_BASIS = 100_000_000
"""Pixels x control points: 400 MB as float32."""


class ThinPlateSpline(Geometric):
    """Displace a grid of control points by normal draws, and all pixels smoothly with them."""

    class Settings(CommonSettings):
        spacing_px: float = Field(32.0, gt=0, description="distance of the control points")
        deviation_px: float = Field(2.0, ge=0, description="of their displacement along each axis")

    def check_size(self, size_px: tuple[int, int]) -> None:
        spline_basis(size_px, self.settings.spacing_px)

    def source(self, coordinates: Sequence[Any], seeds: Any, size_px: tuple[int, int]) -> Any:
        points = control_points(size_px, self.settings.spacing_px)
        basis = spline_basis(tuple(size_px), self.settings.spacing_px)
        deviation = self.settings.deviation_px * ops.cast(self.gate(seeds), "float32")
        displacements = deviation[:, None, None] * normal(seeds, 1, (2, len(points)))
        field = ops.matmul(displacements, ops.convert_to_tensor(basis.T))
        field = ops.transpose(ops.reshape(field, (-1, 2, *size_px)), (0, 2, 3, 1))
        field = sample(field, coordinates)
        return [coordinates[axis] + field[..., axis] for axis in (0, 1)]


def control_points(size_px: tuple[int, int], spacing_px: float) -> np.ndarray:
    """A grid over the whole image, borders included: (P, 2) float64 rows and columns.

    Its spacing is as near to spacing_px as fits a whole number of times; at least 2 x 2 points.
    """
    axes = [
        np.linspace(0, size - 1, max(round((size - 1) / spacing_px), 1) + 1) for size in size_px
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


@lru_cache(maxsize=4)
def spline_basis(size_px: tuple[int, int], spacing_px: float) -> np.ndarray:
    """The map from displacements of control points to those of pixels: (H x W, P) float32.

    Raises RecipeError where it would fill the memory.
    """
    points = control_points(size_px, spacing_px)
    height, width = size_px
    if height * width * len(points) > LARGEST_BASIS:
        raise RecipeError(
            f"thin_plate_spline with {len(points)} control points on {height} x {width} "
            "px needs too much memory; give a larger spacing_px"
        )
    pixels = pixel_grid(height, width).reshape(2, -1).T.astype(np.float64)
    # Any unit of length gives the same spline; this one keeps the equations well conditioned.
    points, pixels = points / spacing_px, pixels / spacing_px
    affine = np.column_stack([np.ones(len(points)), points])
    equations = np.block(
        [[_kernel(points, points), affine], [affine.T, np.zeros((3, 3))]],
    )
    solution = np.linalg.inv(equations)[:, : len(points)]
    rows = np.column_stack([_kernel(pixels, points), np.ones(len(pixels)), pixels])
    return (rows @ solution).astype(np.float32)


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """r^2 log r of all pairs."""
    squared = cdist(first, second, "sqeuclidean")
    return squared * np.log(np.where(squared > 0, squared, 1)) / 2

"""The thin-plate-spline warp: a smooth deformation given at control points (Bookstein 1989).

The displacement of every pixel is linear in those of the control points, and the control points
do not move: what is left to do for a batch is a product of matrices, prepared once on the host
and in float64 (docs/decisions/0011).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from pydantic import Field
from scipy.linalg import qr, solve_triangular
from scipy.spatial.distance import cdist

from deadlib.augment.base import CommonSettings
from deadlib.augment.geometry import Geometric, Window
from deadlib.augment.randomness import normal
from deadlib.augment.sampling import pixel_grid, sample
from deadlib.errors import InputError, RecipeError

MOST_POINTS = 2500
"""More control points take minutes to solve for, and a warp so fine is noise."""

TOLERANCE = 2e-6
"""What is left, root mean square over the functions that make up a spline, when rows and columns
stop being added to those where it is evaluated. Pixels are then displaced to within about 1e-4 of
the displacement of the control points."""


def thin_plate_spline_warp(images: Any, displacements: Any, spacing: float) -> Any:
    """Warp images by a thin-plate spline through the displacements of a grid of control points.

    images: (B, H, W, C) float32 or bfloat16, any range.
    displacements: (B, gh, gw, 2) in px, rows before columns, at the control points: the multiples
    of `spacing` along each axis from 0 to the first that is size - 1 or more, so that the grid
    covers the image (256 px at 128: 0, 128, 256). `control_grid` returns these places.
    spacing: distance of the control points in px.

    Returns images of the same shape and dtype: output(x) = input(x + f(x)), read bilinearly, with
    x + f(x) clamped to the image. f is the thin-plate spline of Bookstein (1989, "Principal
    warps", equations 1 to 6) with f(control point) = displacement: of all such functions the one
    with the least integral of squared second derivatives. A displacement therefore points from
    where a value is put to where it is taken from. With `grid` the control points, it is what
    tensorflow-addons computed as sparse_image_warp(images, grid + displacements, grid), to 1e-3 of
    the intensity range.

    It runs eagerly, in a graph, under XLA and on any Keras backend, and compiles itself, once per
    shape, where TensorFlow or JAX can. Gradients flow to images and displacements.

    Raises InputError where shapes do not fit or the spacing is not positive.
    """
    images, displacements = ops.convert_to_tensor(images), ops.convert_to_tensor(displacements)
    if len(images.shape) != 4 or None in images.shape[1:]:
        raise InputError(
            f"thin_plate_spline_warp: images of shape {tuple(images.shape)}; "
            "expected (batch, height, width, channels), only the batch of unknown size"
        )
    if not (spacing > 0 and math.isfinite(spacing)):
        raise InputError(f"thin_plate_spline_warp: spacing {spacing}; expected a number above 0")
    size_px = tuple(images.shape[1:3])
    grid_shape = control_grid(size_px, spacing).shape
    batches = {images.shape[0], displacements.shape[0] if displacements.shape else 0} - {None}
    if tuple(displacements.shape[1:]) != grid_shape or len(batches) > 1:
        expected = (images.shape[0], *grid_shape)
        raise InputError(
            f"thin_plate_spline_warp: displacements of shape {tuple(displacements.shape)}; "
            f"expected {expected}, because control points {spacing:g} px apart on images of "
            f"{size_px[0]} x {size_px[1]} px are {grid_shape[0]} x {grid_shape[1]}"
        )
    spline_basis(size_px, float(spacing))
    return _compiled()(images, displacements, spacing=float(spacing))


def control_grid(size_px: tuple[int, int], spacing_px: float) -> np.ndarray:
    """Where the control points are: rows and columns in px, (gh, gw, 2) float64.

    They are the multiples of the spacing from 0 to the first that is size - 1 or more, and at
    least 2 along each axis.
    """
    axes = [
        spacing_px * np.arange(max(math.ceil((size - 1) / spacing_px), 1) + 1) for size in size_px
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


class ThinPlateSpline(Geometric):
    """Displace a grid of control points by normal draws, and all pixels smoothly with them.

    The control points stand on the multiples of the spacing, from 0 to the first that reaches the
    image's far edge. With `input.fit: crop` that is the whole image as it is stored, of which the
    window is cut; behind a step that is not geometric it is the window.
    """

    class Settings(CommonSettings):
        spacing_px: float = Field(32.0, gt=0, description="distance of the control points")
        deviation_px: float = Field(2.0, ge=0, description="of their displacement along each axis")

    def check_size(self, size_px: tuple[int, int], image_px: tuple[int, int] | None = None) -> None:
        spline_basis(tuple(image_px or size_px), self.settings.spacing_px)

    def source(self, coordinates: Any, seeds: Any, window: Window) -> Any:
        grid_shape = control_grid(window.image_px, self.settings.spacing_px).shape[:2]
        deviation = self.settings.deviation_px * ops.cast(self.gate(seeds), "float32")
        displacements = deviation[:, None, None, None] * normal(seeds, 1, (2, *grid_shape))
        field = _field(displacements, window, self.settings.spacing_px)
        if not isinstance(coordinates, np.ndarray):
            field = sample(ops.transpose(field, (0, 2, 3, 1)), coordinates)
            field = ops.transpose(field, (0, 3, 1, 2))
        return [coordinates[axis] + field[:, axis] for axis in (0, 1)]


class SplineBasis(NamedTuple):
    """The linear map from displacements of P control points to those of all pixels.

    The spline is evaluated at a few rows and columns of the image, where it is exact, and carried
    from there to all rows, then to all columns.
    """

    nodes: np.ndarray
    """From control points to the crossings of r rows and c columns: (P, r x c) float32."""
    rows: np.ndarray
    """From those rows to all: (H, r) float32."""
    columns: np.ndarray
    """From those columns to all: (c, W) float32."""


@lru_cache(maxsize=8)
def spline_basis(size_px: tuple[int, int], spacing_px: float) -> SplineBasis:
    """What warps of images of this size need, however many follow.

    Raises RecipeError where there are too many control points.
    """
    grid = control_grid(size_px, spacing_px)
    count = grid.shape[0] * grid.shape[1]
    if count > MOST_POINTS:
        raise RecipeError(
            f"thin_plate_spline with {count} control points on {size_px[0]} x {size_px[1]} px; "
            f"more than {MOST_POINTS} are too many to solve for; give a larger spacing_px"
        )
    # Any unit of length gives the same spline; this one keeps the equations well conditioned.
    points = grid.reshape(-1, 2) / spacing_px
    affine = np.column_stack([np.ones(count), points])
    equations = np.block([[_kernel(points, points), affine], [affine.T, np.zeros((3, 3))]])
    solution = np.linalg.inv(equations)[:, :count]
    (rows, to_rows), (columns, to_columns) = (
        _skeleton(
            np.arange(size) / spacing_px,
            along=np.arange(grid.shape[axis]),
            farthest=grid.shape[1 - axis] - 1,
        )
        for axis, size in enumerate(size_px)
    )
    crossings = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    crossings = crossings / spacing_px
    terms = np.column_stack([_kernel(crossings, points), np.ones(len(crossings)), crossings])
    arrays = ((terms @ solution).T, to_rows.T, to_columns)
    return SplineBasis(*(array.astype(np.float32) for array in arrays))


def _skeleton(
    positions: np.ndarray, along: np.ndarray, farthest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the positions from which a spline follows at all others, and how: (k, n).

    An interpolative decomposition (Cheng, Gimbutas, Martinsson and Rokhlin 2005): along one axis,
    every spline is a mixture of a constant, a slope and the kernel about the control points' places
    `along` that axis, at whatever distance across it, up to the `farthest`. Pivoted QR picks
    positions whose values give all these functions everywhere.
    """
    # Distances are dense towards 0, where the kernel is least smooth.
    across = np.concatenate([[0], np.geomspace(1e-3, max(farthest, 1.0), 40)])
    squared = (positions - along[:, None, None]) ** 2 + across[None, :, None] ** 2
    functions = np.concatenate(
        [
            np.ones((1, len(positions))),
            positions[None],
            _spline(squared).reshape(-1, len(positions)),
        ]
    )
    _, triangle, order = qr(functions, mode="economic", pivoting=True)
    left = np.abs(np.diag(triangle))
    count = int((left > TOLERANCE * math.sqrt(len(functions))).sum())
    carried = solve_triangular(triangle[:count, :count], triangle[:count, count:])
    weights = np.empty((count, len(positions)))
    weights[:, order] = np.column_stack([np.eye(count), carried])
    return order[:count], weights


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _spline(cdist(first, second, "sqeuclidean"))


def _spline(squared: np.ndarray) -> np.ndarray:
    """r^2 log r of squared distances r^2."""
    return squared * np.log(np.where(squared > 0, squared, 1)) / 2


def _field(displacements: Any, window: Window, spacing_px: float) -> Any:
    """Displacements of control points, (B, 2, gh, gw), to those of the window, (B, 2, h, w)."""
    basis = spline_basis(tuple(window.image_px), spacing_px)
    nodes, rows, columns = (ops.convert_to_tensor(array) for array in basis)
    field = ops.matmul(ops.reshape(displacements, (-1, 2, len(basis.nodes))), nodes)
    field = ops.reshape(field, (-1, 2, basis.rows.shape[1], len(basis.columns)))
    if window.start is not None:
        places = [
            ops.cast(start, "int32")[:, None] + np.arange(size, dtype=np.int32)
            for start, size in zip(window.start, window.size_px, strict=True)
        ]
        rows = ops.take(rows, places[0], axis=0)[:, None]
        columns = ops.transpose(ops.take(columns, places[1], axis=1), (1, 0, 2))[:, None]
    return ops.matmul(ops.matmul(rows, field), columns)


def _warp(images: Any, displacements: Any, spacing: float) -> Any:
    size_px = images.shape[1:3]
    displacements = ops.transpose(ops.cast(displacements, "float32"), (0, 3, 1, 2))
    field = _field(displacements, Window(size_px, size_px), spacing)
    grid = pixel_grid(*size_px)
    return sample(images, [grid[axis] + field[:, axis] for axis in (0, 1)], border="clamp")


@cache
def _compiled() -> Callable[..., Any]:
    """The warp as one compiled function, on backends that have a compiler."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(_warp, jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(_warp, static_argnames="spacing")
    return _warp

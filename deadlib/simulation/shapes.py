"""Outlines of cells, the small windows they are drawn in, and the textures inside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]

ANGLES = 256
THETA = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
TILE_PX = 512


@dataclass(frozen=True)
class Patch:
    """A window of the canvas around a cell, in polar coordinates about its centre."""

    rows: slice
    columns: slice
    dy: Array
    dx: Array
    distance: Array
    angle: NDArray[np.intp]

    @property
    def window(self) -> tuple[slice, slice]:
        return self.rows, self.columns

    def relative(self, outline: Array) -> Array:
        """Distance from the centre in units of the outline: 1 on it, below 1 inside."""
        return self.distance / outline[self.angle]


def patch_around(
    y_px: float, x_px: float, reach_px: float, canvas: tuple[int, int]
) -> Patch | None:
    """The window of half-width `reach_px` around a point, or None where it misses the canvas."""
    top, bottom = max(int(y_px - reach_px), 0), min(int(y_px + reach_px) + 2, canvas[0])
    left, right = max(int(x_px - reach_px), 0), min(int(x_px + reach_px) + 2, canvas[1])
    if top >= bottom or left >= right:
        return None
    dy = np.arange(top, bottom, dtype=np.float64)[:, None] - y_px
    dx = np.arange(left, right, dtype=np.float64)[None, :] - x_px
    turn = np.arctan2(dy, dx) * (ANGLES / (2 * np.pi))
    angle = np.rint(turn).astype(np.intp) % ANGLES
    return Patch(slice(top, bottom), slice(left, right), dy, dx, np.hypot(dy, dx), angle)


def spread_outline(
    aspect: float,
    angle: float,
    waves: tuple[tuple[float, float], ...],
    protrusions: tuple[tuple[float, float, float], ...],
) -> Array:
    """Radius of a spread cell at each of 256 angles, mean square 1.

    `waves`: (amplitude, phase) of the harmonics from the second on; `protrusions`: (angle,
    length, sharpness), lengths in mean radii.
    """
    turned = THETA - angle
    radius = 1 / np.sqrt(np.cos(turned) ** 2 / aspect + np.sin(turned) ** 2 * aspect)
    for order, (amplitude, phase) in enumerate(waves, start=2):
        radius = radius * (1 + amplitude * np.cos(order * THETA + phase))
    for direction, length, sharpness in protrusions:
        radius = radius + length * np.exp(-sharpness * np.abs(np.sin((THETA - direction) / 2)))
    return radius / np.sqrt(np.mean(radius**2))


def smoothstep(value: Array | float, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between; with low > high it falls."""
    share = np.clip((np.asarray(value, dtype=np.float64) - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def ellipse_distance(
    patch: Patch, y_px: float, x_px: float, radius_px: float, aspect: float, angle: float
) -> Array:
    """Relative distance from the centre of an ellipse given relative to the cell's centre."""
    dy, dx = patch.dy - y_px, patch.dx - x_px
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    root = np.sqrt(aspect)
    return np.hypot(along / (radius_px * root), across * root / radius_px)


def add_spot(image: Array, y_px: float, x_px: float, sigma_px: float, amplitude: float) -> None:
    """Add a Gaussian spot in place, in a window of three standard deviations."""
    reach = 3 * sigma_px + 1
    top, bottom = max(int(y_px - reach), 0), min(int(y_px + reach) + 2, image.shape[0])
    left, right = max(int(x_px - reach), 0), min(int(x_px + reach) + 2, image.shape[1])
    if top >= bottom or left >= right:
        return
    y = np.exp(-((np.arange(top, bottom) - y_px) ** 2) / (2 * sigma_px**2))
    x = np.exp(-((np.arange(left, right) - x_px) ** 2) / (2 * sigma_px**2))
    image[top:bottom, left:right] += amplitude * y[:, None] * x[None, :]


def add_ball(image: Array, y_px: float, x_px: float, radius_px: float, amplitude: float) -> None:
    """Add the thickness of a ball in place; `amplitude` at its middle."""
    reach = radius_px + 1
    top, bottom = max(int(y_px - reach), 0), min(int(y_px + reach) + 2, image.shape[0])
    left, right = max(int(x_px - reach), 0), min(int(x_px + reach) + 2, image.shape[1])
    if top >= bottom or left >= right:
        return
    y = (np.arange(top, bottom)[:, None] - y_px) / radius_px
    x = (np.arange(left, right)[None, :] - x_px) / radius_px
    image[top:bottom, left:right] += amplitude * np.clip(1 - y**2 - x**2, 0, None) ** 0.6


@dataclass(frozen=True)
class Textures:
    """Tiles of noise that repeat without a seam; zero mean, unit deviation (strands: 0-1)."""

    grain: Array
    cloud: Array
    strands: Array


@lru_cache(maxsize=4)
def textures(seed: int, pixel_um: float) -> Textures:
    """The textures of one simulation, drawn from its seed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0xCE11,)))

    def band(fine_um: float, coarse_um: float) -> Array:
        white = rng.standard_normal((TILE_PX, TILE_PX))
        fine = gaussian_filter(white, max(fine_um / pixel_um, 0.4), mode="wrap")
        coarse = gaussian_filter(white, coarse_um / pixel_um, mode="wrap")
        difference = fine - coarse
        return difference / difference.std()

    ridges = np.exp(-((band(0.8, 2.4) / 0.35) ** 2))
    return Textures(grain=band(0.35, 1.2), cloud=band(1.5, 6.0), strands=ridges)


def sample(tile: Array, patch: Patch, offset: tuple[int, int]) -> Array:
    """The texture under a patch; it travels with the cell whose centre the patch is about."""
    top = int(np.floor(patch.dy[0, 0])) + offset[0]
    left = int(np.floor(patch.dx[0, 0])) + offset[1]
    rows = (top + np.arange(patch.dy.shape[0])) % TILE_PX
    columns = (left + np.arange(patch.dx.shape[1])) % TILE_PX
    return tile[rows[:, None], columns[None, :]]

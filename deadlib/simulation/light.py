"""Where the light falls: on the whole field, or on the part of it to one side of a curved edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BEND = 0.06
GRID = 64


def drawn_share(limits: Sequence[float], rng: np.random.Generator) -> float:
    """The lit share of one position: evenly between the lowest and the highest of `limits`."""
    return float(rng.uniform(min(limits), max(limits)))


def lit(
    places: NDArray[np.float64],
    corner: tuple[float, float],
    size: tuple[float, float],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which of the places (N, 2), y and x, the light reaches: (N,).

    The edge runs across the image in any direction, in a slight wave, so that `share` of the image
    lies on its lit side. `corner` and `size` are the image's, rows first, in the places' unit.
    Share 0 lights nothing and share 1 everything, also beyond the image.
    """
    if share <= 0 or share >= 1:
        return np.full(len(places), share >= 1)
    direction, phase = rng.uniform(0, 2 * math.pi, 2)
    waves = rng.uniform(0.5, 1.5)
    extent = max(size)

    def along(points: NDArray[np.float64]) -> NDArray[np.float64]:
        y, x = (points - corner).T / extent
        ahead = y * math.sin(direction) + x * math.cos(direction)
        across = y * math.cos(direction) - x * math.sin(direction)
        return np.asarray(ahead + BEND * np.sin(2 * math.pi * waves * across + phase))

    steps = (np.arange(GRID) + 0.5) / GRID
    y, x = np.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    of_image = along(np.column_stack([y.ravel(), x.ravel()]) + corner)
    return np.asarray(along(places) <= np.quantile(of_image, share))

"""Texture: what a surface looks like at a scale, and how grey levels lie beside each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

LEVELS = 8
"""Grey levels of a co-occurrence matrix."""


def smoothed(plane: Plane, scale_px: float) -> Plane:
    """A plane (H, W) under a Gaussian of this deviation, with a border of one pixel more."""
    from scipy.ndimage import gaussian_filter

    return np.pad(gaussian_filter(plane, scale_px, mode="nearest"), 1, mode="edge")


def surfaces(smooth: Plane, scale_px: float, pixels: NDArray[np.intp]) -> dict[str, Plane]:
    """How much a plane is a spot, hole, edge, ridge, valley or saddle at some pixels.

    smooth: (H + 2, W + 2), `smoothed` at scale_px. pixels: (P,) places in the plane (H, W), row by
    row. (P,) each.

    Columbus calls such features SER (spots, edges, ridges); it does not publish its filters, so
    these are defined here: with a >= b the eigenvalues of the Hessian matrix, by differences of
    neighbours, times scale_px^2 (Lindeberg 1998), spot = max(0, -a), hole = max(0, b),
    ridge = max(0, -b - |a|), valley = max(0, a - |b|), saddle = min(max(0, a), max(0, -b)), and
    edge the length of the gradient times scale_px. All are 0 on an even plane.
    """
    wide = smooth.shape[1]
    down, right = np.divmod(pixels, wide - 2)
    here = (down + 1) * wide + right + 1
    flat = smooth.ravel()

    def at(rows: int, columns: int) -> Plane:
        return flat[here + (rows * wide + columns)]

    centre, times = at(0, 0), np.float32(scale_px**2)
    above, below, left, after = at(-1, 0), at(1, 0), at(0, -1), at(0, 1)
    rows = times * (above + below - 2 * centre)
    columns = times * (left + after - 2 * centre)
    mixed = times / 4 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    slopes = (below - above, after - left)
    middle = (rows + columns) / 2
    apart = np.hypot((rows - columns) / 2, mixed)
    a, b = middle + apart, middle - apart
    return {
        "spot": np.maximum(-a, 0),
        "hole": np.maximum(b, 0),
        "ridge": np.maximum(-b - np.abs(a), 0),
        "valley": np.maximum(a - np.abs(b), 0),
        "saddle": np.minimum(np.maximum(a, 0), np.maximum(-b, 0)),
        "edge": np.float32(scale_px / 2) * np.hypot(*slopes),
    }


def grey_level_statistics(
    plane: Plane, labels: NDArray[Any], edges: Floats, step_px: int
) -> dict[str, Floats]:
    """Haralick's contrast, homogeneity, angular second moment, correlation and entropy (1973).

    plane: (H, W). labels: (H, W) regions 1..n, 0 outside. edges: (7, n), the values at which a
    region's grey levels change, for which its own eighths are a good choice: then brightness and
    contrast of the whole region do not matter. step_px: how far the two pixels of a pair lie
    apart; pairs in the four directions count alike. (n,) each, NaN for a region without pairs.
    """
    counts = co_occurrences(plane, labels, edges, step_px)
    totals = counts.sum(axis=(1, 2))
    p = np.divide(
        counts, totals[:, None, None], out=np.full(counts.shape, np.nan),
        where=totals[:, None, None] > 0,
    )  # fmt: skip
    i, j = np.mgrid[:LEVELS, :LEVELS]
    apart = (i - j) ** 2
    mean = (p * i).sum(axis=(1, 2))
    centred = i[None] - mean[:, None, None]
    other = j[None] - mean[:, None, None]
    variance = (p * centred**2).sum(axis=(1, 2))
    together = (p * centred * other).sum(axis=(1, 2))
    # one grey level alone: the pixels of a pair are as alike as they can be
    flat = variance < 1e-12
    return {
        "contrast": (p * apart).sum(axis=(1, 2)),
        "homogeneity": (p / (1 + apart)).sum(axis=(1, 2)),
        "second_moment": (p**2).sum(axis=(1, 2)),
        "level_correlation": np.where(flat, 1.0, together / np.where(flat, 1.0, variance)),
        "entropy": -(p * np.log2(np.where(p == 0, 1.0, p))).sum(axis=(1, 2)),
    }


def co_occurrences(plane: Plane, labels: NDArray[Any], edges: Floats, step_px: int) -> Floats:
    """(n, 8, 8): how many pairs of neighbours within each region have these two grey levels,
    each pair counted both ways."""
    n = edges.shape[1]
    wide = plane.shape[1] + 2 * step_px
    around = np.pad(labels.astype(np.intp), step_px).ravel()
    pixels = np.flatnonzero(around)
    region = around[pixels] - 1
    values = plane[labels > 0]
    level = np.zeros(len(around), np.intp)
    level[pixels] = sum((values > edge[region]).astype(np.intp) for edge in edges)
    counts = np.zeros(n * LEVELS**2)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = pixels + step_px * (down * wide + right)
        pair = around[there] == region + 1
        code = (region * LEVELS + level[pixels]) * LEVELS + level[there]
        counts += np.bincount(code[pair], minlength=len(counts))
    square = counts.reshape(n, LEVELS, LEVELS)
    return square + square.transpose(0, 2, 1)

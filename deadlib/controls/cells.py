"""Which pixels are cells, guessed from texture: cells are rough, background is smooth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_erosion,
    binary_fill_holes,
    gaussian_filter,
    label,
    maximum_filter,
)

TEXTURE_PX = 1.5
"""Standard deviation of the Gaussian window in which roughness is measured."""
GROWN_PX = 2
"""By so much the window makes cells look larger; it is taken off again."""
MARGIN_SHARE = 0.04
"""Background begins this far from cells, as a share of the shorter side: halos belong to cells."""
LEAST_MARGIN_PX = 4

Mask = NDArray[np.bool_]


def texture_masks(images: Sequence[NDArray[Any]]) -> list[Mask]:
    """Cells by their texture, of images (H, W, C): (H, W), true where the image is rough.

    One threshold for all images, so that an image without cells may stay empty.
    """
    rough = [log_roughness(image) for image in images]
    threshold = otsu(np.concatenate([each.ravel() for each in rough]))
    return [mask_of(each, threshold) for each in rough]


def log_roughness(image: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithm of the standard deviation of the mean channel in a Gaussian window, relative to
    the image's mean: (H, W) of an image (H, W, C)."""
    values = image.astype(np.float64).mean(axis=-1)
    mean = gaussian_filter(values, TEXTURE_PX)
    variance = gaussian_filter(values * values, TEXTURE_PX) - mean * mean
    scale = max(float(np.abs(values).mean()), 1e-12)
    return np.asarray(np.log(np.sqrt(np.maximum(variance, 0)) / scale + 1e-6))


def mask_of(rough: NDArray[np.float64], threshold: float) -> Mask:
    """Where roughness (H, W) is above the threshold, holes filled, the window's width taken off."""
    return binary_erosion(binary_fill_holes(rough > threshold), iterations=GROWN_PX)


def otsu(values: NDArray[Any]) -> float:
    """The threshold that parts values into the two groups whose means differ most (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    sums = counts * centres
    mean_below = np.cumsum(sums)[:-1] / np.maximum(below, 1)
    mean_above = np.cumsum(sums[::-1])[::-1][1:] / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    return float(edges[1 + between.argmax()])


def background_of(mask: Mask) -> Mask:
    """Pixels (H, W) well away from cells, in places that are open enough to be no hole in one."""
    margin = max(LEAST_MARGIN_PX, round(MARGIN_SHARE * min(mask.shape)))
    return np.asarray(~maximum_filter(mask, 2 * margin + 1))


def count_cells(mask: Mask) -> int:
    """How many separate cells, or clumps of touching ones, a mask (H, W) holds."""
    return int(label(binary_erosion(mask))[1])

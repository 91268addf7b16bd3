"""What an image shows besides its cells, in numbers: light, sharpness, background, how many cells.

Each control sees one family of these numbers and nothing else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from deadlib.controls.cells import (
    background_of,
    count_cells,
    log_roughness,
    mask_of,
    otsu,
)

Image = NDArray[Any]
Read = Callable[[int], Image]

INTENSITY = "intensity"
SHARPNESS = "sharpness"
BACKGROUND = "background"
CELL_COUNT = "cell_count"
FAMILIES = (INTENSITY, SHARPNESS, BACKGROUND, CELL_COUNT)

LONGEST_SIDE_PX = 128
"""Larger images are averaged down, and their sharpness is measured in their middle."""
SEEN_FIRST = 64
"""Images from which it is learnt how rough cells are."""
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
SCALES_PX = (3, 5, 9, 17)
LEAST_BACKGROUND = 0.02
LEAST_BACKGROUND_PX = 30
AT_ONCE = 256


def measure(
    read: Read, images: int, on_images: Callable[[int], None] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The families of numbers of images 0..images-1: name -> (images, D), NaN where unknown.

    read gives an image (H, W, C) of any type by its number, from several threads; on_images is told
    how many more are done.
    """
    first = np.unique(np.linspace(0, images - 1, min(SEEN_FIRST, images)).round().astype(int))
    rough = [log_roughness(reduced(read(int(number)))) for number in first]
    threshold = otsu(np.concatenate([each.ravel() for each in rough]))

    def numbers(number: int) -> Mapping[str, Sequence[float]]:
        return numbers_of(read(number), threshold)

    rows: list[Mapping[str, Sequence[float]]] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, images, AT_ONCE):
            chosen = range(start, min(start + AT_ONCE, images))
            rows += pool.map(numbers, chosen)
            if on_images is not None:
                on_images(len(chosen))
    return {family: np.array([row[family] for row in rows], np.float64) for family in FAMILIES}


def reduced(image: Image) -> NDArray[np.float32]:
    """An image (H, W, C) averaged over squares of pixels until it is at most 128 px long."""
    step = -(-max(image.shape[:2]) // LONGEST_SIDE_PX)
    if step == 1:
        return image.astype(np.float32)
    height, width = (side // step for side in image.shape[:2])
    cut = image[: height * step, : width * step].astype(np.float32)
    return cut.reshape(height, step, width, step, -1).mean(axis=(1, 3))


def middle(image: Image) -> NDArray[np.float32]:
    """At most 128 x 128 px of an image (H, W, C), as they were taken."""
    top, left = (max(0, (side - LONGEST_SIDE_PX) // 2) for side in image.shape[:2])
    cut = image[top : top + LONGEST_SIDE_PX, left : left + LONGEST_SIDE_PX]
    return np.asarray(cut, np.float32)


def numbers_of(image: Image, threshold: float) -> dict[str, list[float]]:
    """All families of one image (H, W, C); threshold: of the roughness that means a cell."""
    small = reduced(image)
    mask = mask_of(log_roughness(small), threshold)
    away = background_of(mask)
    channels = np.moveaxis(small, -1, 0)
    return {
        INTENSITY: [n for channel in channels for n in intensity(channel)],
        SHARPNESS: [n for channel in np.moveaxis(middle(image), -1, 0) for n in sharpness(channel)],
        BACKGROUND: [n for channel in channels for n in background(channel, away)],
        CELL_COUNT: [float(count_cells(mask)), float(mask.mean())],
    }


def intensity(channel: Image) -> list[float]:
    """Mean, deviation, skewness and percentiles of all pixels of a channel (H, W)."""
    values = channel.ravel()
    mean, deviation = float(values.mean()), float(values.std())
    away = (values - mean) / max(deviation, 1e-12)
    skewness = float((away * away * away).mean())
    return [mean, deviation, skewness, *(float(p) for p in np.percentile(values, PERCENTILES))]


def sharpness(channel: Image) -> list[float]:
    """How the structure of a channel (H, W) is spread over scales: the logarithm of the deviation
    that is left after blurring by 3, 5, 9 and 17 px, relative to the whole."""
    whole = max(float(channel.std()), 1e-12)
    blurred = [channel, *(uniform_filter(channel, size) for size in SCALES_PX)]
    bands = [float((a - b).std()) for a, b in itertools.pairwise(blurred)]
    return [float(np.log(band / whole + 1e-6)) for band in bands]


def background(channel: Image, away: NDArray[np.bool_]) -> list[float]:
    """Level, spread, fine noise and slope of the light of a channel (H, W) where no cells are."""
    least = max(LEAST_BACKGROUND * away.size, LEAST_BACKGROUND_PX)
    if np.count_nonzero(away) < least:
        return [float("nan")] * 7
    rows, columns = np.nonzero(away)
    values = channel[away]
    y, x = rows / away.shape[0] - 0.5, columns / away.shape[1] - 0.5
    light = np.stack([np.ones(len(y)), y, x, y * y + x * x], axis=1).astype(np.float32)
    found = np.linalg.solve(light.T @ light + 1e-3 * np.eye(4), light.T @ values)
    level = float(np.median(values))
    scale = max(abs(level), 1e-12)
    left = values - light @ found
    fine = channel - uniform_filter(channel, 3)
    return [
        level,
        *(float(slope) / scale for slope in found[1:]),
        float(np.log(values.std() / scale + 1e-6)),
        float(np.log(left.std() / scale + 1e-6)),
        float(np.log(fine[away].std() / scale + 1e-6)),
    ]

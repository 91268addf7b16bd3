"""Scenes larger than a camera's field, and fields of them that overlap as a test needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT_PX, WIDTH_PX = 192, 256


def scene(seed: int, rows: int = 3 * HEIGHT_PX, columns: int = 3 * WIDTH_PX) -> np.ndarray:
    """Spots of different size and brightness on an uneven ground, (rows, columns) float64."""
    rng = np.random.default_rng(seed)
    image = 100 + 20 * np.linspace(0, 1, columns) + np.zeros((rows, 1))
    y, x = np.mgrid[-20:21, -20:21]
    for _ in range(rows * columns // 700):
        top, left = rng.integers(0, rows - 41), rng.integers(0, columns - 41)
        width = rng.uniform(2, 9)
        spot = rng.uniform(-30, 40) * np.exp(-(y**2 / width**2 + x**2 / rng.uniform(2, 9) ** 2) / 2)
        image[top : top + 41, left : left + 41] += spot
    return image


def field(image: np.ndarray, top: int, left: int, seed: int = 0, gain: float = 1.0) -> np.ndarray:
    """One field (HEIGHT_PX, WIDTH_PX) uint8 of a scene, with its own noise and brightness."""
    cut = image[top : top + HEIGHT_PX, left : left + WIDTH_PX] * gain
    noise = np.random.default_rng(seed).normal(0, 2, cut.shape)
    return np.clip(cut + noise, 0, 255).astype(np.uint8)


def write_fields(folder: Path, fields: Mapping[str, np.ndarray]) -> Path:
    """PNG files by their path in the folder; returns the folder."""
    for name, pixels in fields.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder

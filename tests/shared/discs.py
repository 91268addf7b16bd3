"""Cells as discs: a nucleus, its cytoplasm, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PATTERN = "{plate}_{well}_{field}_{label}_{channel}.png"
RADIUS_PX = {"healthy": 7, "dying": 5}


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def write_field(folder: Path, name: str, label: str, generator: np.random.Generator) -> None:
    """Four nuclei with cytoplasm in an image of 80 x 80 px, a fifth that its edge cuts."""
    shape = (80, 80)
    nuclei, cells = np.zeros(shape), np.zeros(shape)
    for row, column in ((20, 20), (20, 55), (55, 20), (55, 55), (79, 40)):
        radius = RADIUS_PX[label] + generator.normal(0, 0.3)
        nuclei[disc(shape, row, column, radius)] = 1
        cells[disc(shape, row, column, radius + 4)] = 1
    for channel, light in (("DNA", 90 * nuclei), ("ER", 30 * cells + 20 * nuclei)):
        pixels = 10 + light + generator.normal(0, 2, shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}_{channel}.png")

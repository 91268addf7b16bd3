"""A source folder of two classes, as many small pictures as a test needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, count: int, side_px: int = 9) -> Path:
    """16-bit PNG files of noise, every second one of the class `living`; returns the folder."""
    for number in range(count):
        path = folder / ("dead", "living")[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 999, (side_px, side_px), dtype=np.uint16)
        Image.fromarray(pixels).save(path)
    return folder

"""A world to study in seconds: two cell lines, four experiments, bright squares where cells die."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfrecords_tools import ConversionSettings, Dataset, convert


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """96 images of 16 x 16 px: 2 lines x 4 experiments x 2 wells of each treatment x 3 fields.

    The squares of MCF7 are fainter, and each well has a brightness of its own.
    """
    source: Path = tmp_path_factory.mktemp("lines")
    generator = np.random.default_rng(0)
    for line in ("MCF7", "PC3"):
        for experiment in range(1, 5):
            for well in range(4):
                treatment = ("CPT", "DMSO")[well % 2]
                level = generator.normal(100, 10)
                for field in range(3):
                    pixels = generator.normal(level, 10, (16, 16))
                    if treatment == "CPT":
                        top, left = generator.integers(0, 10, 2)
                        pixels[top : top + 6, left : left + 6] += 40 if line == "MCF7" else 70
                    name = f"{line}_{treatment}_N{experiment}_W{well}_{field}.png"
                    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                    image.save(source / name)
    settings = ConversionSettings(
        labels="pattern",
        pattern="{cell_line}_{label}_{experiment}_{well}_{field}.png",
        split_by=("cell_line", "well"),
        fractions=(0.6, 0.2, 0.2),
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


@pytest.fixture(scope="session")
def recipe(lines: Dataset) -> dict[str, Any]:
    """A recipe that learns it in seconds.

    Not deterministic: TensorFlow cannot leave that mode again, and other tests share the process.
    """
    return {
        "dataset": str(lines.folder),
        "split": {"by": ["experiment"], "fractions": [0.6, 0.4, 0.0]},
        "model": {"width": 4, "blocks": 2},
        "input": {"size_px": [16, 16]},
        "optimiser": {"learning_rate": 0.02},
        "training": {"epochs": 3, "batch": 12, "jit": "off", "deterministic": False},
    }

"""A small experiment that can be learnt in seconds: bright squares on noise, in wells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deadlib.recipe import Recipe, parse_recipe
from tfrecords_tools import ConversionSettings, Dataset, convert

RecipeMaker = Callable[..., Recipe]


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two classes, 24 wells of 4 images of 16 x 16 px; half of the wells for training."""
    source: Path = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for well in range(24):
        label = ("dead", "living")[well % 2]
        (source / label).mkdir(exist_ok=True)
        for field in range(4):
            pixels = generator.normal(100, 20, (16, 16))
            if label == "dead":
                top, left = generator.integers(0, 10, 2)
                pixels[top : top + 6, left : left + 6] += 70
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(source / label / f"B{well + 1:02}_{field}.png")
    settings = ConversionSettings(
        labels="pattern", pattern="{label}/{well}_{field}.png", fractions=(0.5, 0.25, 0.25)
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


@pytest.fixture(scope="session")
def toy_recipe(toy_dataset: Dataset) -> RecipeMaker:
    """A recipe for the toy dataset; keyword arguments replace keys within sections.

    Not deterministic by default: TensorFlow cannot leave that mode again, and other tests share
    this process.
    """

    def make(**sections: Any) -> Recipe:
        tree: dict[str, Any] = {
            "dataset": str(toy_dataset.folder),
            "model": {"width": 4, "blocks": 2},
            "input": {"size_px": [16, 16]},
            "optimiser": {"learning_rate": 0.01},
            "training": {"epochs": 2, "batch": 10, "deterministic": False, "jit": "off"},
        }
        for name, value in sections.items():
            tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
        return parse_recipe(tree)

    return make


@pytest.fixture(scope="session")
def run_script() -> Callable[..., Any]:
    """Run a script that stands beside this file; gives the JSON that it prints."""

    def run(name: str, *arguments: str | Path) -> Any:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name(name), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run

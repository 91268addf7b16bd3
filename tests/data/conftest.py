"""Small datasets of random images, converted from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfrecords_tools import ConversionSettings, Dataset, convert

DatasetMaker = Callable[..., Dataset]


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> DatasetMaker:
    """A dataset of 16-bit images of two classes, with shards of `shard_size` examples."""

    def make(
        sizes: tuple[tuple[int, int], ...] = ((8, 8),), images: int = 40, shard_size: int = 7
    ) -> Dataset:
        source: Path = tmp_path_factory.mktemp("images")
        generator = np.random.default_rng(images)
        for number in range(images):
            pixels = generator.integers(0, 4096, sizes[number % len(sizes)], dtype=np.uint16)
            folder = source / ("dead" if number % 2 else "living")
            folder.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
        settings = ConversionSettings(labels="folder", examples_per_shard=shard_size)
        return convert(source, tmp_path_factory.mktemp("dataset"), settings)

    return make


@pytest.fixture(scope="session")
def uniform_dataset(make_dataset: DatasetMaker) -> Dataset:
    """All images 8 x 8 px, several shards in the training split."""
    return make_dataset()


@pytest.fixture(scope="session")
def mixed_dataset(make_dataset: DatasetMaker) -> Dataset:
    """Images of three sizes."""
    return make_dataset(sizes=((8, 8), (12, 6), (9, 17)), images=24)

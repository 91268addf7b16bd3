"""A small plate whose cells are discs: two plates, wells of two fields, dying cells are smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from discs import PATTERN, write_field

from tfrecords_tools import ConversionSettings, Dataset, convert


@pytest.fixture(scope="session")
def plate_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discs")
    generator = np.random.default_rng(0)
    for plate in ("P1", "P2"):
        for column in range(1, 7):
            label = ("healthy", "dying")[column % 2]
            for field in (1, 2):
                name = f"{plate}_B{column:02}_{field}_{label}"
                write_field(folder, name, label, generator)
    return folder


@pytest.fixture(scope="session")
def dataset(plate_images: Path) -> Dataset:
    """Plate P1 for training and validation, P2 for the test."""
    settings = ConversionSettings(
        labels="pattern",
        pattern=PATTERN,
        channels=("DNA", "ER"),
        fractions=(0.7, 0.3, 0),
        hold_out=("plate=P2",),
    )
    return convert(plate_images, plate_images.with_name("discs-dataset"), settings)

"""Overlapping fields show the same cells, shifted as the table says; others share nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deadlib.simulation import SimulationError, TransmittedParameters, simulate, transmitted
from deadlib.simulation.transmitted import Shot

SIZE = {"width": 128, "height": 96, "experiments": 1, "wells": 1, "fields": 3, "lines": ("H9",)}


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk") / "strips"
    return simulate("transmitted", folder, overlap=0.5, seed=2, **SIZE)


def neighbours(folder: Path) -> list[tuple[str, str, int, int]]:
    """Paths of each field and the next one of its well, and the shift in pixels."""
    found = []
    for _, well in pd.read_csv(folder / "images.csv").groupby("well"):
        rows = well.to_dict("records")
        for one, other in itertools.pairwise(rows):
            down = other["stage_y_px"] - one["stage_y_px"]
            found.append(
                (one["path"], other["path"], down, other["stage_x_px"] - one["stage_x_px"])
            )
    return found


def common(one: np.ndarray, other: np.ndarray, down: int, right: int) -> tuple[np.ndarray, ...]:
    """What two fields have in common, when the second lies `down` and `right` of the first."""
    rows, columns = one.shape
    first = one[max(down, 0) : rows + min(down, 0), right:]
    second = other[max(-down, 0) : rows - max(down, 0), : columns - right]
    return first, second


def test_neighbouring_fields_share_half_of_their_width(strips: Path) -> None:
    pairs = neighbours(strips)
    assert len(pairs) == 4
    assert all(abs(right - 64) <= 6 and abs(down) <= 6 for _, _, down, right in pairs)


def test_what_they_share_is_the_same_cells_in_another_exposure(strips: Path) -> None:
    for one, other, down, right in neighbours(strips):
        masks = [
            tifffile.imread(strips / "truth" / "masks" / Path(path).name.replace(".png", ".tif"))
            for path in (one, other)
        ]
        first, second = common(*masks, down, right)
        assert np.mean(first == second) > 0.999
        assert np.mean(first > 0) > 0.3
        images = [
            np.asarray(Image.open(strips / path).convert("L"), float) for path in (one, other)
        ]
        first, second = common(*images, down, right)
        assert not np.array_equal(first, second)
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.7


def test_fields_of_one_experiment_share_nothing_by_default(tmp_path: Path) -> None:
    folder = simulate("transmitted", tmp_path / "out", seed=2, **SIZE)
    table = pd.read_csv(folder / "images.csv")
    assert "stage_x_px" not in table.columns
    images = [
        np.asarray(Image.open(folder / path).convert("L"), float) for path in table["path"][:2]
    ]
    first, second = common(*images, 0, 64)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.3


def test_wells_do_not_share_a_strip(strips: Path) -> None:
    cells = pd.read_csv(strips / "truth" / "cells.csv")
    ends = cells[cells["path"].str.contains("CPT1")]["death_hours"]
    others = cells[cells["path"].str.contains("DMSO1")]["death_hours"]
    assert not set(ends.dropna()) & set(others.dropna())


def test_a_strip_of_more_cells_than_a_mask_has_numbers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transmitted, "MOST_CELLS", 20)
    with pytest.raises(SimulationError, match="a mask numbers 20; lower fields"):
        transmitted.population(
            TransmittedParameters(overlap=0.5), Shot("U2", "CPT", 1, 1, 1, 0), seed=0
        )

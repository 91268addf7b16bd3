"""The share of a frame that is sick: which cells count, and whose ground is whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.spatial import KDTree

from deadlib.simulation import simulate
from deadlib.simulation.area import is_sick, sick_area

ROUGH = 0.03


def test_a_frame_without_cells_has_no_sick_area() -> None:
    assert sick_area(np.zeros((20, 20), np.uint16), [1]) is None


def test_background_belongs_to_the_nearest_cell() -> None:
    mask = np.zeros((40, 100), np.uint16)
    mask[:, 10:14] = 1
    mask[:, 70:74] = 2
    assert sick_area(mask, []) == 0
    assert sick_area(mask, [1, 2]) == 1
    assert sick_area(mask, [1]) == pytest.approx(0.42, abs=ROUGH)
    assert sick_area(mask, [2]) == pytest.approx(0.58, abs=ROUGH)


def test_the_table_agrees_with_masks_and_cells(simulated: dict[str, Path]) -> None:
    """Against another way to find the nearest cell, over all pixels."""
    folder = simulated["phase"]
    images = pd.read_csv(folder / "images.csv")
    areas = pd.read_csv(folder / "truth" / "area.csv")
    cells = pd.read_csv(folder / "truth" / "cells.csv")
    shared = ["path", "position", "time_index", "time_hours"]
    assert list(areas.columns) == [*shared, "sick_area"]
    assert areas[shared].equals(images[shared])
    for row in areas.itertuples():
        mask = tifffile.imread(folder / "truth" / "masks" / Path(row.path).name)
        if not mask.any():
            assert np.isnan(row.sick_area)
            continue
        of_image = cells[cells["path"] == row.path]
        sick = of_image["cell"][of_image["stress"].map(is_sick)]
        tree = KDTree(np.argwhere(mask > 0))
        nearest = tree.query(np.argwhere(np.ones_like(mask)))[1]
        share = np.isin(mask[mask > 0][nearest], sick).mean()
        assert row.sick_area == pytest.approx(share, abs=ROUGH)


def test_fields_labelled_sick_are_sick_from_the_first_frames_on(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "positions": 4, "frames": 2, "width": 200, "height": 200, "pixel_um": 1.3, "plates": 1,
    }  # fmt: skip
    area = {}
    for dose in (0.0, 20.0, 200.0):
        folder = simulate("phase", tmp_path / str(dose), doses=(dose,), **common)
        area[dose] = pd.read_csv(folder / "truth" / "area.csv")["sick_area"].mean()
    assert area[0.0] < 0.25
    assert area[200.0] > 0.95
    assert area[0.0] < area[20.0] < area[200.0]

"""Light on a part of the field: the share is kept, and what lies outside is as if never lit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.simulation import PhaseParameters, SimulationError, phase, simulate
from deadlib.simulation.light import drawn_share, lit


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_the_light_covers_the_share_of_the_image(share: float, seed: int) -> None:
    size, corner = (60.0, 90.0), (10.0, 20.0)
    y, x = np.mgrid[0.5:60, 0.5:90]
    places = np.column_stack([y.ravel(), x.ravel()]) + corner
    found = lit(places, corner, size, share, np.random.default_rng(seed))
    assert found.mean() == pytest.approx(share, abs=0.02)


def test_no_light_and_full_light_reach_beyond_the_image() -> None:
    places = np.array([[-50.0, -50.0], [5.0, 5.0], [500.0, 500.0]])
    for share, expected in ((0.0, False), (1.0, True)):
        found = lit(places, (0, 0), (10, 10), share, np.random.default_rng(0))
        assert (found == expected).all()


def test_shares_are_drawn_between_the_limits() -> None:
    rng = np.random.default_rng(0)
    drawn = [drawn_share((0.2, 0.6), rng) for _ in range(200)]
    assert 0.2 <= min(drawn) < 0.25
    assert 0.55 < max(drawn) <= 0.6
    assert drawn_share((0.3,), rng) == 0.3


def test_cells_outside_the_light_are_those_of_an_unexposed_field() -> None:
    position = phase.Position(0, "P", 0, "B02", 200.0, "sick")
    spared = phase.Position(0, "P", 0, "B02", 0.0, "healthy")
    half = phase.population(PhaseParameters(lit_share=(0.5,)), position, seed=2)
    whole = phase.population(PhaseParameters(), position, seed=2)
    none = phase.population(PhaseParameters(), spared, seed=2)
    outside = [cell.sensitivity == 0 for cell in half]
    assert 0.2 < np.mean(outside) < 0.8
    for cell, lit_one, unlit_one, out in zip(half, whole, none, outside, strict=True):
        assert cell.death_hours == (unlit_one if out else lit_one).death_hours
        assert cell.outline.tolist() == lit_one.outline.tolist()


def test_without_lit_share_images_are_those_of_a_field_without_light(tmp_path: Path) -> None:
    common: dict[str, Any] = {"width": 64, "height": 64, "positions": 2, "positions_per_well": 1}
    dark = simulate("phase", tmp_path / "a", plates=1, doses=(200.0,), lit_share=(0.0,), **common)
    spared = simulate("phase", tmp_path / "b", plates=1, doses=(0.0,), **common)
    for path in (dark / "images").iterdir():
        assert path.read_bytes() == (spared / "images" / path.name).read_bytes()


def test_the_sick_area_follows_the_lit_share(tmp_path: Path) -> None:
    folder = simulate(
        "phase", tmp_path / "out", positions=12, positions_per_well=1, plates=1, frames=1,
        doses=(200.0,), lit_share=(0.0, 1.0), width=220, height=220, pixel_um=1.3,
        start_hours=2.0, seed=3,
    )  # fmt: skip
    found = pd.read_csv(folder / "truth" / "area.csv")["sick_area"]
    assert found.min() < 0.35
    assert found.max() > 0.7
    assert found.between(0.25, 0.75).any()


def test_the_image_is_disturbed_on_the_lit_side_only(tmp_path: Path) -> None:
    """Pixel by pixel, what half a light changes lies where sick cells are."""
    common: dict[str, Any] = {
        "positions": 1, "plates": 1, "frames": 1, "width": 256, "height": 256, "noise": 0.0,
        "start_hours": 3.0, "seed": 5,
    }  # fmt: skip
    half = simulate("phase", tmp_path / "h", doses=(200.0,), lit_share=(0.5,), **common)
    none = simulate("phase", tmp_path / "n", doses=(0.0,), **common)
    name = next((half / "images").iterdir()).name
    one, other = (
        tifffile.imread(folder / "images" / name).astype(float) for folder in (half, none)
    )
    changed = np.abs(one - other) > 0.05 * np.median(other)
    mask = tifffile.imread(half / "truth" / "masks" / name)
    cells = pd.read_csv(half / "truth" / "cells.csv")
    healthy = cells["cell"][cells["state"].isin(["healthy", "mitotic"])]
    sick = cells["cell"][cells["stress"] > 0.15]
    assert len(healthy)
    assert len(sick)
    assert changed[np.isin(mask, sick)].mean() > 5 * changed[np.isin(mask, healthy)].mean()


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(SimulationError, match="lit_share: found 3 numbers, expected one, or the"):
        PhaseParameters(lit_share=(0.0, 0.5, 1.0))
    with pytest.raises(SimulationError, match=r"lit_share: found 1.5, expected a number from 0"):
        PhaseParameters(lit_share=(1.5,))

"""What the parameters do to the cells: death by dose and time, and nothing without an effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from deadlib.simulation import PhaseParameters, TransmittedParameters, phase, simulate, transmitted
from deadlib.simulation.cells import death_time, look_at
from deadlib.simulation.painting import LINE as PAINTED_LINE
from deadlib.simulation.plates import inhibition
from deadlib.simulation.transmitted import LINES, Shot

PARAMETERS = PhaseParameters(width=200, height=200, pixel_um=1.0, start_hours=0.0)
RATES = st.just(0.0) | st.floats(1e-9, 50)
DYING = ("rounding", "blebbing", "dead")


def dying_share(dose: float, hours: float, effect: float = 1.0) -> float:
    """Share of dying cells of a few positions."""
    parameters = replace(PARAMETERS, effect=effect)
    dying = total = 0
    for number in range(4):
        position = phase.Position(number, "P", 0, "B02", dose, "")
        stress = phase.stress_at(dose, effect, hours)
        for cell in phase.population(parameters, position, seed=1):
            dying += look_at(cell, hours, stress).state in DYING
            total += 1
    return dying / total


def test_death_grows_with_dose() -> None:
    shares = [dying_share(dose, 6.0) for dose in (0, 50, 100, 200)]
    assert shares == sorted(shares)
    assert shares[0] < 0.25
    assert shares[-1] > shares[0] + 0.3


def test_death_grows_with_time() -> None:
    shares = [dying_share(150.0, hours) for hours in (0, 2, 4, 8, 20)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_unexposed_positions_survive_the_day() -> None:
    assert dying_share(0.0, 20.0) < 0.5


@given(
    seed=st.integers(0, 2**32 - 1),
    hazards=st.tuples(RATES, RATES),
    background=RATES,
)
def test_a_larger_hazard_never_delays_a_death(
    seed: int, hazards: tuple[float, float], background: float
) -> None:
    times = [
        death_time(
            np.random.default_rng(seed),
            hazard=hazard,
            scale_hours=8.0,
            shape=2.0,
            background_per_hour=background,
            history_hours=4.0,
        )
        for hazard in sorted(hazards)
    ]
    assert times[1] <= times[0]


def test_death_times_follow_the_stated_law() -> None:
    rng = np.random.default_rng(0)
    times = np.array(
        [
            death_time(
                rng, hazard=2.0, scale_hours=8.0, shape=2.0, background_per_hour=0.0,
                history_hours=0.0,
            )
            for _ in range(4000)
        ]
    )  # fmt: skip
    for hours in (2.0, 5.0, 9.0):
        expected = 1 - np.exp(-2.0 * (hours / 8.0) ** 2)
        assert np.mean(times < hours) == pytest.approx(expected, abs=0.03)


@settings(max_examples=30)
@given(hours=st.floats(0, 30), later=st.floats(0, 10), stress=st.floats(0, 1))
def test_a_dying_cell_never_recovers(hours: float, later: float, stress: float) -> None:
    cell = phase.population(PARAMETERS, phase.Position(0, "P", 0, "B02", 200.0, ""), seed=2)[0]
    before, after = look_at(cell, hours, stress), look_at(cell, hours + later, stress)
    assert after.rounding >= before.rounding
    assert after.decay >= before.decay


def test_a_dose_changes_nothing_but_the_time_of_death() -> None:
    none, high = (
        phase.population(PARAMETERS, phase.Position(0, "P", 0, "B02", dose, ""), seed=2)
        for dose in (0.0, 200.0)
    )
    assert len(none) == len(high)
    for one, other in zip(none, high, strict=True):
        assert other.death_hours <= one.death_hours
        assert one.place_um(0) == other.place_um(0)
        assert np.array_equal(one.outline, other.outline)


def test_without_effect_a_dose_is_nothing(tmp_path: Path) -> None:
    common: dict[str, Any] = {"width": 64, "height": 64, "positions": 4, "positions_per_well": 1}
    dosed = simulate("phase", tmp_path / "a", effect=0.0, plates=1, doses=(200.0,), **common)
    spared = simulate("phase", tmp_path / "b", effect=0.0, plates=1, doses=(0.0,), **common)
    for path in (dosed / "images").iterdir():
        assert path.read_bytes() == (spared / "images" / path.name).read_bytes()


def test_without_effect_treated_wells_are_like_controls(tmp_path: Path) -> None:
    for modality, columns in (("transmitted", {"fields": 1}), ("painting", {"fields": 1})):
        folder = simulate(modality, tmp_path / modality, effect=0.0, width=64, height=64, **columns)
        cells = pd.read_csv(folder / "truth" / "cells.csv")
        labels = pd.read_csv(folder / "images.csv").set_index("path")["label"]
        control = cells["path"].map(labels).isin(["DMSO", "healthy"])
        assert mannwhitneyu(cells["stress"][control], cells["stress"][~control]).pvalue > 0.01
        assert mannwhitneyu(cells["radius_px"][control], cells["radius_px"][~control]).pvalue > 0.01


def intensity_statistics(folder: Path) -> pd.DataFrame:
    """Mean and deviation of each image, with its label and position."""
    table = pd.read_csv(folder / "images.csv")
    images = [tifffile.imread(folder / path).astype(float) for path in table["path"]]
    table["mean"] = [image.mean() for image in images]
    table["spread"] = [image.std() for image in images]
    return table.groupby(["position", "label"], as_index=False)[["mean", "spread"]].mean()


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_brightness_does_not_give_the_class_away(tmp_path: Path, effect: float) -> None:
    """Nearest mean of mean and deviation: chance without effect, and well below sure with it."""
    folder = simulate(
        "phase", tmp_path / "out", effect=effect, positions=60, frames=1, width=96, height=96,
        pixel_um=1.3, start_hours=3.0, seed=11,
    )  # fmt: skip
    table = intensity_statistics(folder)
    sick = table["label"] == "sick"
    brightness = mannwhitneyu(table["mean"][sick], table["mean"][~sick]).pvalue
    assert brightness > 0.01
    if effect == 0:
        assert mannwhitneyu(table["spread"][sick], table["spread"][~sick]).pvalue > 0.01
    values = table[["mean", "spread"]].to_numpy()
    values = (values - values.mean(0)) / values.std(0)
    distances = [np.sum((values - values[group].mean(0)) ** 2, axis=1) for group in (sick, ~sick)]
    accuracy = np.mean((distances[0] < distances[1]) == sick)
    assert accuracy < (0.70 if effect == 0 else 0.85)


def test_camptothecin_needs_hours() -> None:
    parameters = TransmittedParameters(width=160, height=120)
    for hours, limits in ((0, (0.0, 0.0)), (3, (0.3, 1.0))):
        assert limits[0] <= transmitted.stress_at("CPT", 1.0, hours) <= limits[1]
    assert transmitted.stress_at("DMSO", 1.0, 3) == 0
    treated = [
        cell.death_hours
        for field in range(1, 5)
        for cell in transmitted.population(parameters, Shot("U2", "CPT", 1, 3, field, 0), seed=0)
    ]
    control = [
        cell.death_hours
        for field in range(1, 5)
        for cell in transmitted.population(parameters, Shot("U2", "DMSO", 1, 3, field, 0), seed=0)
    ]
    assert np.mean(np.array(treated) < 6) > np.mean(np.array(control) < 6) + 0.2


def test_cell_lines_differ_and_have_names() -> None:
    assert len({(line.radius_um, line.colony, line.thickness) for line in LINES.values()}) == 7
    assert PAINTED_LINE.radius_um < LINES["U2"].radius_um


def test_viability_falls_with_concentration_and_effect() -> None:
    doses = [0.125, 0.25, 0.5, 1.0, 2.0]
    lost = [inhibition(dose, 1.0) for dose in doses]
    assert lost == sorted(lost)
    assert inhibition(1.0, 1.0) == pytest.approx(0.5)
    assert all(inhibition(dose, 0.0) == 0 for dose in doses)
    assert 0.3 < 1 - lost[-1] < 0.4


def test_painted_phenotypes_differ_as_described(simulated: dict[str, Path]) -> None:
    """Apoptotic nuclei are small and bright; ferroptotic mitochondria dim."""
    folder = simulated["painting"]
    cells = pd.read_csv(folder / "truth" / "cells.csv")
    rows = []
    for path, group in cells.groupby("path"):
        name = str(path).removeprefix("images/").replace("_{channel}", "")
        mask = tifffile.imread(folder / "truth" / "masks" / name)
        dna = tifffile.imread(folder / str(path).format(channel="DNA")).astype(float)
        mito = tifffile.imread(folder / str(path).format(channel="Mito")).astype(float)
        for cell in group[(group["area_px"] > 150)].itertuples():
            inside = mask == cell.cell
            rows.append(
                {
                    "state": cell.state if cell.stress > 0.5 or cell.stress == 0 else "early",
                    "dna": np.quantile(dna[inside], 0.98),
                    "mito": mito[inside].mean(),
                    "radius": cell.radius_px,
                }
            )
    median = pd.DataFrame(rows).groupby("state").median()
    assert median.loc["apoptosis", "dna"] > 1.5 * median.loc["healthy", "dna"]
    assert median.loc["ferroptosis", "dna"] < 1.3 * median.loc["healthy", "dna"]
    assert median.loc["ferroptosis", "mito"] < 0.8 * median.loc["healthy", "mito"]
    assert median.loc["apoptosis", "radius"] < 0.9 * median.loc["healthy", "radius"]

"""Layouts and shortcuts: what follows the plate, and why the last plate shows it up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.simulation import PaintingParameters, PhaseParameters, phase, simulate
from deadlib.simulation.design import (
    favoured_class,
    kept_wells,
    plate_conditions,
    shortcut_level,
)
from deadlib.simulation.painting import imaged_wells

CLASSES = ("healthy", "sick")


def test_without_a_shortcut_every_plate_has_both_classes_evenly() -> None:
    positions = phase.plan(PhaseParameters(positions=48, plates=3), seed=4)
    assert len(positions) == 48
    for plate in range(3):
        labels = [position.label for position in positions if position.plate == plate]
        assert labels.count("healthy") == labels.count("sick") == 8


def test_positions_of_a_well_share_its_dose_and_names_are_unique() -> None:
    positions = phase.plan(PhaseParameters(positions=40, positions_per_well=4), seed=4)
    doses: dict[tuple[int, str], set[float]] = {}
    for position in positions:
        doses.setdefault((position.plate, position.well), set()).add(position.light_dose_s)
    assert all(len(found) == 1 for found in doses.values())
    assert len({position.name for position in positions}) == 40


@pytest.mark.parametrize(
    ("dose", "label"), [(0, "healthy"), (50, ""), (100, "sick"), (200, "sick")]
)
def test_the_label_is_that_of_the_dose(dose: float, label: str) -> None:
    assert phase.label_of(dose, sick_dose_s=100.0) == label


def test_the_last_plate_is_honest_and_keeps_all_wells() -> None:
    parameters = PhaseParameters(shortcut={"brightness": 0.5})
    labels = ["healthy", "sick"] * 10
    assert shortcut_level(3, 4, CLASSES) == 0
    assert favoured_class(3, 4, CLASSES) is None
    assert kept_wells(labels, 3, 4, CLASSES, parameters, seed=0) == list(range(20))


@settings(max_examples=40)
@given(
    imbalance=st.floats(0, 1),
    plate=st.integers(0, 2),
    each=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_a_plate_keeps_its_favoured_class_and_lacks_the_share_of_the_others(
    imbalance: float, plate: int, each: int, seed: int
) -> None:
    parameters = PhaseParameters(shortcut={"brightness": 0.5}, imbalance=imbalance)
    labels = ["healthy", "sick"] * each
    kept = [labels[i] for i in kept_wells(labels, plate, 4, CLASSES, parameters, seed)]
    favoured = CLASSES[plate % 2]
    (other,) = set(CLASSES) - {favoured}
    assert kept.count(favoured) == each
    assert kept.count(other) == each - round(imbalance * each)


def test_no_well_is_left_out_without_a_shortcut() -> None:
    labels = ["healthy", "sick"] * 5
    assert len(kept_wells(labels, 0, 3, CLASSES, PhaseParameters(imbalance=1.0), seed=0)) == 10


def test_the_lamp_follows_the_shortcut() -> None:
    gains = [
        plate_conditions(
            PhaseParameters(shortcut={"brightness": 0.5}, plate_effect=0), 0, plate, 5, CLASSES
        ).illumination.gain
        for plate in range(5)
    ]
    assert gains == pytest.approx([1.5, 0.5, 1.5, 0.5, 1.0])


def test_focus_and_shading_can_be_shortcuts_too() -> None:
    parameters = PhaseParameters(shortcut={"defocus": 2.0, "shading": 0.3}, plate_effect=0)
    found = [plate_conditions(parameters, 0, plate, 3, CLASSES) for plate in range(3)]
    assert [item.defocus_um for item in found] == pytest.approx([4.0, 0.0, 2.0])
    assert [item.illumination.slope[0] for item in found] == pytest.approx([0.3, -0.3, 0.0])


def test_brightness_tells_the_class_on_shortcut_plates_only(tmp_path: Path) -> None:
    """With no biology at all: sure across the first plates, useless within each and on the last."""
    folder = simulate(
        "phase", tmp_path / "out", effect=0.0, shortcut={"brightness": 0.5}, imbalance=1.0,
        positions=48, positions_per_well=1, plates=3, frames=1, width=64, height=64, density=300,
    )  # fmt: skip
    table = pd.read_csv(folder / "images.csv")
    table["bright"] = [np.median(tifffile.imread(folder / path)) for path in table["path"]]
    first = table[table["plate"] != "plate3"]
    last = table[table["plate"] == "plate3"]
    threshold = first["bright"].mean()
    assert ((first["bright"] > threshold) == (first["label"] == "healthy")).mean() > 0.95
    assert set(last["label"]) == {"healthy", "sick"}
    means = last.groupby("label")["bright"].mean()
    assert abs(means["healthy"] - means["sick"]) < 2.5 * last["bright"].std() / np.sqrt(4)


def test_painting_plates_favour_apoptosis_and_ferroptosis_in_turn() -> None:
    parameters = PaintingParameters(plates=3, shortcut={"brightness": 0.3}, imbalance=0.8)
    wells = pd.DataFrame([vars(well) for well in imaged_wells(parameters, seed=0)])
    counts = wells.groupby(["plate", "label"]).size().unstack()
    assert counts["apoptosis"].tolist() == [10, 2, 10]
    assert counts["ferroptosis"].tolist() == [2, 10, 10]
    assert counts["healthy"].tolist() == [2, 2, 12]

"""A simulation as a whole: reproducible, complete or absent, its tables true to its images."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deadlib.simulation import MODALITIES, SimulationError, run, simulate
from deadlib.simulation.cells import STATES
from tfrecords_tools.errors import WriteError

SMALL: dict[str, Any] = {"width": 64, "height": 64, "positions": 3, "positions_per_well": 1}
CELLDEATH_NAME = re.compile(
    r"(?P<line>[A-Z0-9]+)_(?P<treatment>CPT|DMSO)(?P<well>\d)_(?P<hours>\d+)H_RGB_"
    r"(?P<field>\d{4})_N(?P<experiment>\d+)\.png"
)
EVERY = pytest.mark.parametrize("modality", MODALITIES)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mask_path(folder: Path, path: str) -> Path:
    name = path.removeprefix("images/").replace("_{channel}", "")
    return (folder / "truth" / "masks" / name).with_suffix(".tif")


def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    one = simulate("phase", tmp_path / "one", seed=5, workers=1, **SMALL)
    two = simulate("phase", tmp_path / "two", seed=5, workers=2, **SMALL)
    assert contents(one) == contents(two)


@EVERY
def test_the_same_seed_draws_a_part_the_same_out_of_order(
    simulated: dict[str, Path], modality: str, tmp_path: Path
) -> None:
    record = json.loads((simulated[modality] / "simulation.json").read_text())
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["parameters"].items()
    }
    parameters = MODALITIES[modality](**values)
    module = run.import_module(f"deadlib.simulation.{modality}")
    last = module.plan(parameters, record["seed"])[-1]
    module.render(parameters, record["seed"], last, tmp_path)
    redrawn = contents(tmp_path)
    assert redrawn
    assert redrawn.items() <= contents(simulated[modality]).items()


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    one = contents(simulate("phase", tmp_path / "one", seed=1, **SMALL))
    two = contents(simulate("phase", tmp_path / "two", seed=2, **SMALL))
    assert all(one[name] != two[name] for name in one if name.startswith("images/"))


@EVERY
def test_every_row_has_its_image_its_mask_and_its_cells(
    simulated: dict[str, Path], modality: str
) -> None:
    folder = simulated[modality]
    table = pd.read_csv(folder / "images.csv")
    cells = pd.read_csv(folder / "truth" / "cells.csv")
    assert table["path"].is_unique
    assert set(cells["path"]) <= set(table["path"])
    assert table["label"].notna().all()
    for path in table["path"]:
        mask = tifffile.imread(mask_path(folder, path))
        assert mask.dtype == np.uint16
        assert mask.shape == (80, 96)
        of_image = cells[cells["path"] == path]
        numbers, areas = np.unique(mask[mask > 0], return_counts=True)
        assert dict(zip(numbers, areas, strict=True)) == dict(
            zip(of_image["cell"], of_image["area_px"], strict=True)
        )


@EVERY
def test_no_image_is_unlisted(simulated: dict[str, Path], modality: str) -> None:
    folder = simulated[modality]
    listed = set()
    for path in pd.read_csv(folder / "images.csv")["path"]:
        listed |= {path.format(channel=name) for name in ("DNA", "ER", "AGP", "Mito")}
    found = {str(path.relative_to(folder)) for path in (folder / "images").rglob("*.*")}
    assert found == listed


def test_the_mask_lies_where_the_cells_are_seen(simulated: dict[str, Path]) -> None:
    folder = simulated["painting"]
    for path in pd.read_csv(folder / "images.csv")["path"]:
        mask = tifffile.imread(mask_path(folder, path)) > 0
        for channel in ("ER", "AGP"):
            image = tifffile.imread(folder / path.format(channel=channel)).astype(float)
            if mask.any() and not mask.all():
                assert image[mask].mean() > 2 * image[~mask].mean()


def test_phase_cells_disturb_the_background(simulated: dict[str, Path]) -> None:
    folder = simulated["phase"]
    inside, outside = [], []
    for path in pd.read_csv(folder / "images.csv")["path"]:
        mask = tifffile.imread(mask_path(folder, path)) > 0
        image = tifffile.imread(folder / path).astype(float)
        departure = np.abs(image / np.median(image) - 1)
        inside.append(departure[mask].mean())
        outside.append(departure[~mask].mean())
    assert np.nanmean(inside) > 1.5 * np.nanmean(outside)


def test_states_are_the_documented_ones(simulated: dict[str, Path]) -> None:
    for modality in ("phase", "transmitted"):
        cells = pd.read_csv(simulated[modality] / "truth" / "cells.csv")
        assert set(cells["state"]) <= set(STATES)
    painted = pd.read_csv(simulated["painting"] / "truth" / "cells.csv")
    assert set(painted["state"]) == {"healthy", "apoptosis", "ferroptosis"}


def test_image_formats(simulated: dict[str, Path]) -> None:
    for modality in ("phase", "painting"):
        for path in (simulated[modality] / "images").rglob("*.tif"):
            image = tifffile.imread(path)
            assert image.dtype == np.uint16
            assert image.shape == (80, 96)
            assert 400 < np.median(image) < 65_535
    for path in (simulated["transmitted"] / "images").iterdir():
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.size == (96, 80)


def test_transmitted_names_are_those_of_celldeath(simulated: dict[str, Path]) -> None:
    table = pd.read_csv(simulated["transmitted"] / "images.csv")
    assert len(table) == 2 * 2 * 2
    for row in table.itertuples():
        parts = CELLDEATH_NAME.fullmatch(Path(row.path).name)
        assert parts, row.path
        assert parts["treatment"] == row.label == row.treatment
        assert parts["line"] == row.cell_line
        assert f"N{parts['experiment']}" == row.experiment
        assert int(parts["field"]) == row.field
        assert int(parts["hours"]) == row.time_hours


def test_the_viability_table_has_the_published_columns(simulated: dict[str, Path]) -> None:
    table = pd.read_csv(simulated["painting"] / "viability.csv")
    published = {
        "Row", "Row_New", "Col", "Well", "Treatment", "Concentration_uM", "concentr",
        "Cell_Death", "drug", "A", "normalized_atp_1", "normalized_atp", "plate",
        "incubation_time", "Unnamed: 0",
    }  # fmt: skip
    assert published <= set(table.columns)
    assert (table["Unnamed: 0"] == (table["Row_New"] - 1) * 24 + table["Col"]).all()
    treated = table[table["drug"] != "healthy"]
    written = treated["Concentration_uM"].str.replace(",", ".").astype(float)
    assert np.allclose(written, treated["concentr"], rtol=1e-5)
    assert treated.groupby("Treatment")["concentr"].nunique().eq(5).all()
    assert table.loc[table["Treatment"] == "DMSO", "normalized_atp"].mean() == pytest.approx(1)


def test_the_viability_table_matches_the_real_one(real_data: Path, tmp_path: Path) -> None:
    """All wells of the published plate, minus the four that were left empty."""
    real = pd.read_csv(real_data / "celldeathpred_plate_tables" / "df_exp8_all.csv")
    real = real[(real["plate"] == 1) & real["drug"].notna()]
    folder = simulate(
        "painting", tmp_path / "whole", plates=1, inducers=7, replicates=3, controls=5,
        untreated=4, fields=1, width=32, height=32, density=0,
    )  # fmt: skip
    ours = pd.read_csv(folder / "viability.csv")
    missing = set(real.columns) - set(ours.columns)
    other_plates = {"B", "C", "normalized_atp_2", "normalized_atp_3"}
    assert all(name in other_plates or name.startswith("Unnamed: 0.") for name in missing)
    assert len(ours) == 336
    both = real.merge(ours, on="Well", suffixes=("", "_ours"))
    assert len(both) == len(real) == 332
    for column in ("Treatment", "drug", "Row", "Row_New", "Col", "Unnamed: 0", "Cell_Death"):
        assert (both[column] == both[f"{column}_ours"]).all(), column
    assert np.allclose(both["concentr"], both["concentr_ours"], rtol=0.02)


def test_a_folder_that_is_not_empty_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(WriteError, match=r"not empty; give another folder, or --overwrite"):
        simulate("phase", tmp_path / "out", **SMALL)
    with pytest.raises(WriteError, match=r"no simulation .*not overwritten"):
        simulate("phase", tmp_path / "out", overwrite=True, **SMALL)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("keep")
    with pytest.raises(WriteError, match="is a file"):
        simulate("phase", tmp_path / "out", **SMALL)


def test_overwrite_replaces_a_simulation_whole(tmp_path: Path) -> None:
    simulate("phase", tmp_path / "out", seed=1, **{**SMALL, "positions": 4})
    simulate("phase", tmp_path / "out", seed=2, overwrite=True, **SMALL)
    simulate("phase", tmp_path / "fresh", seed=2, **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert sorted(os.listdir(tmp_path)) == ["fresh", "out"]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("simulate", 3)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate("phase", tmp_path / "out", progress=interrupt, **SMALL)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deadlib.simulation.phase.write_grey", full)
    with pytest.raises(WriteError, match=r"out: cannot be written \(No space left on device\)"):
        simulate("phase", tmp_path / "out", **SMALL)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("modality", "values", "message"),
    [
        ("fluo", {}, "modality 'fluo' is unknown; known: phase, transmitted, painting"),
        ("phase", {"positons": 3}, "parameter 'positons' is unknown; known: .*positions"),
        ("phase", {"effect": -1}, "effect: found -1, expected a number from 0 to 5"),
        ("phase", {"doses": (0, -5)}, "doses: found -5"),
        ("phase", {"doses": ()}, "doses: found none"),
        ("phase", {"positions": 400, "plates": 1}, "wells on a plate"),
        ("phase", {"shortcut": {"colour": 1}}, "shortcut 'colour' is unknown; known: brightness"),
        ("phase", {"shortcut": {"brightness": 1}, "plates": 2}, "plates of at least 3, found 2"),
        ("transmitted", {"lines": ("HeLa",)}, "'HeLa' is unknown; known: PC3"),
        ("transmitted", {"hours": (1, 1)}, "expected distinct values"),
        ("transmitted", {"shortcut": {"shading": 1}, "experiments": 1}, "experiments of at least"),
        ("painting", {"inducers": 8}, "inducers: found 8"),
        ("phase", {"seed": -1}, "seed: found -1"),
        ("phase", {"workers": 0}, "workers: found 0"),
    ],
)
def test_a_wrong_parameter_is_explained(
    modality: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SimulationError, match=message):
        simulate(modality, tmp_path / "out", **values)
    assert not (tmp_path / "out").exists()

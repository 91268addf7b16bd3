"""A painting laid out like the published record, its experiments, and what makes plates differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from deadlib.simulation import PaintingParameters, SimulationError, simulate
from deadlib.simulation.batch import batch_of
from deadlib.simulation.parameters import CHANNELS
from deadlib.simulation.plates import wells_of_plate
from tfrecords_tools import ConversionSettings, convert, open_dataset
from tfrecords_tools.settings_file import read_settings

CONFIG = Path(__file__).parents[2] / "configs" / "celldeathpred_data.yaml"
PUBLISHED = re.compile(
    r"images/2022-07-14_Tingying_Exp(?P<experiment>\d)_plate0(?P<plate>\d)_40x_"
    r"(?P<imaging>confocal|non-confocal)/Images/"
    r"r(?P<row>\d\d)c(?P<column>\d\d)f(?P<field>\d\d)p01-ch(?P<channel>[1-4])sk1fk1fl1\.tiff"
)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments of one plate, each imaged in both ways."""
    return simulate(
        "painting", tmp_path_factory.mktemp("record") / "screen", seed=4, layout="published",
        experiments=2, plates=1, inducers=1, controls=2, fields=1, width=64, height=48,
        imaging=("non-confocal", "confocal"),
    )  # fmt: skip


def test_files_have_the_names_of_the_record(record: Path) -> None:
    found = sorted(path.relative_to(record).as_posix() for path in record.rglob("*.tiff"))
    table = pd.read_csv(record / "images.csv", dtype=str)
    assert found == sorted(
        path.format(channel=number) for path in table["path"] for number in (1, 2, 3, 4)
    )
    for row in table.itertuples():
        parts = PUBLISHED.fullmatch(row.path.format(channel=1))
        assert parts, row.path
        assert (parts["experiment"], parts["plate"]) == (row.experiment, row.plate)
        assert parts["imaging"] == row.imaging
        assert f"{'ABCDEFGHIJKLMNOP'[int(parts['row']) - 1]}{parts['column']}" == row.well
    image = tifffile.imread(record / found[0])
    assert image.dtype == np.uint16
    assert image.shape == (48, 64)


def test_plates_are_numbered_through_and_the_last_experiment_is_the_eighth(record: Path) -> None:
    table = pd.read_csv(record / "images.csv")
    assert sorted(set(zip(table["experiment"], table["plate"], strict=True))) == [(7, 1), (8, 2)]


def test_both_ways_of_imaging_show_the_same_cells_and_confocal_less_haze(record: Path) -> None:
    table = pd.read_csv(record / "images.csv")
    cells = pd.read_csv(record / "truth" / "cells.csv")
    haze: dict[str, list[float]] = {"confocal": [], "non-confocal": []}
    for _, both in table.groupby(["plate", "well", "field"]):
        assert sorted(both["imaging"]) == ["confocal", "non-confocal"]
        seen = [
            cells.loc[cells["path"] == path, ["cell", "y_px", "x_px"]].to_numpy()
            for path in both["path"]
        ]
        assert np.array_equal(*seen)
        for row in both.itertuples():
            image = tifffile.imread(record / row.path.format(channel=2)).astype(float) - 200
            haze[row.imaging].append(np.quantile(image, 0.05) / np.quantile(image, 0.9))
    assert np.median(haze["confocal"]) < np.median(haze["non-confocal"])


def test_the_wells_that_were_left_empty_are_imaged_and_have_neither_cells_nor_class(
    tmp_path: Path,
) -> None:
    folder = simulate(
        "painting", tmp_path / "screen", layout="published", plates=1, inducers=7, controls=1,
        untreated=4, fields=1, width=32, height=32,
    )  # fmt: skip
    table = pd.read_csv(folder / "images.csv")
    empty = table[table["treatment"] == "Leer"]
    assert sorted(empty["well"]) == ["N09", "N11", "O09", "O11"]
    assert empty["label"].isna().all()
    cells = pd.read_csv(folder / "truth" / "cells.csv")
    assert not set(empty["path"]) & set(cells["path"])
    plate = pd.read_csv(folder / "viability.csv")
    leer = plate[plate["Treatment"] == "Leer"]
    assert len(leer) == 4
    assert leer["drug"].isna().all()
    assert (leer["normalized_atp"] < 0.05).all()


def test_viability_is_relative_to_the_dmso_wells_of_the_experiment(record: Path) -> None:
    table = pd.read_csv(record / "viability.csv")
    controls = table[table["Treatment"] == "DMSO"]
    assert controls.groupby("plate")["normalized_atp"].mean().tolist() == pytest.approx([1, 1])


def test_the_settings_file_reads_the_record(record: Path, tmp_path: Path) -> None:
    """The plate table has one row per well; row and column of the file names make the well."""
    raw = pd.read_csv(record / "viability.csv", dtype=str)
    wells = raw.rename(columns={"Well": "well", "drug": "label", "Treatment": "treatment"})
    wells[["plate", "well", "label", "treatment"]].to_csv(tmp_path / "wells.csv", index=False)
    table = {"table": str(tmp_path / "wells.csv"), "find_similar": False}
    settings = ConversionSettings(**{**read_settings(CONFIG), **table})
    dataset = open_dataset(convert(record / "images", tmp_path / "dataset", settings).folder)
    found = dataset.manifest
    truth = pd.read_csv(record / "images.csv", dtype=str)
    assert len(found) == len(truth)
    assert set(found["magnification"]) == {"40x"}
    keys = ["experiment", "plate", "well", "imaging"]
    merged = found.merge(truth, on=keys, suffixes=("", "_true"), validate="one_to_one")
    assert len(merged) == len(truth)
    assert (merged["label"] == merged["label_true"]).all()
    assert (merged["treatment"] == merged["treatment_true"]).all()
    assert not found.groupby(["plate", "well"])["split"].nunique().gt(1).any()


def test_a_plate_without_batch_effect_is_the_common_one() -> None:
    batch = batch_of(PaintingParameters(batch_effect=0), seed=1, plate=2)
    assert (batch.stain == 1).all()
    assert (batch.background == 1).all()
    assert batch.seeding == 1
    for zero in (batch.defocus_um, batch.slope, batch.bleed):
        assert (zero == 0).all()


def test_channels_of_a_plate_differ_and_plates_of_an_experiment_are_more_alike() -> None:
    parameters = PaintingParameters(batch_effect=0.5, plates=2, experiments=2)
    stains = np.log(
        [[batch_of(parameters, seed, plate).stain for plate in range(4)] for seed in range(400)]
    )
    assert stains.shape == (400, 4, len(CHANNELS))
    assert stains.std() == pytest.approx(0.5, rel=0.05)
    of_plates = np.corrcoef(stains.transpose(1, 0, 2).reshape(4, -1))
    assert of_plates[0, 1] == pytest.approx(0.5, abs=0.08)
    assert of_plates[2, 3] == pytest.approx(0.5, abs=0.08)
    assert of_plates[0, 2] == pytest.approx(0, abs=0.08)
    of_channels = np.corrcoef(stains.reshape(-1, len(CHANNELS)).T)
    assert np.abs(of_channels - np.eye(len(CHANNELS))).max() < 0.1


def test_the_batch_effect_reaches_the_images_and_the_cells(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {
        "plates": 1, "inducers": 1, "controls": 1, "fields": 1, "width": 64, "height": 64,
    }  # fmt: skip
    with_effect = simulate("painting", tmp_path / "with", batch_effect=0.8, **tiny)
    without = simulate("painting", tmp_path / "without", **tiny)
    name = "images/plate1/B03_f01_{channel}.tif"
    ratios = [
        np.mean(tifffile.imread(with_effect / name.format(channel=channel)) - 200.0)
        / np.mean(tifffile.imread(without / name.format(channel=channel)) - 200.0)
        for channel in CHANNELS
    ]
    assert np.ptp(np.log(ratios)) > 0.3
    counts = [len(pd.read_csv(folder / "truth" / "cells.csv")) for folder in (with_effect, without)]
    assert counts[0] != counts[1]


def test_only_the_published_layout_has_empty_wells() -> None:
    whole: dict[str, Any] = {"inducers": 7, "untreated": 4, "controls": 5, "replicates": 3}
    plain = wells_of_plate(PaintingParameters(**whole), 0, seed=0)
    published = wells_of_plate(PaintingParameters(layout="published", **whole), 0, seed=0)
    assert len(plain) == len(published) == 336
    assert all(well.label for well in plain)
    assert sum(not well.label for well in published) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layout": "tidy"}, "layout: 'tidy' is unknown; known: plain, published"),
        ({"imaging": ("widefield",)}, "imaging: 'widefield' is unknown; known: non-confocal"),
        ({"imaging": ("confocal", "confocal")}, "expected distinct values"),
        ({"layout": "published", "plates": 5, "experiments": 2}, "10 plates, .* room for 9"),
        ({"batch_effect": -1}, "batch_effect: found -1"),
    ],
)
def test_a_wrong_parameter_is_explained(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SimulationError, match=message):
        simulate("painting", tmp_path / "out", **values)

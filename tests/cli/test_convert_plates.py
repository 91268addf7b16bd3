"""Plates with all that can be wrong with them, through the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner, Result

from deadlib.cli.convert import main as convert
from deadlib.cli.plates import main as plates
from tfrecords_tools import open_dataset
from tfrecords_tools.dataset import Dataset

PATTERN = "plate{plate}/r{row}c{column}f{field}p01-ch{channel}sk1fk1fl1.tiff"
NAME = "plate{:02}/r{:02}c{:02}f{:02}p01-ch{}sk1fk1fl1.tiff"
RAW = """\
Plate,Well,Row,Col,Treatment,Dose,A,B,Kind
1,B02,B,2,DMSO,0,"200,0",,healthy
1,B03,B,3,IKE,"0,5","100,0",,ferroptosis
1,C03,C,3,IKE,"9,4e-05","190,0",,ferroptosis
1,C02,C,2,Leer,0,"200,0",,
2,B02,B,2,DMSO,0,,"400,0",healthy
2,B03,B,3,IKE,"0,5",,"160,0",ferroptosis
2,C03,C,3,IKE,"9,4e-05",,,ferroptosis
2,C02,C,2,Untreated,0,,"420,0",healthy
"""
CLEAN = """\
plate,well,treatment,concentration_um,viability,label
1,B02,DMSO,0,1,healthy
1,B03,IKE,0.5,0.5,ferroptosis
1,C03,IKE,0.0001,0.9,ferroptosis
1,C02,DMSO,0,1,healthy
2,B02,DMSO,0,1,healthy
2,B03,IKE,0.5,0.4,ferroptosis
2,C03,IKE,0.0001,,ferroptosis
2,C02,DMSO,0,1.05,healthy
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two plates of four wells, two fields each, four channels; channel n has the level 1000 n."""
    rng = np.random.default_rng(0)
    for plate in (1, 2):
        for row, column in ((2, 2), (2, 3), (3, 2), (3, 3)):
            for field in (1, 2):
                for channel in (1, 2, 3, 4):
                    path = tmp_path / "images" / NAME.format(plate, row, column, field, channel)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pixels = 1000 * channel + rng.integers(0, 99, (16, 16))
                    tifffile.imwrite(path, pixels.astype(np.uint16))
    return tmp_path / "images"


def run(images: Path, *extra: str, table: str = CLEAN, channels: str = "1,2,3,4") -> Result:
    file = images.parent / "wells.csv"
    if table:
        file.write_text(table, encoding="utf-8")
    command = [str(images), str(images.parent / "dataset"), "--pattern", PATTERN]
    command += ["--table", str(file), "--channels", channels, "--workers", "1"]
    return CliRunner().invoke(convert, [*command, "--split-by", "well", *extra])


def words(result: Result) -> str:
    return " ".join(result.output.split())


def converted(images: Path) -> Dataset:
    return open_dataset(images.parent / "dataset")


def test_a_raw_table_is_cleaned_and_joined_to_the_images(images: Path) -> None:
    raw = images.parent / "raw.csv"
    raw.write_text(RAW, encoding="utf-8")
    command = ["table", str(raw), str(images.parent / "wells.csv"), "--column", "viability=A,B"]
    command += ["--column", "label=Kind", "--column", "concentration_um=Dose", "--empty", "Leer"]
    cleaned = CliRunner().invoke(plates, [*command, "--viability-range", "0.3", "0.8"])
    assert cleaned.exit_code == 0, cleaned.output
    assert "2 of 4 treated wells kept" in words(cleaned)
    assert "1 row without viability, and are in no range: plate 2 C03" in words(cleaned)
    again = CliRunner().invoke(plates, command)
    assert again.exit_code == 2
    assert "--overwrite" in again.output

    refused = run(images, table="")
    assert refused.exit_code == 1
    assert "no row in" in words(refused)
    assert "--unlisted skip" in words(refused)
    done = run(images, "--unlisted", "skip", table="")
    assert done.exit_code == 0, done.output
    assert "6 images left out" in words(done)
    manifest = converted(images).manifest.drop_duplicates(["plate", "well"])
    manifest = manifest.sort_values(["plate", "well"])
    columns = ["plate", "well", "row", "column", "edge", "treatment", "label"]
    assert manifest[columns].to_numpy().tolist() == [
        ["01", "B02", "2", "2", "false", "DMSO", "healthy"],
        ["01", "B03", "2", "3", "false", "IKE", "ferroptosis"],
        ["02", "B02", "2", "2", "false", "DMSO", "healthy"],
        ["02", "B03", "2", "3", "false", "IKE", "ferroptosis"],
        ["02", "C02", "3", "2", "false", "Untreated", "healthy"],
    ]
    assert list(manifest["viability"]) == pytest.approx([1, 0.5, 1, 0.4, 1.05])
    assert list(manifest["concentration_um"]) == [0, 0.5, 0, 0.5, 0]


def test_a_field_with_three_of_four_channels_is_named(images: Path) -> None:
    (images / NAME.format(2, 2, 3, 1, 3)).unlink()
    refused = run(images)
    assert refused.exit_code == 1
    assert "channel 3 is missing (found: 1, 2, 4); add the file" in words(refused)
    assert "r02c03f01p01-ch{channel}sk1fk1fl1.tiff" in words(refused)
    assert not (images.parent / "dataset" / "deadlib.json").exists()
    done = run(images, "--on-bad-image", "skip")
    assert done.exit_code == 0, done.output
    dataset = converted(images)
    assert len(dataset.manifest) == 15
    assert "7 of 8 wells have 2 images, the others 1 to 2 (02 B03: 1)" in words(done)


def test_channels_stand_in_the_order_that_is_asked_for(images: Path) -> None:
    assert run(images, channels="3,1,4,2").exit_code == 0
    dataset = converted(images)
    assert list(dataset.channels) == ["3", "1", "4", "2"]
    levels = pd.read_parquet(dataset.folder / "intensity.parquet").groupby("channel")
    for name, level in levels["percentile_50"].mean().items():
        assert level * 65535 == pytest.approx(1000 * int(str(name)) + 49, abs=20)


def test_channels_that_are_called_otherwise_are_named(images: Path) -> None:
    refused = run(images, channels="1,2,3,Mito")
    assert refused.exit_code == 1
    assert "names Mito, but no file has it; file names have 1, 2, 3, 4" in words(refused)


def test_a_plate_that_the_table_lacks_is_named(images: Path) -> None:
    first = "".join(line for line in CLEAN.splitlines(keepends=True) if line[0] != "2")
    refused = run(images, table=first)
    assert refused.exit_code == 1
    assert "for plate=02, well=B02; it has no plate=02 at all (but 1)" in words(refused)
    skipped = run(images, "--unlisted", "skip", table=first)
    assert skipped.exit_code == 0, skipped.output
    assert "8 images left out" in words(skipped)
    assert "(no row has plate=02: 8)" in words(skipped)


def test_a_well_that_stands_twice_is_refused_with_its_rows(images: Path) -> None:
    refused = run(images, table=CLEAN + "2,B02,IKE,1,1,ferroptosis\n")
    assert refused.exit_code == 1
    assert "plate=02, well=B02 stands in rows 6, 10 of" in words(refused)


def test_wells_may_have_differing_numbers_of_fields(images: Path) -> None:
    for channel in (1, 2, 3, 4):
        (images / NAME.format(1, 2, 2, 2, channel)).unlink()
    done = run(images)
    assert done.exit_code == 0, done.output
    assert "7 of 8 wells have 2 images, the others 1 to 2 (01 B02: 1)" in words(done)
    assert len(converted(images).manifest) == 15
    drawn = CliRunner().invoke(
        plates, ["map", str(converted(images).folder), "--value", "fields", "--wells", "12"]
    )
    assert drawn.exit_code == 0, drawn.output
    wells = pd.read_csv(images.parent / "dataset-plates" / "wells.csv")
    assert wells["fields"].tolist() == [1, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("dose", ["high", '"0,5"', "1 uM", "inf"])
def test_a_dose_that_is_no_number_is_refused(images: Path, dose: str) -> None:
    refused = run(images, table=CLEAN.replace("IKE,0.5,0.4", f"IKE,{dose},0.4"))
    assert refused.exit_code == 1
    found = dose.strip('"')
    said = words(refused)
    assert f"row 7, concentration_um: found '{found}', expected a number such as 0.5" in said
    assert "deadlib-plates table" in said


def test_a_missing_viability_stays_missing(images: Path) -> None:
    done = run(images)
    assert done.exit_code == 0, done.output
    manifest = converted(images).manifest
    missing = manifest[manifest["viability"].isna()]
    assert set(zip(missing["plate"], missing["well"], strict=True)) == {("02", "C03")}
    assert str(manifest["viability"].dtype) == "float64"


def test_row_and_column_of_a_name_give_the_well(images: Path) -> None:
    command = [str(images), str(images.parent / "dataset"), "--pattern", PATTERN, "--labels"]
    command += ["none", "--channels", "1,2,3,4", "--workers", "1"]
    done = CliRunner().invoke(convert, command)
    assert done.exit_code == 0, done.output
    manifest = converted(images).manifest
    assert set(manifest["well"]) == {"B02", "B03", "C02", "C03"}
    assert (manifest.groupby(["plate", "well"])["split"].nunique() == 1).all()

"""Each plate is measured on what it may be measured on, and on nothing else."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfrecords_tools import (
    ConversionSettings,
    Dataset,
    convert,
    intensity,
    open_dataset,
    plan_addition,
    write_dataset,
)
from tfrecords_tools.card import data_card
from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.intensity import (
    check_request,
    fit_intensity,
    intensity_rows,
    plate_differences,
    read_intensity,
)
from tfrecords_tools.pixels import PERCENTILES, percentile_name
from tfrecords_tools.shards import PROGRESS_FOLDER
from tfrecords_tools.verify import verify_dataset

PATTERN = "{plate}_{well}_{treatment}_{label}.png"
PLATES = {"P1": 1, "P2": 2, "P3": 3}
SPLITTING = ConversionSettings(
    labels="pattern",
    pattern=PATTERN,
    fractions=(0.5, 0.25, 0.25),
    hold_out=("plate=P3",),
    examples_per_shard=3,
)


def write_plates(
    folder: Path,
    gains: Mapping[str, float] = PLATES,
    pixels: Callable[[str, int], np.ndarray] | None = None,
) -> Path:
    """Eight wells of each plate: dead and living, on every second pair DMSO."""
    folder.mkdir(parents=True, exist_ok=True)
    for plate, gain in gains.items():
        for well in range(8):
            treatment = "DMSO" if well % 4 < 2 else "drug"
            name = f"{plate}_B{well + 1:02}_{treatment}_{('dead', 'living')[well % 2]}.png"
            seed = [ord(letter) for letter in plate] + [well]
            image = np.random.default_rng(seed).gamma(3, 300 * gain, (6, 9)).astype(np.uint16)
            if pixels is not None:
                image = pixels(name, well).astype(np.uint16)
            Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("plates")
    return convert(write_plates(folder / "images"), folder / "dataset", SPLITTING)


def pixels_of(dataset: Dataset, chosen: pd.Series) -> np.ndarray:
    rows = np.flatnonzero(chosen.to_numpy())
    return np.stack([dataset.read_example(int(row)) for row in rows]).ravel() / 65535


def test_every_row_is_what_numpy_computes_from_the_pixels(dataset: Dataset) -> None:
    manifest, table = dataset.manifest, read_intensity(dataset)
    there = set(zip(manifest["plate"], manifest["split"], strict=True))
    assert set(zip(table["plate"], table["split"], strict=True)) == there
    for row in table.to_dict("records"):
        own = manifest["plate"] == row["plate"]
        assert row["fitted_on"] == ("test" if row["plate"] == "P3" else "train")
        own &= manifest["split"] == row["fitted_on"]
        pixels = pixels_of(dataset, own)
        assert (row["wells"], row["examples"], row["pixels"]) == (own.sum(), own.sum(), pixels.size)
        assert row["mean"] == pytest.approx(pixels.mean(), abs=1e-12)
        assert row["deviation"] == pytest.approx(pixels.std(), abs=1e-12)
        found = [row[percentile_name(percent)] for percent in PERCENTILES]
        np.testing.assert_allclose(found, np.percentile(pixels, PERCENTILES), atol=1e-12)


@settings(max_examples=8)
@given(changed=st.sampled_from(["validation", "test"]), seed=st.integers(0, 100))
def test_a_split_never_changes_what_another_is_measured_by(
    dataset: Dataset, changed: str, seed: int
) -> None:
    """Other pixels in one of validation and test: the rows of all other splits stay."""
    manifest = dataset.manifest
    split_of = dict(zip(manifest["source_id"], manifest["split"], strict=True))
    generator = np.random.default_rng(seed)

    def pixels(name: str, well: int) -> np.ndarray:
        stored = dataset.read_example(int(np.flatnonzero(manifest["source_id"] == name)[0]))[..., 0]
        return generator.integers(0, 65536, stored.shape) if split_of[name] == changed else stored

    with tempfile.TemporaryDirectory() as folder:
        source = write_plates(Path(folder) / "images", pixels=pixels)
        other = convert(source, Path(folder) / "dataset", SPLITTING)
        after = read_intensity(other)
        assert dict(zip(other.manifest["source_id"], other.manifest["split"], strict=True)) == (
            split_of
        )
    before = read_intensity(dataset)
    kept = (before["split"] != changed) | (before["fitted_on"] != changed)
    pd.testing.assert_frame_equal(after[kept], before[kept])
    if changed == "test":
        assert (after["mean"][~kept] != before["mean"][~kept]).all()


def test_validation_and_test_of_a_plate_without_training_do_not_share(tmp_path: Path) -> None:
    asked = ConversionSettings(
        labels="none",
        pattern=PATTERN,
        hold_out=("validation:well=B01", "validation:well=B02"),
        fractions=(0, 0.5, 0.5),
    )
    made = convert(write_plates(tmp_path / "images", {"P1": 1}), tmp_path / "dataset", asked)
    table = read_intensity(made).set_index("split")
    assert table["fitted_on"].to_dict() == {"validation": "validation", "test": "test"}
    assert table["wells"].to_dict() == {"validation": 2, "test": 6}
    assert table["mean"].nunique() == 2


def test_control_wells_alone_can_be_asked_for(tmp_path: Path) -> None:
    asked = ConversionSettings(
        labels="pattern",
        pattern=PATTERN,
        split_by=("plate",),
        fractions=(0.34, 0.33, 0.33),
        normalise_to=("treatment=DMSO",),
    )
    made = convert(write_plates(tmp_path / "images"), tmp_path / "dataset", asked)
    manifest = made.manifest
    for row in read_intensity(made).to_dict("records"):
        chosen = (manifest["plate"] == row["plate"]) & (manifest["treatment"] == "DMSO")
        assert (row["normalised_to"], row["wells"]) == ("treatment=DMSO", 4)
        assert row["mean"] == pytest.approx(pixels_of(made, chosen).mean(), abs=1e-12)


def examples_of(dataset: Dataset, **columns: object) -> pd.DataFrame:
    return dataset.manifest.assign(**columns)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "treatment=water",
            r"no such example on plate P1 \(train\), P2 \(train\), P3 \(test\); a plate is",
        ),
        ("treatmant=DMSO", r"normalise to treatmant: no such column; did you mean treatment"),
        ("label=dead", r"normalise to label: no such column"),
        ("DMSO", r"'DMSO': expected column=value"),
    ],
)
def test_a_plate_without_control_wells_is_named(
    dataset: Dataset, condition: str, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        check_request(
            dataset.manifest, dataset.info["sizes"], ConversionSettings(normalise_to=(condition,))
        )


def test_conditions_on_one_column_are_alternatives_and_columns_add_up(dataset: Dataset) -> None:
    manifest = dataset.manifest
    either = intensity.controls(manifest, ["treatment=DMSO", "treatment=drug"])
    both = intensity.controls(manifest, ["treatment=DMSO", "well=B01"])
    assert either.all()
    assert both.sum() == 3


def test_illumination_asks_for_images_of_one_size(dataset: Dataset) -> None:
    sizes = [{"height_px": 6, "width_px": 9}, {"height_px": 9, "width_px": 9}]
    with pytest.raises(PlanError, match="the images have 2 sizes"):
        check_request(dataset.manifest, sizes, ConversionSettings(illumination=True))


def test_shading_is_fitted_on_the_same_examples(tmp_path: Path) -> None:
    def pixels(name: str, well: int) -> np.ndarray:
        noise = np.random.default_rng(well).uniform(900, 1100, (20, 30))
        return noise * np.linspace(0.5, 1.5, 30) * (1 if name < "P3" else 3)

    asked = ConversionSettings(
        labels="pattern",
        pattern=PATTERN,
        tile=(2, 2),
        hold_out=("plate=P3",),
        illumination=True,
    )
    made = convert(write_plates(tmp_path / "images", pixels=pixels), tmp_path / "dataset", asked)
    for coefficients in read_intensity(made)["illumination"]:
        field = coefficients.reshape(5, 5)
        assert field[0, 0] == 1
        # a ramp from 0.5 to 1.5, but for the pixels clipped at the 99th percentile
        assert field[0, 1] == pytest.approx(0.5, abs=0.05)
        assert np.abs(field[1:]).max() < 0.05


def fitted(dataset: Dataset, **options: Any) -> list[dict[str, Any]]:
    return fit_intensity(dataset.folder, dataset.info, dataset.manifest, **options)


def test_passes_and_processes_do_not_change_a_number(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = fitted(dataset)
    monkeypatch.setattr(intensity, "HISTOGRAM_BYTES", 1)
    seen: list[tuple[str, int, int]] = []
    assert fitted(dataset, progress=lambda *done: seen.append(done)) == once
    assert {total for _, _, total in seen} == {row["examples"] for row in once}
    assert seen[-1][1] == seen[-1][2]
    monkeypatch.setattr(intensity, "BYTES_PER_WORKER", 1)
    monkeypatch.setattr(intensity, "HISTOGRAM_BYTES", 2**40)
    assert fitted(dataset, workers=2) == once
    assert intensity_rows(dataset) == once


def test_what_is_kept_stays_when_plates_are_added(dataset: Dataset) -> None:
    """Rows of known plates stand as they were; a new split of one takes over its training's."""
    whole = fitted(dataset)
    known = [
        {**row, "mean": -1.0} for row in whole if row["plate"] == "P1" and row["split"] == "train"
    ]
    found = fitted(dataset, kept=known)
    means = {(row["plate"], row["split"]): row["mean"] for row in found}
    assert {means[key] for key in means if key[0] == "P1"} == {-1.0}
    assert [row for row in found if row["plate"] != "P1"] == [
        row for row in whole if row["plate"] != "P1"
    ]


def test_an_addition_measures_new_plates_and_leaves_the_others(tmp_path: Path) -> None:
    source = write_plates(tmp_path / "images", {"P1": 1, "P3": 3})
    made = convert(source, tmp_path / "dataset", SPLITTING)
    before = read_intensity(made)
    write_plates(source, {"P2": 2})
    added = write_dataset(plan_addition(made, source), tmp_path / "dataset")
    after = read_intensity(added)
    assert set(after["plate"]) == set(PLATES)
    old = after[after["plate"] != "P2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, before)
    new = after[(after["plate"] == "P2") & (after["split"] == "train")].iloc[0]
    own = (added.manifest["plate"] == "P2") & (added.manifest["split"] == "train")
    assert new["mean"] == pytest.approx(pixels_of(added, own).mean(), abs=1e-12)
    assert not verify_dataset(added.folder).damaged


def test_images_without_plates_are_one_plate(make_small_plan, tmp_path: Path) -> None:
    table = read_intensity(write_dataset(make_small_plan(), tmp_path / "out"))
    assert table["plate"].tolist() == ["all"] * 3
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert set(table["fitted_on"]) == {"train"}


def test_plates_of_two_experiments_are_two(dataset: Dataset) -> None:
    examples = dataset.manifest.assign(experiment=["A", "B"] * (len(dataset.manifest) // 2))
    assert set(intensity.plate_names(examples)) == {
        f"{experiment}/{plate}" for experiment in "AB" for plate in PLATES
    }


def test_the_table_is_listed_and_damage_is_found(dataset: Dataset, tmp_path: Path) -> None:
    info = json.loads((dataset.folder / "deadlib.json").read_text())
    path = dataset.folder / "intensity.parquet"
    stored = path.read_bytes()
    assert info["plate_intensity"]["bytes"] == len(stored)
    path.write_bytes(stored[:-1] + b"\0")
    try:
        with pytest.raises(DatasetError, match=r"intensity\.parquet: damaged or edited"):
            open_dataset(dataset.folder).verify_checksums()
    finally:
        path.write_bytes(stored)
    assert not (dataset.folder / PROGRESS_FOLDER).exists()


def test_a_dataset_of_an_earlier_version_says_what_it_lacks(dataset: Dataset) -> None:
    info = {name: value for name, value in dataset.info.items() if name != "plate_intensity"}
    with pytest.raises(DatasetError, match=r"no intensity\.parquet.*convert the images again"):
        read_intensity(Dataset(dataset.folder, info))


def test_strong_differences_between_plates_are_told(dataset: Dataset, tmp_path: Path) -> None:
    card = data_card(dataset)
    (sentence,) = [line for line in card["warnings"] if "plates differ" in line]
    assert re.search(
        r"median of channel intensity is 3\.\d times as high on plate P3 as on P1", sentence
    )
    assert "input.normalise: plate" in sentence
    assert [(fit["plate"], fit["fitted_on"]) for fit in card["plates"]] == [
        ("P1", "train"),
        ("P2", "train"),
        ("P3", "test"),
    ]
    assert json.loads(json.dumps(card)) == card
    alike = convert(
        write_plates(tmp_path / "images", {"P1": 1, "P2": 1.2, "P3": 1}),
        tmp_path / "dataset",
        SPLITTING,
    )
    assert plate_differences(alike) == []

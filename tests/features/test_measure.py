"""A dataset becomes a table of features: per cell, image or well, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from deadlib.errors import InputError
from deadlib.features import FeatureTable, measure, open_features
from deadlib.features.check import check_sheet
from deadlib.features.measure import Measuring, _with_known, units_of
from tfrecords_tools import Dataset

CELLS_PER_FIELD = 4


@pytest.fixture(scope="module")
def tables(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureTable]:
    folder = tmp_path_factory.mktemp("tables")
    return {
        per: open_features(measure(dataset, folder / f"{per}.parquet", per=per, diameter_px=13))
        for per in ("cell", "image", "well")
    }


def test_every_level_has_its_rows(tables: dict[str, FeatureTable], dataset: Dataset) -> None:
    images = len(dataset.manifest)
    assert len(tables["cell"].frame) == images * CELLS_PER_FIELD
    assert len(tables["image"].frame) == images
    assert len(tables["well"].frame) == images / 2
    for table in tables.values():
        assert table.frame["example_id"].is_unique


def test_cells_are_counted_and_those_at_the_border_left_out(
    tables: dict[str, FeatureTable],
) -> None:
    assert set(tables["image"].frame["cells"]) == {CELLS_PER_FIELD}
    assert set(tables["image"].frame["cells_at_border"]) == {1}
    assert set(tables["well"].frame["cells"]) == {2 * CELLS_PER_FIELD}
    assert set(tables["well"].frame["fields"]) == {2}


def test_a_well_is_the_median_of_its_cells_and_not_of_its_fields(
    tables: dict[str, FeatureTable],
) -> None:
    cells, wells = tables["cell"].frame, tables["well"].frame
    name = "nucleus_deviation_ER"
    medians = cells.groupby(cells["plate"] + "/" + cells["well"])[name].median()
    np.testing.assert_allclose(medians[wells["example_id"]], wells[name], rtol=1e-6)


def test_rows_keep_what_is_known_of_them(tables: dict[str, FeatureTable], dataset: Dataset) -> None:
    image, well = tables["image"].frame, tables["well"].frame
    expected = dataset.manifest.set_index("example_id")
    for name in ("split", "label", "plate", "well", "field", "group"):
        assert (image[name] == expected.loc[image["example_id"], name].to_numpy()).all()
    assert well["field"].isna().all()
    assert set(well["example_id"]) == set(well["plate"] + "/" + well["well"])


def test_smaller_nuclei_are_measured_smaller(tables: dict[str, FeatureTable]) -> None:
    areas = tables["well"].frame.groupby("label")["nucleus_area_px"]
    assert areas.max()["dying"] < areas.min()["healthy"]


def test_workers_change_nothing(
    tables: dict[str, FeatureTable], dataset: Dataset, tmp_path: Path
) -> None:
    out = measure(dataset, tmp_path / "two.parquet", per="well", diameter_px=13, workers=2)
    pd.testing.assert_frame_equal(pd.read_parquet(out), tables["well"].frame)
    assert [path.name for path in tmp_path.iterdir()] == ["two.parquet"]


def stopped(dataset: Dataset, out: Path, after: int) -> None:
    """Begin to measure, and stop as Ctrl-C does."""

    def stop(stage: str, done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(dataset, out, per="well", whole_images=True, progress=stop)
    assert not out.exists()


def test_a_stopped_measurement_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    out, whole = tmp_path / "stopped.parquet", tmp_path / "whole.parquet"
    stopped(dataset, out, after=5)
    measure(dataset, out, per="well", whole_images=True, progress=lambda *each: told.append(each))
    assert told[0] == ("measuring", 6, 12)
    measure(dataset, whole, per="well", whole_images=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))


def test_what_was_measured_otherwise_is_not_taken_over(dataset: Dataset, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    out = tmp_path / "stopped.parquet"
    stopped(dataset, out, after=5)
    measure(dataset, out, per="image", whole_images=True, progress=lambda *each: told.append(each))
    assert told[0] == ("measuring", 1, 24)


def test_images_without_cells_are_told_and_have_no_features(
    plate_images: Path, tmp_path: Path
) -> None:
    from discs import PATTERN

    from tfrecords_tools import ConversionSettings, convert

    folder = tmp_path / "images"
    folder.mkdir()
    for channel in ("DNA", "ER"):
        name = f"P1_B01_1_dying_{channel}.png"
        (folder / name).write_bytes((plate_images / name).read_bytes())
        empty = Image.fromarray(np.full((80, 80), 10, np.uint8))
        empty.save(folder / f"P1_B02_1_healthy_{channel}.png")
    settings = ConversionSettings(
        labels="pattern", pattern=PATTERN, channels=("DNA", "ER"), fractions=(1, 0, 0)
    )
    dataset = convert(folder, tmp_path / "dataset", settings)
    warnings: list[str] = []
    out = measure(dataset, tmp_path / "few.parquet", diameter_px=13, warn=warnings.append)
    frame = pd.read_parquet(out).set_index("well")
    assert frame["cells"].to_dict() == {"B01": CELLS_PER_FIELD, "B02": 0}
    assert np.isnan(frame["nucleus_area_px"]["B02"])
    assert warnings == ["1 of 2 images have no whole cell, so their features are not known"]


def test_whole_images_are_measured_without_looking_for_cells(
    dataset: Dataset, tmp_path: Path
) -> None:
    table = open_features(measure(dataset, tmp_path / "whole.parquet", whole_images=True))
    assert set(table.frame["cells"]) == {1}
    image = dataset.read_example(0).astype(np.float64) / 255
    expected = image[..., 0].mean() - np.percentile(image[..., 0], 1)
    np.testing.assert_allclose(table.frame["image_mean_DNA"][0], expected, rtol=1e-5)


def test_whole_images_have_no_nuclei_to_look_for(dataset: Dataset, tmp_path: Path) -> None:
    for cells in ({"nuclei": "DNA"}, {"ring_px": 3.0}):
        with pytest.raises(InputError, match="neither nuclei nor rings"):
            measure(dataset, tmp_path / "x.parquet", whole_images=True, **cells)  # type: ignore[arg-type]


def test_the_check_shows_nuclei_in_yellow_and_those_cut_in_red(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = check_sheet(dataset, Measuring("DNA", 13, 4, "image"), tmp_path / "check.png", most=2)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 180) & (pixels[..., 2] < 90)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    assert yellow.sum() > 200
    assert red.sum() > 50


def test_wells_need_wells(dataset: Dataset) -> None:
    frame = dataset.manifest.drop(columns="well")
    without = type("Known", (), {"manifest": frame, "folder": Path("d")})()
    with pytest.raises(InputError, match="not every example has a well; measure per image"):
        units_of(without, "well")
    with pytest.raises(InputError, match="expected one of cell, image, well"):
        units_of(dataset, "plate")


def test_a_table_is_parquet_and_one_of_features(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected \.parquet"):
        measure(dataset, tmp_path / "table.csv")
    with pytest.raises(InputError, match="no such file"):
        open_features(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no feature table; measure one"):
        open_features(dataset.manifest_path)
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        open_features(tmp_path / "text.parquet")


def test_what_is_measured_goes_before_a_column_of_that_name() -> None:
    known = pa.table({"example_id": ["a"], "cells": [99], "plate": ["P1"]})
    part = pa.table({"manifest_row": [0], "cells": [4], "nucleus_area_px": [1.5]})
    joined = _with_known(part, known, "image")
    assert joined.column_names == ["example_id", "plate", "cells", "nucleus_area_px"]
    assert joined["cells"].to_pylist() == [4]

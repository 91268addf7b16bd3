"""Tables that other programs measured become feature tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deadlib.errors import InputError
from deadlib.features import classify, import_features, open_features
from tfrecords_tools import Dataset

COLUMBUS = """\
Plate;Row;Column;Field;Timepoint;Object No;X;Y;Nuclei - Area [px];ER - SER Spot;Compound
1;2;3;1;0;1;10,5;20,5;100,5;0,01;DMSO
1;2;3;1;0;2;30,5;20,5;200,5;0,02;DMSO
1;2;3;2;0;1;10,5;20,5;120,5;0,05;DMSO
1;2;4;1;0;1;10,5;20,5;300,5;0,09;Erastin
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def cellprofiler(folder: Path) -> list[Path]:
    """The tables of CellProfiler: one per image, one per compartment, joined by two numbers."""
    image = pd.DataFrame(
        {
            "ImageNumber": [1, 2],
            "Metadata_Plate": ["P1", "P1"],
            "Metadata_Well": ["B3", "B4"],
            "ImageQuality_Focus": [0.5, 0.7],
        }
    )
    cells = {"ImageNumber": [1, 1, 2, 2], "ObjectNumber": [1, 2, 1, 2]}
    nuclei = pd.DataFrame(
        {**cells, "Location_Center_X": [1, 2, 3, 4], "AreaShape_Area": [10, 20, 30, 50]}
    )
    cytoplasm = pd.DataFrame({**cells, "AreaShape_Area": [1, 2, 3, np.nan]})
    tables = {"Image": image, "Nuclei": nuclei, "Cytoplasm": cytoplasm}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return [folder / f"{name}.csv" for name in tables]


def test_cells_of_columbus_become_medians_of_wells(tmp_path: Path) -> None:
    table = write(tmp_path / "cells.csv", COLUMBUS)
    found = import_features([table], tmp_path / "wells.parquet")
    frame = open_features(found.path).frame.set_index("well")
    assert found.features == ("Nuclei - Area [px]", "ER - SER Spot")
    assert set(found.left_out) == {"Object No", "X", "Y", "Timepoint"}
    assert list(frame.index) == ["B03", "B04"]
    assert frame["Nuclei - Area [px]"].to_dict() == {"B03": 120.5, "B04": 300.5}
    assert frame["cells"].to_dict() == {"B03": 3, "B04": 1}
    assert frame["treatment"].to_dict() == {"B03": "DMSO", "B04": "Erastin"}
    assert list(frame["example_id"]) == ["1/B03", "1/B04"]
    assert frame["field"].isna().to_dict() == {"B03": True, "B04": False}


def test_cells_and_fields_may_stay_rows(tmp_path: Path) -> None:
    table = write(tmp_path / "cells.csv", COLUMBUS)
    cells = open_features(import_features([table], tmp_path / "c.parquet", per="cell").path)
    fields = open_features(import_features([table], tmp_path / "f.parquet", per="image").path)
    assert len(cells.frame) == 4
    assert cells.frame["example_id"].is_unique
    assert list(fields.frame["example_id"]) == ["1/B03/1", "1/B03/2", "1/B04/1"]


def test_tables_of_plates_stand_under_each_other(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "Barcode,Well,area\nP1,b3,1.5\nP1,b4,2.5\n")
    two = write(tmp_path / "two.csv", "Barcode,Well,area\nP2,b3,3.5\n")
    columns = {"plate": "Barcode"}
    found = import_features([one, two], tmp_path / "w.parquet", columns=columns)
    frame = open_features(found.path).frame
    assert list(frame["example_id"]) == ["P1/B03", "P1/B04", "P2/B03"]
    # one row a well: there is nothing to count
    assert "cells" not in frame


def test_tables_of_compartments_stand_side_by_side(tmp_path: Path) -> None:
    join = ("ImageNumber", "ObjectNumber")
    found = import_features(cellprofiler(tmp_path), tmp_path / "w.parquet", join=join)
    frame = open_features(found.path).frame.set_index("well")
    assert set(found.features) == {
        "Image_ImageQuality_Focus",
        "Nuclei_AreaShape_Area",
        "Cytoplasm_AreaShape_Area",
    }
    assert frame["Nuclei_AreaShape_Area"].to_dict() == {"B03": 15, "B04": 40}
    assert frame["Cytoplasm_AreaShape_Area"].to_dict() == {"B03": 1.5, "B04": 3}


def test_more_columns_can_be_left_out(tmp_path: Path) -> None:
    join, out = ("ImageNumber", "ObjectNumber"), tmp_path / "w.parquet"
    found = import_features(cellprofiler(tmp_path), out, join=join, leave_out=["image_*"])
    assert "Image_ImageQuality_Focus" in found.left_out


def test_an_imported_table_takes_splits_and_labels_from_the_dataset(
    dataset: Dataset, tmp_path: Path
) -> None:
    wells = dataset.manifest.drop_duplicates(["plate", "well"])
    size = (wells["label"] == "healthy") * 1.0 + np.linspace(0, 0.1, len(wells))
    names = [well.replace("B0", "b") for well in wells["well"]]
    csv = pd.DataFrame({"Plate": wells["plate"], "WellName": names, "size": size})
    csv.loc[len(csv) + 99] = ["P9", "b1", 0.5]
    csv.to_csv(tmp_path / "wells.csv", index=False)
    imported = import_features([tmp_path / "wells.csv"], tmp_path / "wells.parquet").path
    warnings: list[str] = []
    out = tmp_path / "p.parquet"
    classify(imported, out, dataset=dataset, warn=warnings.append)
    frame = pd.read_parquet(out)
    assert set(frame["plate"]) == {"P2"}
    assert (frame["predicted"] == frame["label"]).all()
    assert "1 of 13 rows" in warnings[0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("area\n1\n", {}, "no column well, nor row and column"),
        ("well\nB03\n", {}, "no column of numbers that could be a feature"),
        ("well,area\nB03,1\n", {"columns": {"plate": "barcod"}}, "no column barcod, to be read"),
        ("well,area\nB03,1\n", {"join": ["ImageNumber"]}, "none of the columns to join by, Image"),
        ("well,area\nB03,1\nB03,2\n", {"join": ["well"]}, "two rows have {'well': 'B03'}"),
        ("well,area\nB03,1\n", {"per": "plate"}, "expected one of cell, image, well"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    text: str, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    table = write(tmp_path / "t.csv", text)
    with pytest.raises(InputError, match=message):
        import_features([table], tmp_path / "out.parquet", **options)
    assert not (tmp_path / "out.parquet").exists()


def test_tables_with_other_columns_are_not_stacked(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "well,area\nB03,1\n")
    two = write(tmp_path / "two.csv", "well,length\nB03,1\n")
    with pytest.raises(InputError, match=r"2 stand in one only, for example area.*--join"):
        import_features([one, two], tmp_path / "out.parquet")


def test_rows_that_the_dataset_does_not_know_are_told(dataset: Dataset, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "plate,well,area\nP7,B03,1\nP7,B04,2\n")
    imported = import_features([table], tmp_path / "w.parquet").path
    with pytest.raises(InputError, match=r"no row is of .* by plate, well, for example P7/B03"):
        classify(imported, tmp_path / "p.parquet", dataset=dataset)
    nameless = write(tmp_path / "n.csv", "example_id,area\nx,1\ny,2\n")
    imported = import_features([nameless], tmp_path / "n.parquet").path
    with pytest.raises(InputError, match="nothing says which example of the dataset a row is"):
        classify(imported, tmp_path / "p.parquet", dataset=dataset)


def test_what_was_done_to_a_well_is_no_feature(tmp_path: Path) -> None:
    """Of any of these a forest would read the class."""
    rows = pd.DataFrame({"Plate": 1, "Well": ["B02", "B03"], "Intensity": [0.5, 0.7]})
    told = ["Dose (nM)", "Final_Concentration", "Cell viability %", "normalized_atp", "Class"]
    path = tmp_path / "wells.csv"
    rows.assign(**{name: [0, 1] for name in told}).to_csv(path, index=False)
    found = import_features([path], tmp_path / "out.parquet")
    assert found.features == ("Intensity",)
    assert set(told) <= set(found.left_out)

"""Plate maps of plate tables, prediction tables and datasets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deadlib.errors import InputError, PredictionError
from deadlib.plates.drawing import Amounts, Categories
from deadlib.plates.geometry import plate_format
from deadlib.plates.maps import draw_plates
from deadlib.plates.wells import SEVERAL, read_wells, well_values


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Two plates; well B3 has two fields, of which one is called right."""
    rows = [
        ("1", "B3", "dead", 0.9, 10),
        ("1", "B03", "dead", 0.3, 20),
        ("1", "C04", "alive", 0.8, 30),
        ("2", "b3", "dead", 0.1, 40),
    ]
    frame = pd.DataFrame(rows, columns=["plate", "well", "label", "probability_dead", "cells"])
    frame["probability_alive"] = 1 - frame["probability_dead"]
    frame["note"] = ["x", "y", "x", "z"]
    frame["embedding"] = [[0.1, 0.2]] * len(frame)
    frame.to_parquet(tmp_path / "predictions.parquet")
    return tmp_path / "predictions.parquet"


def test_probabilities_are_averaged_over_the_fields_of_a_well(calls: Path) -> None:
    table = read_wells(calls)
    found = well_values(table, "probability_dead")
    assert found.plates["1"] == pytest.approx({"B03": 0.6, "C04": 0.8})
    assert found.plates["2"] == pytest.approx({"B03": 0.1})
    assert found.scale == Amounts(0.0, 1.0)
    predicted = well_values(table, "predicted")
    assert predicted.plates == {"1": {"B03": "dead", "C04": "dead"}, "2": {"B03": "alive"}}
    assert predicted.scale == Categories(("dead", "alive"))
    assert not predicted.marked


def test_disagreement_marks_wells_whose_label_is_another_class(calls: Path) -> None:
    found = well_values(read_wells(calls), "disagreement")
    assert found.marked == {"1": ("C04",), "2": ("B03",)}
    assert found.mark == "label is another class"


def test_any_column_is_averaged_or_named(calls: Path) -> None:
    table = read_wells(calls)
    assert well_values(table, "cells").plates == {
        "1": {"B03": 15.0, "C04": 30.0},
        "2": {"B03": 40.0},
    }
    assert well_values(table, "note").plates["1"] == {"B03": SEVERAL, "C04": "x"}
    assert well_values(table, "fields").plates["1"] == {"B03": 2, "C04": 1}


def test_a_table_of_wells_tells_how_many_fields_they_have(calls: Path) -> None:
    pd.read_parquet(calls).iloc[[0, 2]].assign(fields=[9, 8], predicted="dead").to_parquet(calls)
    table = read_wells(calls)
    assert well_values(table, "fields").plates["1"] == {"B03": 9, "C04": 8}
    names = table.values()
    assert len(names) == len(set(names))


def test_plates_of_two_experiments_stay_apart(calls: Path) -> None:
    frame = pd.read_parquet(calls).assign(experiment=["a", "b", "a", "a"])
    frame.to_parquet(calls)
    assert list(read_wells(calls).plates.unique()) == ["a/1", "b/1", "a/2"]
    assert list(read_wells(calls, by=["experiment"]).plates.unique()) == ["a", "b"]
    frame.assign(experiment="a").to_parquet(calls)
    assert list(read_wells(calls).plates.unique()) == ["1", "2"]


def test_places_are_found_however_they_are_spelt(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("Row,Col,dose\nA,01,0\nB,12,1.5\n", encoding="utf-8")
    found = well_values(read_wells(tmp_path / "table.csv"), "dose")
    assert found.plates == {"1": {"A01": 0.0, "B12": 1.5}}


def test_the_page_holds_a_picture_of_each_plate_and_value(calls: Path, tmp_path: Path) -> None:
    page = draw_plates(calls, tmp_path / "out", ["disagreement", "cells"], plate=plate_format(12))
    assert page == tmp_path / "out" / "plates.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == 4
    assert "label is another class: 1" in text
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {
        f"{name}_0{number}.{kind}"
        for name in ("disagreement", "cells")
        for number in (1, 2)
        for kind in ("png", "svg")
    }
    wells = pd.read_csv(tmp_path / "out" / "wells.csv")
    assert wells.to_numpy().tolist() == [
        [1, "B03", "dead", False, 15.0],
        [1, "C04", "dead", True, 30.0],
        [2, "B03", "alive", True, 40.0],
    ]


def test_without_a_choice_what_there_is_is_drawn(calls: Path, tmp_path: Path) -> None:
    text = draw_plates(calls, tmp_path / "out").read_text(encoding="utf-8")
    assert [f'id="{name}"' in text for name in ("label", "disagreement", "viability")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        ("plate,x\n1,2\n", "x", "no column well, nor row and column"),
        ("plate,well,x\n1,,2\n", "x", "no row has a well|no column well"),
        ("plate,well,x\n1,B,2\n", "x", "'B' is no well; expected a name such as B03"),
        ("plate,row,column,x\n1,B,0,2\n", "x", "'row B, column 0' is no well"),
        ("plate,well,viability\n1,B3,2\n", "viabilty", "did you mean viability"),
        ("plate,well,x\n1,B3,\n", "x", "column x is empty in every row with a well"),
        (
            "well,probability_a,probability_b\nB3,0.5,0.5\n",
            "disagreement",
            "no labels, so there is nothing",
        ),
    ],
)
def test_what_cannot_be_mapped_is_said(text: str, value: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        well_values(read_wells(tmp_path / "table.csv"), value)


def test_a_broken_prediction_table_is_refused_as_everywhere(tmp_path: Path) -> None:
    text = "well,probability_a,probability_b\nB3,0.5,0.9\n"
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PredictionError, match=r"sum to 1\.4"):
        read_wells(tmp_path / "table.csv")

"""Plate tables as they come, and what is made of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.errors import InputError, RecipeError
from deadlib.plates.normalise import normalised
from deadlib.plates.selection import selected
from deadlib.plates.settings import TableSettings, merged, read_table_settings
from deadlib.plates.table import PlateTable, plate_table, write_table
from deadlib.simulation.parameters import PaintingParameters
from deadlib.simulation.plates import viability_rows, wells_of_plate
from tfrecords_tools.errors import SourceError

SMALL = """\
Plate,Well,Treatment,Concentration_uM,viability,label
1,B3,IKE,"0,5",100,ferroptosis
1,b02,DMSO,,200,healthy
1,A1,dmso,0,300,healthy
2,B03,IKE,1,"150,5",ferroptosis
2,C04,DMSO,0,50,healthy
"""


def table_of(text: str, folder: Path, **settings: Any) -> PlateTable:
    (folder / "raw.csv").write_text(text, encoding="utf-8")
    return plate_table(folder / "raw.csv", TableSettings(**settings))


def published(real_data: Path, name: str, **given_settings: Any) -> PlateTable:
    path = real_data / "celldeathpred_plate_tables" / f"df_exp8_{name}.csv"
    return plate_table(path, read_table_settings("celldeathpred", **given_settings))


def wells(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["plate"], frame["well"], strict=True))


def test_one_row_per_well_under_the_names_of_the_glossary(tmp_path: Path) -> None:
    found = table_of(SMALL, tmp_path).frame
    assert list(found) == [
        *("plate", "well", "row", "column", "edge", "treatment", "concentration_um", "viability"),
        *("label", "viability_raw"),
    ]
    assert list(found["well"]) == ["A01", "B02", "B03", "B03", "C04"]
    assert list(found["row"]) == [1, 2, 2, 2, 3]
    assert list(found["edge"]) == [True, False, False, False, False]
    assert list(found["treatment"]) == ["DMSO", "DMSO", "IKE", "IKE", "DMSO"]
    assert list(found["concentration_um"]) == [0.0, 0.0, 0.5, 1.0, 0.0]
    assert list(found["viability"]) == pytest.approx([1.2, 0.8, 0.4, 3.01, 1.0])
    assert list(found["viability_raw"]) == [300.0, 200.0, 100.0, 150.5, 50.0]


def test_viability_is_relative_to_all_plates_or_left_as_it_is(tmp_path: Path) -> None:
    everything = table_of(SMALL, tmp_path, normalise="all")
    assert everything.references[0].mean == pytest.approx(550 / 3)
    assert everything.frame["viability"].iloc[0] == pytest.approx(300 / (550 / 3))
    left = table_of(SMALL, tmp_path, normalise="none")
    assert list(left.frame["viability"]) == [300.0, 200.0, 100.0, 150.5, 50.0]
    assert "viability_raw" not in left.frame


def test_what_is_written_is_read_by_everybody(tmp_path: Path) -> None:
    write_table(table_of(SMALL, tmp_path), tmp_path / "clean.csv")
    text = (tmp_path / "clean.csv").read_text(encoding="utf-8")
    assert text.splitlines()[3] == "1,B03,2,3,false,IKE,0.5,0.4,ferroptosis,100"
    again = plate_table(tmp_path / "clean.csv", TableSettings())
    assert list(again.frame["viability"]) == pytest.approx([1.2, 0.8, 0.4, 3.01, 1.0])


def test_the_published_table_gives_the_published_wells(real_data: Path) -> None:
    """df_exp8_range2.csv: 270 treated wells, 163 and 107; its normaliser 251097.180952."""
    all_wells = published(real_data, "all")
    assert len(all_wells.frame) == 996
    assert all_wells.frame["label"].value_counts().to_dict() == {
        "healthy": 366,
        "apoptosis": 315,
        "ferroptosis": 315,
    }
    (reference,) = all_wells.references
    assert (reference.wells, reference.mean) == (210, pytest.approx(251097.180952, abs=1e-6))
    assert "12 rows of empty wells left out (Leer)" in all_wells.notes
    assert not {"N09", "N11", "O09", "O11"} & set(all_wells.frame["well"])
    source = pd.read_csv(real_data / "celldeathpred_plate_tables" / "df_exp8_all.csv")
    source = source.assign(plate=source["plate"].astype(str))
    both = all_wells.frame.merge(source, left_on=["plate", "well"], right_on=["plate", "Well"])
    assert len(both) == 996
    assert both["viability"].to_numpy() == pytest.approx(both["normalized_atp"].to_numpy())
    assert (both["concentration_um"] == both["concentr"]).all()
    assert (both["row"] == both["Row_New"]).all()
    assert (both["column"] == both["Col"]).all()
    assert set(both["incubation_hours"]) == {28.0}

    chosen = published(real_data, "all", viability_range=(0.3, 0.8), healthy="none").frame
    assert chosen["label"].value_counts().to_dict() == {"apoptosis": 163, "ferroptosis": 107}
    range2 = published(real_data, "range2").frame
    assert wells(chosen) == wells(range2[range2["label"] != "healthy"])


def test_each_plate_has_its_own_reference(real_data: Path) -> None:
    found = published(real_data, "all", normalise="plate").references
    assert [entry.wells for entry in found] == [70, 70, 70]
    assert [round(entry.mean, 2) for entry in found] == [260710.40, 247041.49, 245539.66]


def test_controls_in_range_are_the_published_six(real_data: Path) -> None:
    found = published(real_data, "all", viability_range=(0.3, 0.8), healthy="in_range").frame
    controls = found[found["label"] == "healthy"]
    assert wells(controls) == {
        *(("2", well) for well in ("H01", "H02", "J01", "J02", "O23")),
        ("3", "O23"),
    }


def test_a_well_that_stands_twice_is_dropped_or_kept_on_request(real_data: Path) -> None:
    once = published(real_data, "range2", normalise="none")
    assert len(once.frame) == 371
    assert once.warnings == ("1 row left out that say the same of a well again: plate 2 J02",)
    kept = published(real_data, "range2", normalise="none", duplicates="keep")
    assert len(kept.frame) == 372
    assert kept.frame["label"].value_counts().to_dict() == {
        "apoptosis": 163,
        "ferroptosis": 107,
        "healthy": 102,
    }
    with pytest.raises(InputError, match=r"rows 176, 235: plate 2, well J02 stands more than once"):
        published(real_data, "range2", duplicates="refuse")


def test_the_class_of_the_plates_row_is_no_label(real_data: Path) -> None:
    path = real_data / "celldeathpred_plate_tables" / "df_exp8_all.csv"
    settings = read_table_settings("celldeathpred", columns={"label": ["Cell_Death"]})
    with pytest.raises(
        InputError, match=r"labelled Healthy \(168\), Apoptosis \(105\), Ferroptosis \(93\)"
    ):
        plate_table(path, settings)


def test_healthy_wells_are_drawn_equally_and_by_the_seed(real_data: Path) -> None:
    def drawn(seed: int) -> pd.DataFrame:
        return published(
            real_data, "all", viability_range=(0.3, 0.8), healthy_per_plate=30, seed=seed
        ).frame

    first = drawn(1)
    controls = first[first["label"] == "healthy"]
    assert (controls.groupby(["plate", "treatment"]).size() == 15).all()
    assert (first["label"] != "healthy").sum() == 270
    pd.testing.assert_frame_equal(first, drawn(1))
    assert wells(first) != wells(drawn(2))


def plate_of_controls(kinds: list[str]) -> pd.DataFrame:
    places = range(1, len(kinds) + 1)
    return pd.DataFrame(
        {"plate": "1", "row": 1, "column": places, "treatment": kinds, "viability": 1.0}
    )


@given(
    st.lists(st.sampled_from(["DMSO", "Untreated", "IKE"]), min_size=1, max_size=40),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_a_draw_has_its_number_and_takes_no_treated_well_away(
    kinds: list[str], number: int, seed: int
) -> None:
    frame = plate_of_controls(kinds)
    settings = TableSettings(healthy_per_plate=number, seed=seed)
    found = selected(frame, settings, "table", [])
    counts = found["treatment"].value_counts()
    treated = kinds.count("IKE")
    assert counts.get("IKE", 0) == treated
    assert len(found) - treated == min(number, len(kinds) - treated)
    drawn = [counts.get(name, 0) for name in ("DMSO", "Untreated")]
    smallest = min(kinds.count("DMSO"), kinds.count("Untreated"))
    assert abs(drawn[0] - drawn[1]) <= 1 or min(drawn) == smallest


def test_another_plate_does_not_change_a_plates_draw() -> None:
    frame = plate_of_controls(["DMSO"] * 20)
    settings = TableSettings(healthy_per_plate=5)
    alone = selected(frame, settings, "table", [])
    both = selected(
        pd.concat([frame.assign(plate="0"), frame], ignore_index=True), settings, "table", []
    )
    assert set(both[both["plate"] == "1"]["column"]) == set(alone["column"])
    # and plates of one layout do not all give the same wells
    assert set(both[both["plate"] == "0"]["column"]) != set(alone["column"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,H3,IKE,high,1,f", "row 3, concentration_um: found 'high', expected a number such as"),
        ("1,H3,IKE,-2,1,f", "row 3, concentration_um: found -2, expected 0 or more"),
        ("1,H3,IKE,1,lost,f", "row 3, viability: found 'lost', expected a number such as 0.83"),
        ("1,3H,IKE,1,1,f", "row 3: found well '3H', expected a well such as B03"),
        ("1,,IKE,1,1,f", "row 3: found nothing, expected a well such as B03"),
        (",H3,IKE,1,1,f", "row 3: no plate; fill it in"),
        ("1,B1,IKE,1,1,f", "rows 2, 3: plate 1, well B01 stands more than once, with treatment "),
        ("2,B1,IKE,1,1,f", "plate 2 has no well with viability of DMSO"),
        ("1,B1,DMSO,0,1,f", "with label h and f; keep one row"),
    ],
)
def test_bad_rows_are_named(line: str, message: str, tmp_path: Path) -> None:
    head = "plate,well,treatment,concentration_um,viability,label\n1,B1,DMSO,0,1,h\n"
    with pytest.raises(InputError) as error:
        table_of(head + line + "\n", tmp_path)
    assert message in str(error.value)
    assert "raw.csv" in str(error.value)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("well,label\nB1,a\n", {}, "no column plate; name it with --column plate=NAME"),
        ("plate,label\n1,a\n", {}, "no column well"),
        ("plate,well\n1,P24\n", {"wells": 96}, "row 2: well P24 is outside a plate of 96 wells"),
        ("plate,well,row,column\n1,B3,2,4\n", {}, "do not agree; correct one"),
        ("plate,well,Plate\n1,B3,2\n", {}, "columns plate and Plate could both be plate"),
        ("plate,well\n1,B3\n", {"plate": "1"}, "has a column of plates"),
        ("plate,well,viability\n1,B3,2\n", {}, "no column treatment"),
        ("plate,well,viability\n1,B3,\n1,B4,\n", {"normalise": "none"}, "empty in every row"),
        ("plate,well,label\n1,B3,\n", {}, "no well has a label"),
        (
            'plate,well,viability\n1,B3,"1,250"\n',
            {"normalise": "none"},
            "'1,250' may be a decimal comma or thousands",
        ),
        (
            "plate,well,A,B\n1,B3,1,2\n",
            {"columns": {"viability": ["A", "B"]}},
            "row 2: A and B are both filled",
        ),
        (
            "plate,well,treatment\n1,B3,IKE\n",
            {"viability_range": (0.3, 0.8)},
            "no column viability, which a range needs",
        ),
        (
            "plate,well,treatment,viability\n1,B3,DMSO,-1\n",
            {},
            "mean viability of -1, expected more than 0",
        ),
        (
            "plate,well,treatment,viability\n1,B3,IKE,1\n",
            {"normalise": "all"},
            "no plate has a well of DMSO with viability",
        ),
        (
            "plate,well,treatment,viability\n1,B3,IKE,1\n",
            {"normalise": "none", "viability_range": (0.3, 0.8)},
            "no well is left; viability 0.3 to 0.8: 0 of 1 treated wells kept",
        ),
        ("plate,well\n1,B3\n", {"columns": {"index": ["well"]}}, "cannot be called index"),
    ],
)
def test_bad_tables_are_said_in_words(
    text: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        table_of(text, tmp_path, **settings)
    assert message in " ".join(str(error.value).split())


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such table"):
        plate_table(tmp_path / "none.csv", TableSettings())


def test_missing_viability_is_told_and_in_no_range(tmp_path: Path) -> None:
    text = (
        "plate,well,treatment,viability\n1,A1,DMSO,2\n1,A2,DMSO,\n1,A3,IKE,1\n1,A4,IKE,\n1,A5,,1\n"
    )
    found = table_of(text, tmp_path, viability_range=(0.3, 0.8))
    assert list(found.frame["well"]) == ["A01", "A02", "A03"]
    assert found.references[0].wells == 1
    assert found.warnings == (
        "1 row without treatment left out: plate 1 A05",
        "2 rows without viability, and are in no range: plate 1 A02, plate 1 A04",
    )


def test_bounds_of_the_range_belong_to_it(tmp_path: Path) -> None:
    rows = "".join(f"1,B{i},IKE,{v}\n" for i, v in enumerate((0.29, 0.3, 0.8, 0.81), start=1))
    text = "plate,well,treatment,viability\n1,A1,DMSO,1\n" + rows
    found = table_of(text, tmp_path, viability_range=(0.3, 0.8), normalise="none").frame
    assert list(found["well"]) == ["A01", "B02", "B03"]


def test_classes_may_follow_from_treatments(tmp_path: Path) -> None:
    text = "Plate Id,Row,Col,treatment\n7,B,3,IKE\n7,2,4,DMSO\n7,AA,48,odd\n"
    found = table_of(
        text,
        tmp_path,
        columns={"plate": ["Plate Id"]},
        labels={"IKE": "ferroptosis", "DMSO": "healthy"},
        edge_width=2,
    )
    assert found.plate.wells == 1536
    assert found.frame[["well", "label"]].to_numpy().tolist() == [
        ["B03", "ferroptosis"],
        ["B04", "healthy"],
    ]
    assert list(found.frame["edge"]) == [True, True]
    assert "labels name no class for odd" in found.warnings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_is_read_as_spreadsheets_of_all_countries_save_it(
    encoding: str, tmp_path: Path
) -> None:
    text = "Plate;Well;Treatment;Concentration µM\n1;B3;Zuführung;0,5\n"
    (tmp_path / "raw.csv").write_bytes(text.encode(encoding))
    found = plate_table(tmp_path / "raw.csv", TableSettings()).frame
    assert found[["treatment", "concentration_um"]].to_numpy().tolist() == [["Zuführung", 0.5]]


def test_plates_of_two_experiments_may_have_one_number(tmp_path: Path) -> None:
    text = (
        "experiment,plate,well,treatment,viability\n"
        "a,1,B3,DMSO,4\na,1,B4,IKE,1\na,2,B3,DMSO,8\nb,1,B3,DMSO,2\nb,1,B4,IKE,1\n"
    )
    each = table_of(text, tmp_path)
    assert list(each.frame["experiment"]) == ["a", "a", "a", "b", "b"]
    assert list(each.frame["viability"]) == [1.0, 0.25, 1.0, 1.0, 0.5]
    assert [entry.plate for entry in each.references] == ["a/1", "a/2", "b/1"]
    pooled = table_of(text, tmp_path, normalise="all")
    assert list(pooled.frame["viability"]) == pytest.approx([4 / 6, 1 / 6, 8 / 6, 1.0, 0.5])
    assert [entry.words for entry in pooled.references] == [
        "all plates of a: 2 wells, mean 6",
        "all plates of b: 1 wells, mean 2",
    ]
    drawn = table_of(text, tmp_path, healthy_per_plate=1)
    assert len(drawn.frame) == 5


def test_settings_come_from_a_file_and_mistakes_in_it_are_named(tmp_path: Path) -> None:
    file = tmp_path / "plates.yaml"
    file.write_text("columns: {viability: ATP, label: [Class]}\nwells: 96\n", encoding="utf-8")
    settings = read_table_settings(file, columns={"label": ["Kind"]}, seed=3)
    assert settings.columns == {"viability": ("ATP",), "label": ("Kind",)}
    assert (settings.wells, settings.seed) == (96, 3)
    file.write_text("collumns: {}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="columns"):
        read_table_settings(file)
    for wrong in (
        {"wells": 100},
        {"viability_range": (0.8, 0.3)},
        {"healthy": "in_range"},
        {"edge_width": -1},
    ):
        with pytest.raises(RecipeError, match="options"):
            merged({}, wrong, "options")


def test_normalising_keeps_ratios_within_a_plate() -> None:
    frame = pd.read_csv(
        io.StringIO("plate,treatment,viability\na,DMSO,4\na,IKE,1\nb,DMSO,8\nb,IKE,2\n")
    )
    found, _ = normalised(frame, TableSettings(), "table")
    assert list(found) == [1.0, 0.25, 1.0, 0.25]


def test_the_simulated_table_is_read_by_the_same_preset(tmp_path: Path) -> None:
    parameters = PaintingParameters(plates=3, inducers=7, untreated=4)
    wells = [well for plate in range(3) for well in wells_of_plate(parameters, plate, seed=1)]
    rows = pd.DataFrame(viability_rows(wells, parameters))
    rows.to_csv(tmp_path / "viability.csv", index=False)
    found = plate_table(tmp_path / "viability.csv", read_table_settings("celldeathpred")).frame
    assert len(found) == len(rows)
    both = found.merge(
        rows.astype({"plate": str}), left_on=["plate", "well"], right_on=["plate", "Well"]
    )
    assert both["viability"].to_numpy() == pytest.approx(
        both["normalized_atp"].astype(float).to_numpy(), abs=1e-5
    )
    assert (both["label"] == both["drug"]).all()
    assert {"RSL3", "Staurosporine"} <= set(found["treatment"])

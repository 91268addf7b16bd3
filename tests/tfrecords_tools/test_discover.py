"""Where labels, metadata and channels come from, and what is wrong with single files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tfrecords_tools.discover import discover
from tfrecords_tools.errors import SourceError
from tfrecords_tools.labels import located_tables
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Sources, natural_key

CHANNELS = ("DNA", "ER")


def make_files(folder: Path, *names: str) -> Path:
    """Empty files: discovering reads names only."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def labels_by_path(sources: Sources) -> dict[str, str]:
    return dict(zip(sources.rows["source_id"], sources.rows["label"], strict=True))


def test_the_first_folder_is_the_class(tmp_path: Path) -> None:
    source = make_files(tmp_path, "dead/a.png", "dead/day2/b.TIF", "living/a.jpg", "notes.txt")
    assert labels_by_path(discover(source, ConversionSettings())) == {
        "dead/a.png": "dead",
        "dead/day2/b.TIF": "dead",
        "living/a.jpg": "living",
    }


def test_files_stand_in_natural_order_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    source = make_files(tmp_path, "x/a10.png", "x/a2.png", ".cache/a1.png", "x/._a3.png")
    assert list(discover(source, ConversionSettings()).rows["source_id"]) == [
        "x/a2.png",
        "x/a10.png",
    ]


def test_natural_order_compares_any_names() -> None:
    names = ["b", "10", "a2", "2", "a10", "a", ""]
    assert sorted(names, key=natural_key) == ["", "2", "10", "a", "a2", "a10", "b"]


def test_images_beside_the_class_folders_are_a_problem(tmp_path: Path) -> None:
    sources = discover(make_files(tmp_path, "dead/a.png", "b.png"), ConversionSettings())
    assert [(p.path, "class folder" in p.reason) for p in sources.problems] == [("b.png", True)]


def test_a_folder_without_class_folders_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--labels none"):
        discover(make_files(tmp_path, "a.png"), ConversionSettings())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such folder"),
        ("empty", "no images found"),
        ("file.png", "expected the folder"),
    ],
)
def test_a_source_that_is_no_folder_of_images_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    make_files(tmp_path, "file.png")
    with pytest.raises(SourceError, match=message):
        discover(tmp_path / name, ConversionSettings())


def test_a_link_that_leads_back_is_followed_once(tmp_path: Path) -> None:
    source = make_files(tmp_path / "source", "dead/a.png")
    (source / "dead" / "again").symlink_to(source, target_is_directory=True)
    assert list(discover(source, ConversionSettings()).rows["source_id"]) == ["dead/a.png"]


def test_parts_of_the_name_become_label_and_metadata(tmp_path: Path) -> None:
    source = make_files(tmp_path, "p1_B03_01_dead.png", "p1_B04_01_living.png", "odd.png")
    settings = ConversionSettings(labels="pattern", pattern="{plate}_{well}_{field}_{label}.png")
    sources = discover(source, settings)
    assert sources.metadata == ("plate", "well", "field")
    assert sources.rows.loc[0, ["label", "well", "field"]].tolist() == ["dead", "B03", "01"]
    assert [problem.path for problem in sources.problems] == ["odd.png"]


def test_a_pattern_that_names_a_folder_leaves_the_others_out(tmp_path: Path) -> None:
    make_files(tmp_path, "images/a_1.png", "images/b_2.png", "truth/masks/a_1.png")
    settings = ConversionSettings(labels="pattern", pattern="images/{label}_{field}.png")
    sources = discover(tmp_path, settings)
    assert labels_by_path(sources) == {"images/a_1.png": "a", "images/b_2.png": "b"}
    assert sources.problems == []
    assert sources.notes == ["1 images left out: not in images/, as the pattern says"]


def test_channel_files_are_joined_by_name_in_the_order_asked_for(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a/B03_ER.tif", "a/B03_DNA.tif", "a/B03_Mito.tif")
    settings = ConversionSettings(
        labels="none", pattern="{well}_{channel}.tif", channels=("ER", "DNA")
    )
    sources = discover(source, settings)
    assert sources.rows["source_id"].tolist() == ["a/B03_{channel}.tif"]
    assert sources.rows["source_paths"].tolist() == [("a/B03_ER.tif", "a/B03_DNA.tif")]
    assert sources.notes == ["channel Mito: 1 files left out, not among --channels"]


def test_a_missing_channel_is_a_problem_by_name(tmp_path: Path) -> None:
    source = make_files(tmp_path, "B03_ER.tif", "B03_DNA.tif", "B04_DNA.tif")
    settings = ConversionSettings(labels="none", pattern="{well}_{channel}.tif", channels=CHANNELS)
    (problem,) = discover(source, settings).problems
    assert problem.path == "B04_{channel}.tif"
    assert "channel ER is missing (found: DNA)" in problem.reason


@pytest.mark.parametrize("channels", [("DNA", "Mito"), ("Mito",)])
def test_a_channel_that_no_file_has_is_said_once(tmp_path: Path, channels: tuple[str]) -> None:
    source = make_files(tmp_path, "B03_ER.tif", "B03_DNA.tif", "B04_DNA.tif", "B04_ER.tif")
    settings = ConversionSettings(labels="none", pattern="{well}_{channel}.tif", channels=channels)
    with pytest.raises(SourceError, match=r"names Mito, but no file has it; .* have DNA, ER"):
        discover(source, settings)


def test_two_files_of_one_channel_are_a_problem(tmp_path: Path) -> None:
    source = make_files(tmp_path, "B03_DNA_1.tif", "B03_DNA_2.tif", "B03_ER_1.tif")
    settings = ConversionSettings(
        labels="none", pattern="{well}_{channel}_{*}.tif", channels=CHANNELS
    )
    (problem,) = discover(source, settings).problems
    assert problem.path == "B03_DNA_2.tif"
    assert "a second file of channel DNA" in problem.reason


def test_channels_in_the_names_must_be_named_in_order(tmp_path: Path) -> None:
    source = make_files(tmp_path, "B03_ER.tif", "B03_DNA.tif")
    with pytest.raises(SourceError, match="--channels DNA,ER"):
        discover(source, ConversionSettings(labels="none", pattern="{well}_{channel}.tif"))


def table_settings(**more: object) -> ConversionSettings:
    return ConversionSettings(**{"labels": "table", "table": "labels.csv", **more})  # type: ignore[arg-type]


def test_a_table_gives_labels_and_typed_metadata(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a.png", "b.png")
    (source / "labels.csv").write_text(
        "path,label,plate,time_hours,code,split\n./a.png,dead,1,1.5,007,x\nb.png, living ,2,,010,\n"
    )
    sources = discover(source, table_settings())
    assert labels_by_path(sources) == {"a.png": "dead", "b.png": "living"}
    assert sources.metadata == ("plate", "time_hours", "code", "source_split")
    assert sources.rows["plate"].tolist() == ["1", "2"]
    assert sources.rows["code"].tolist() == ["007", "010"]
    assert sources.rows["time_hours"].iloc[0] == 1.5
    assert pd.isna(sources.rows["time_hours"].iloc[1])
    assert sources.problems == []


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a.png", "b.png")
    frame = pd.DataFrame(
        {"path": ["a.png", "b.png"], "label": [0, 1], "plate": [1.0, None], "dose": [0.5, 2.0]}
    )
    frame.to_csv(source / "labels.csv", index=False)
    frame.to_parquet(source / "labels.parquet")
    from_csv = discover(source, table_settings()).rows
    from_parquet = discover(source, table_settings(table="labels.parquet")).rows
    pd.testing.assert_frame_equal(from_csv, from_parquet)
    assert from_csv["label"].tolist() == ["0", "1"]
    assert from_csv["plate"].tolist() == ["1", None]


def test_paths_may_count_from_the_table(tmp_path: Path) -> None:
    make_files(tmp_path / "data", "images/a.png", "images/b.png")
    (tmp_path / "data" / "labels.csv").write_text(
        "path,label\nimages/a.png,dead\nimages\\b.png,living\n"
    )
    table = str(tmp_path / "data" / "labels.csv")
    sources = discover(tmp_path / "data" / "images", table_settings(table=table))
    assert labels_by_path(sources) == {"a.png": "dead", "b.png": "living"}


def test_a_table_is_understood_in_a_folder_reached_through_a_link(tmp_path: Path) -> None:
    source = make_files(tmp_path / "far" / "away", "a.png")
    (source / "labels.csv").write_text("path,label\na.png,dead\n", encoding="utf-8")
    (tmp_path / "link").symlink_to(source, target_is_directory=True)
    assert labels_by_path(discover(tmp_path / "link", table_settings())) == {"a.png": "dead"}


def test_rows_and_files_without_each_other_are_problems(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a.png", "b.png", "c.png", "d.png", "masks/a.png")
    (source / "labels.csv").write_text(
        "path,label\na.png,dead\nmissing.png,dead\nc.png,dead\nc.png,living\nd.png,\n,dead\n"
    )
    sources = discover(source, table_settings())
    reasons = {problem.path: problem.reason for problem in sources.problems}
    assert "row 3 of labels.csv names it, but there is no such image" in reasons["missing.png"]
    assert "no row in labels.csv" in reasons["b.png"]
    assert "stands in rows 4, 5" in reasons["c.png"]
    assert "no label in row 6" in reasons["d.png"]
    assert "no path" in reasons["labels.csv, row 7"]
    assert labels_by_path(sources) == {"a.png": "dead"}
    # A folder that the table does not speak of is none of its business.
    assert sources.notes == ["1 images left out: labels.csv names none in their folders (masks)"]


def test_paths_in_a_table_may_hold_the_channel(tmp_path: Path) -> None:
    source = make_files(tmp_path, "p1/B03_DNA.tif", "p1/B03_ER.tif", "p1/B04_ER.tif")
    (source / "labels.csv").write_text(
        "path,label,well\np1/B03_{channel}.tif,dead,B03\np1/B04_{channel}.tif,living,B04\n"
    )
    sources = discover(source, table_settings(channels=CHANNELS))
    assert sources.rows["source_paths"].tolist() == [("p1/B03_DNA.tif", "p1/B03_ER.tif")]
    (problem,) = sources.problems
    assert (problem.path, "channel DNA is missing" in problem.reason) == (
        "p1/B04_{channel}.tif",
        True,
    )


def test_a_table_of_channel_files_gives_one_image(tmp_path: Path) -> None:
    source = make_files(tmp_path, "DNA-B03.tif", "ER-B03.tif", "DNA-B04.tif", "ER-B04.tif")
    (source / "labels.csv").write_text(
        "path,label,dye,plate\nDNA-B03.tif,dead,blue,1\nER-B03.tif,dead,green,1\n"
        "DNA-B04.tif,dead,blue,1\nER-B04.tif,living,green,1\n"
    )
    settings = table_settings(pattern="{channel}-{well}.tif", channels=CHANNELS)
    sources = discover(source, settings)
    assert sources.rows["source_id"].tolist() == ["{channel}-B03.tif"]
    assert sources.metadata == ("plate", "well")
    (problem,) = sources.problems
    assert "different labels in labels.csv: dead, living" in problem.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,dead\n", "no column path.*--path-column"),
        ("path,lable\na.png,dead\n", "did you mean lable"),
        ("path,label\n", "no rows"),
        ("", "cannot be read as a table"),
        ("path,label\na.png,\n", "empty in every row"),
        ("path,label\nelsewhere/a.png,dead\n", "none of its 1 paths is an image"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path: Path, text: str, message: str) -> None:
    source = make_files(tmp_path, "a.png")
    (source / "labels.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        discover(source, table_settings())


@pytest.mark.parametrize("name", ["labels.parquet", "labels.xlsx"])
def test_a_table_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    source = make_files(tmp_path, "a.png")
    (source / name).write_bytes(b"no table at all")
    with pytest.raises(SourceError, match="table"):
        discover(source, table_settings(table=name))


def test_new_images_never_take_their_labels_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = make_files(tmp_path / "new", "a.png"), make_files(tmp_path / "old", "a.png")
    (old / "labels.csv").write_text("path,label\na.png,dead\n", encoding="utf-8")
    monkeypatch.chdir(old)
    settings = located_tables(new, table_settings(table=str(old / "labels.csv")).for_prediction())
    assert settings.table is None
    assert discover(new, settings, classes=("dead",)).rows["label"].isna().all()


def test_boxes_give_a_row_each(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a.png", "empty.png")
    (source / "cells.csv").write_text(
        "path,label,xmin,ymin,xmax,ymax\na.png,dead,1,2,3,4\na.png,living,5,6,7.5,8\na.png,dead,x,1,2,3\n"
    )
    sources = discover(source, ConversionSettings(labels="boxes", table="cells.csv"))
    assert sources.rows["label"].tolist() == ["dead", "living", "dead"]
    assert sources.rows["xmax"].tolist()[:2] == [3, 7.5]
    assert sources.metadata == ()
    (problem,) = sources.problems
    assert "xmin=x" in problem.reason
    assert sources.notes == ["1 images have no box in cells.csv; they give no example"]


def test_new_images_need_no_labels(tmp_path: Path) -> None:
    source = make_files(tmp_path, "B03_1.tif", "odd.tif")
    settings = ConversionSettings(
        labels="table", table="labels.csv", pattern="{well}_{field}.tif"
    ).for_prediction()
    sources = discover(source, located_tables(source, settings), classes=("dead", "living"))
    assert sources.rows["label"].tolist() == [None, None]
    assert sources.rows["well"].tolist() == ["B03", None]
    assert sources.problems == []


def test_labels_that_the_classes_do_not_have_count_as_unknown(tmp_path: Path) -> None:
    source = make_files(tmp_path, "dead/a.png", "sick/a.png")
    settings = ConversionSettings().for_prediction()
    sources = discover(source, settings, classes=("dead", "living"))
    assert labels_by_path(sources) == {"dead/a.png": "dead", "sick/a.png": None}
    assert "label sick is none of the classes" in sources.notes[0]


def test_new_images_for_a_network_of_boxes_need_their_boxes(tmp_path: Path) -> None:
    source = make_files(tmp_path, "a.png")
    settings = ConversionSettings(labels="boxes", table="cells.csv").for_prediction()
    with pytest.raises(SourceError, match=r"cells.csv: no such table; boxes are needed.*xmin"):
        located_tables(source, settings)

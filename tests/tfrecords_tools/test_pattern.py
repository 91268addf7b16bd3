"""File names read as metadata."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.errors import SourceError
from tfrecords_tools.pattern import name_pattern

WORD = st.text("abcXYZ0189", min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(WORD, min_size=4, max_size=4), st.lists(WORD, max_size=2))
def test_a_name_made_from_a_pattern_is_read_back(values: list[str], folders: list[str]) -> None:
    plate, well, field, channel = values
    folder = "".join(f"{name}/" for name in folders)
    path = f"{folder}{plate}_{well}_{field}_{channel}.tif"
    match = name_pattern("{plate}_{well}_{field}_{channel}.tif", [channel, "other"]).match(path)
    assert match is not None
    assert match.parts == {"plate": plate, "well": well, "field": field, "channel": channel}
    assert match.source_id == f"{folder}{plate}_{well}_{field}_{{channel}}.tif"


def test_a_name_that_does_not_fit_gives_nothing() -> None:
    pattern = name_pattern("{well}_{field}.tif")
    assert pattern.match("B03_1.png") is None
    assert pattern.match("B03.tif") is None


def test_a_pattern_with_a_slash_is_matched_on_the_path() -> None:
    pattern = name_pattern("{experiment}/{*}/{label}_{field}.png")
    match = pattern.match("E1/anything/dead_3.png")
    assert match is not None
    assert match.parts == {"experiment": "E1", "label": "dead", "field": "3"}
    assert pattern.match("dead_3.png") is None


def test_a_name_that_can_be_read_in_two_ways_is_refused_with_both() -> None:
    with pytest.raises(SourceError, match=r"plate=my, well=plate.*or plate=my_plate, well=B03"):
        name_pattern("{plate}_{well}_{field}.tif").match("my_plate_B03_1.tif")


def test_kinds_of_parts_settle_what_is_ambiguous() -> None:
    match = name_pattern("{plate}_{well:w}_{field:d}.tif").match("my_plate_B03_1.tif")
    assert match is not None
    assert match.parts == {"plate": "my_plate", "well": "B03", "field": "1"}


def test_known_channel_names_settle_where_the_channel_begins() -> None:
    match = name_pattern("{well}_{channel}.tif", ["Far_Red", "DNA"]).match("B03_Far_Red.tif")
    assert match is not None
    assert match.parts == {"well": "B03", "channel": "Far_Red"}


def test_wildcards_do_not_part_the_channel_files_of_an_image() -> None:
    pattern = name_pattern("{well}_{channel}_{*}.tif", ["w1", "w2"])
    matches = [pattern.match(name) for name in ("B03_w1_4F2A.tif", "B03_w2_99C0.tif")]
    assert {match.source_id for match in matches if match} == {"B03_{channel}_*.tif"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a}{b}.tif", "nothing stands between"),
        ("{a", "brace"),
        ("image.tif", "no named part.*celldeath"),
        ("{a}_{a}.tif", "stands twice"),
        ("{a:x}.tif", "is no part"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        name_pattern(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("U2_DMSO2_1H_RGB_0052_N3.png", ("U2", "DMSO", "U2_DMSO2", "1", "0052", "N3")),
        ("H9_CPT1_1H_N4_RGB_0041.png", ("H9", "CPT", "H9_CPT1", "1", "0041", "N4")),
        ("MCF7_DMSO2_1HS_RGB_0021.png", ("MCF7", "DMSO", "MCF7_DMSO2", "1", "0021", None)),
        ("day1/U2_DMSO_1h_RGB_0005_N1.png", ("U2", "DMSO", "U2_DMSO", "1", "0005", "N1")),
    ],
)
def test_celldeath_names_are_read_in_all_their_variants(
    name: str, expected: tuple[str | None, ...]
) -> None:
    match = name_pattern("celldeath").match(name)
    assert match is not None
    keys = ("cell_line", "treatment", "well", "time_hours", "field", "experiment")
    assert tuple(match.parts.get(key) for key in keys) == expected
    assert match.parts["label"] == match.parts["treatment"]


def test_a_celldeath_tile_knows_its_place() -> None:
    match = name_pattern("celldeath").match("U2_DMSO2_1H_RGB_0052_N3.png_01_02.png")
    assert match is not None
    assert (match.parts["tile_row"], match.parts["tile_column"]) == ("01", "02")
    assert match.parts["field"] == "0052"


@pytest.mark.parametrize("name", ["image1.png", "U2_CPT1_RGB.png", "U2_CPT1_1H_2H_0001.png"])
def test_other_names_are_no_celldeath_names(name: str) -> None:
    assert name_pattern("celldeath").match(name) is None


def test_the_published_celldeath_names_agree_with_their_table(real_data: Path) -> None:
    folder = real_data / "celldeath_u2os"
    if not folder.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {folder} not found")
    pattern = name_pattern("celldeath")
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 45
    for row in rows:
        match = pattern.match(row["path"])
        assert match is not None
        for column in ("treatment", "field", "experiment", "time_hours", "label"):
            assert match.parts[column] == row[column]

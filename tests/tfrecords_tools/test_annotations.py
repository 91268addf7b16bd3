"""The annotation log: what is read of it, what is refused, what experts agree on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.annotations import RESPONSES, judged, read_annotations
from tfrecords_tools.errors import SourceError

COLUMNS = (
    "annotator,item,position,light_dose_s,top_px,left_px,height_px,width_px,first_frame,frames,"
    "response,served,timestamp"
)


def write_log(folder: Path, *rows: str, header: str = COLUMNS) -> Path:
    path = folder / "annotations.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(
    annotator: str = "anna",
    item: str = "i1",
    response: str = "Sick",
    *,
    position: str = "P01",
    place: str = "0,256,256,256,0,10",
    timestamp: str = "2016-08-25T14:00:00",
) -> str:
    return f"{annotator},{item},{position},40,{place},{response},fresh,{timestamp}"


def answers(*said: tuple[str, str, str]) -> pd.DataFrame:
    """Responses (annotator, item, response) to items of one window each."""
    place = {"position": "P01", "top_px": 0, "left_px": 0, "height_px": 8, "width_px": 8}
    place |= {"first_frame": 0, "frames": 3, "light_dose_s": 20.0}
    return pd.DataFrame(
        [{"annotator": who, "item": item, "response": what, **place} for who, item, what in said]
    )


def test_a_log_is_read_with_its_numbers_and_words(tmp_path: Path) -> None:
    log = read_annotations(
        write_log(tmp_path, row(), row("bert", "i2", "UNSURE", place="256,256,256,256,0,10"))
    )
    assert log["response"].tolist() == ["sick", "unsure"]
    assert log["left_px"].tolist() == [256, 256]
    assert log["light_dose_s"].tolist() == [40.0, 40.0]
    assert log["replaced"].tolist() == [0, 0]


def test_columns_that_only_the_web_site_needs_may_be_missing(tmp_path: Path) -> None:
    header = COLUMNS.replace("light_dose_s,", "").replace(",served,timestamp", "")
    log = read_annotations(write_log(tmp_path, "anna,i1,P01,0,0,8,8,0,10,healthy", header=header))
    assert log["light_dose_s"].isna().all()
    assert log["timestamp"].tolist() == [None]


def test_the_last_answer_of_an_annotator_counts(tmp_path: Path) -> None:
    path = write_log(
        tmp_path,
        row(response="healthy", timestamp="2016-08-25T15:00:00+00:00"),
        row(response="sick", timestamp="2016-08-25T16:30:00+02:00"),
        row("bert", response="healthy"),
    )
    log = read_annotations(path)
    assert log[["annotator", "response", "replaced"]].to_numpy().tolist() == [
        ["anna", "healthy", 1],
        ["bert", "healthy", 0],
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(response="dead")], "row 2: response is dead, expected one of healthy, sick, unsure"),
        ([row(), row("bert", response="")], "row 3: response is nothing"),
        ([row(place="0,256,256,256,0,0")], "row 2: frames is 0, expected a whole number from 1"),
        ([row(place="0,2.5,256,256,0,10")], "row 2: left_px is 2.5"),
        ([row(place="-1,0,256,256,0,10")], "row 2: top_px is -1"),
        ([row(timestamp="yesterday")], "timestamp is yesterday, expected ISO 8601"),
        ([row(annotator="")], "row 2: no annotator"),
        ([row().replace(",40,", ",much,")], "light_dose_s is much, expected a number"),
        ([row().replace("fresh", "again")], "served is again, expected one of fresh, overlap"),
        (
            [row(), row("bert", place="0,512,256,256,0,10")],
            "item i1 has two windows: left_px is 256 in row 2 and 512 in row 3",
        ),
        ([row(), row("bert", "i2")], r"items i1 \(row 2\) and i2 \(row 3\) are the same window"),
        ([row(), row("bert", position="P02")], "position is P01 in row 2 and P02 in row 3"),
        ([row(), row(response="healthy")], "anna answered item i1 in rows 2, 3, and no timestamp"),
    ],
)
def test_a_bad_log_is_refused_by_row(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_annotations(write_log(tmp_path, *rows))


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column response; did you mean responses"):
        read_annotations(
            write_log(tmp_path, row(), header=COLUMNS.replace("response", "responses"))
        )


def test_items_are_dropped_by_doubt_and_by_disagreement() -> None:
    said = answers(
        ("anna", "alone", "sick"),
        ("anna", "agreed", "healthy"),
        ("bert", "agreed", "healthy"),
        ("anna", "disputed", "healthy"),
        ("bert", "disputed", "sick"),
        ("anna", "doubted", "sick"),
        ("bert", "doubted", "unsure"),
    )
    assert judged(said)["annotators"].tolist() == [1, 2, 2, 2]
    assert judged(said)["label"].tolist() == ["sick", "healthy", None, None]
    assert judged(said).set_index("item")["verdict"].to_dict() == {
        "alone": "concordant",
        "agreed": "concordant",
        "disputed": "disagreement",
        "doubted": "unsure",
    }


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["i1", "i2", "i3"])),
        st.sampled_from(RESPONSES),
        min_size=1,
    )
)
def test_what_is_kept_is_what_all_annotators_said(said: dict[tuple[str, str], str]) -> None:
    items = judged(answers(*((who, item, what) for (who, item), what in said.items())))
    kept = items[items["verdict"] == "concordant"]
    by_item: dict[str, set[str]] = {}
    for (_, item), what in said.items():
        by_item.setdefault(item, set()).add(what)
    expected = {
        item: next(iter(found))
        for item, found in by_item.items()
        if found in ({"healthy"}, {"sick"})
    }
    assert dict(zip(kept["item"], kept["label"], strict=True)) == expected

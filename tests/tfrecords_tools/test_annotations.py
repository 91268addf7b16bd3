"""The annotation log: what is read of it, what is refused, what experts agree on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.annotations import RESPONSES, judged, read_annotations
from tfrecords_tools.errors import SourceError

COLUMNS = (
    "annotator,item,position,light_dose_s,top_px,left_px,height_px,width_px,first_frame,frames,"
    "response,served,timestamp,withdrawn,seconds"
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
    header = COLUMNS.replace("light_dose_s,", "").replace(",served,timestamp,withdrawn,seconds", "")
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
        ([row(), row("bert", response="")], "row 3: no response"),
        (
            [row(), row("bert"), row("cleo", response="Sikc")],
            "row 4: response is Sikc, and no other row says so; did you mean sick",
        ),
        ([row() + ",perhaps"], "row 2: withdrawn is perhaps, expected one of true"),
        ([row() + ",,x"], "row 2: seconds is x, expected a number"),
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


IMAGES = "annotator,item,path,top_px,left_px,height_px,width_px,response,served,withdrawn"


def test_images_and_crops_need_neither_position_nor_frames(tmp_path: Path) -> None:
    path = write_log(
        tmp_path,
        "anna,one,./a/1.png,,,,,Debris,fresh,",
        "anna,two,a\\2.png,0,8,8,8,debris,overlap,0",
        "bert,two,a/2.png,0,8,8,8,Apoptosis,fresh,",
        header=IMAGES,
    )
    log = read_annotations(path)
    assert log["path"].tolist() == ["a/1.png", "a/2.png", "a/2.png"]
    assert log["left_px"].isna().tolist() == [True, False, False]
    assert log["left_px"].dropna().tolist() == [8, 8]
    assert log["response"].tolist() == ["Debris", "Debris", "Apoptosis"]
    assert log["position"].tolist() == [None] * 3
    assert log["frames"].isna().all()


def test_without_a_path_the_item_is_the_path_and_other_columns_stay(tmp_path: Path) -> None:
    path = write_log(tmp_path, "anna,a/1.png,B,DMSO", header="annotator,item,response,treatment")
    log = read_annotations(path)
    assert log["path"].tolist() == ["a/1.png"]
    assert log["treatment"].tolist() == ["DMSO"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["anna,one,,,,,,B,,"], "row 2: no path"),
        (["anna,one,1.png,0,0,8,,B,,"], "row 2: width_px is nothing, expected a whole number"),
        (
            ["anna,one,1.png,,,,,B,,", "anna,two,1.png,,,,,B,,"],
            r"items one \(row 2\) and two \(row 3\) are the same part of the same image",
        ),
        (
            ["anna,one,1.png,,,,,B,,", "bert,one,2.png,,,,,B,,"],
            "path is 1.png in row 2 and 2.png in row 3",
        ),
        (["anna,one,1.png,,,,,B,adjudicated,"], "item one is adjudicated, but has no answer"),
        (["anna,one,1.png,,,,,B,fresh,true"], "no response counts"),
    ],
)
def test_a_bad_log_of_images_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_annotations(write_log(tmp_path, *rows, header=IMAGES))


def test_only_first_answers_that_stand_count(tmp_path: Path) -> None:
    path = write_log(
        tmp_path,
        "anna,one,1.png,,,,,B,fresh,true",
        "anna,one,1.png,,,,,A,fresh,false",
        "anna,one,1.png,,,,,B,repeat,",
        "anna,two,2.png,,,,,B,shown,",
        "bert,one,1.png,,,,,B,overlap,",
        header=IMAGES,
    )
    log = read_annotations(path)
    assert log[["annotator", "item", "response"]].to_numpy().tolist() == [
        ["anna", "one", "A"],
        ["bert", "one", "B"],
    ]


def test_an_adjudicated_answer_wins_and_is_nobodys_answer(tmp_path: Path) -> None:
    path = write_log(
        tmp_path,
        *("anna,one,1.png,,,,,A,fresh,", "bert,one,1.png,,,,,B,overlap,"),
        *("anna,two,2.png,,,,,A,fresh,", "zoe,one,1.png,,,,,b,adjudicated,"),
        *("bert,two,2.png,,,,,A,overlap,", "zoe,two,2.png,,,,,Unsure,adjudicated,"),
        header=IMAGES,
    )
    log = read_annotations(path)
    assert set(log["annotator"]) == {"anna", "bert"}
    for rule in ("concordance", "majority", "votes"):
        items = judged(log, rule)
        assert items["label"].tolist() == ["B", None]
        assert items["verdict"].tolist() == ["adjudicated", "unsure"]
        assert items["votes_B"].tolist() == [1.0, 0.0]
        assert items["votes_unsure"].tolist() == [0.0, 1.0]


def many(**said: str) -> pd.DataFrame:
    """Responses to items by annotators 0, 1, ...: a letter each, ? for unsure."""
    answer = {"?": "unsure"}
    return answers(
        *(
            (f"annotator{place}", item, answer.get(letter, letter))
            for item, letters in said.items()
            for place, letter in enumerate(letters)
        )
    )


def test_a_majority_is_more_than_half_of_all_annotators() -> None:
    items = judged(many(a="XXY", b="XY", c="XX??", d="???X", e="X?", f="XYZX", g="X"), "majority")
    found = dict(
        zip(items["item"], zip(items["verdict"], items["label"], strict=True), strict=True)
    )
    assert found == {
        "a": ("majority", "X"),
        "b": ("disagreement", None),
        "c": ("disagreement", None),
        "d": ("unsure", None),
        "e": ("disagreement", None),
        "f": ("disagreement", None),
        "g": ("concordant", "X"),
    }


def test_votes_keep_all_but_those_on_which_all_are_unsure() -> None:
    items = judged(many(a="XXY", b="??X", c="??", d="XXX"), "votes").set_index("item")
    assert items["label"].to_dict() == {"a": "X", "b": "X", "c": None, "d": "X"}
    assert items.loc["a", ["votes_X", "votes_Y", "votes_unsure"]].tolist() == [2 / 3, 1 / 3, 0]
    assert items.loc["b", ["votes_X", "votes_Y", "votes_unsure"]].tolist() == [1 / 3, 0, 2 / 3]


def test_ties_are_drawn_by_name_and_fairly() -> None:
    items = judged(many(**{f"i{number}": "XY" for number in range(400)}), "votes")
    assert items["tied"].all()
    assert 150 < (items["label"] == "X").sum() < 250
    again = judged(many(**{f"i{number}": "YX" for number in reversed(range(400))}), "votes")
    labels = again.set_index("item")["label"]
    assert labels[items["item"]].tolist() == items["label"].tolist()


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["i1", "i2", "i3"])),
        st.sampled_from(["X", "Y", "Z", "unsure"]),
        min_size=1,
    )
)
def test_each_rule_keeps_what_the_stricter_one_keeps(said: dict[tuple[str, str], str]) -> None:
    responses = answers(*((who, item, what) for (who, item), what in said.items()))
    by_rule = [
        judged(responses, rule).set_index("item")["label"].dropna().to_dict()
        for rule in ("concordance", "majority", "votes")
    ]
    for strict, lenient in pairwise(by_rule):
        assert strict.items() <= lenient.items()
    shares = judged(responses).filter(like="votes_")
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1)

"""The page on annotators: whole, offline, and plain about what it assumes."""

from __future__ import annotations

import json
import re

import pandas as pd
from PIL import Image

from deadlib.annotation import concordance_of, write_report
from deadlib.annotation.concordance import Answers
from deadlib.annotation.figures import drift, seconds, shares
from deadlib.annotation.pace import Drift, Pace, Stretch
from deadlib.annotation.sections import answers
from deadlib.annotation.words import assumptions, summary
from deadlib.bootstrap import Resampling
from tfrecords_tools.annotations import read_annotations

QUICK = Resampling(200, 0)


def words(found):
    return " ".join([*summary(found), *assumptions(found)]).replace("\u00a0", " ")


def test_the_folder_holds_page_numbers_and_figures(write_log, tmp_path):
    log = write_log()
    found = concordance_of(read_annotations(log), resampling=QUICK)
    page = write_report(found, tmp_path / "out", log=log)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"url\(|@import|<script|https?://", re.sub(r"data:[^\"]+", "", text))
    assert text.count('<img src="data:image/svg+xml') == 2
    numbers = json.loads((page.parent / "concordance.json").read_text())
    assert numbers["overlapping_items"] == found.overlapping
    assert numbers["implied"]["ceiling"]["low"] < numbers["implied"]["ceiling"]["value"]
    for name in ("responses_by_dose", "responses_by_annotator"):
        with Image.open(page.parent / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 400


def test_the_words_lead_from_counts_to_both_ceilings():
    rows = [
        {"annotator": who, "item": item, "response": said, "position": f"p{item % 30}"}
        for item in range(263)
        for who, said in (("A", "sick"), ("B", "healthy" if item < 49 else "sick"))
    ]
    found = words(concordance_of(pd.DataFrame(rows), resampling=QUICK))
    steps = ["263 items", "49 of them", "18.6 %", "37.3 %", "22.9 %", "77.1 %", "88.6 %"]
    assert [found.index(step) for step in steps] == sorted(found.index(step) for step in steps)
    assert "pure toss-up" in found
    assert "one annotator alone" not in found


def test_items_that_one_annotator_saw_have_a_lower_ceiling(write_log):
    found = concordance_of(read_annotations(write_log()), resampling=QUICK)
    assert found.kept_alone > 0
    assert "one annotator alone answered them" in words(found)
    assert found.implied_alone["ceiling"].value < found.implied["ceiling"].value


def test_without_overlap_the_page_says_what_is_missing(write_log, tmp_path):
    log = write_log(overlap=1)
    found = concordance_of(read_annotations(log), resampling=QUICK)
    text = write_report(found, tmp_path / "out", log=log).read_text(encoding="utf-8")
    assert "No item was answered by two annotators" in text
    assert "What a model on these labels can reach" not in text


def test_names_of_annotators_cannot_become_markup(write_log, tmp_path):
    log = write_log(annotators=("<i>Anna", "Bo"))
    found = concordance_of(read_annotations(log), resampling=QUICK)
    assert "<i>" not in write_report(found, tmp_path / "out", log=log).read_text()


def test_many_annotators_are_drawn(write_log):
    names = tuple(f"annotator number {n}" for n in range(9))
    log = read_annotations(write_log(annotators=names, overlap=4, items=400))
    found = concordance_of(log, resampling=QUICK)
    assert found.most_annotators == 4
    assert "Of two annotators of such an item" in words(found)
    assert [drawing.name for drawing in answers(found).drawings] == [
        "responses_by_dose",
        "responses_by_annotator",
    ]


def test_more_classes_than_colours_are_drawn():
    names = [*(f"class {k}" for k in range(9)), "unsure"]
    bar = Answers("Anna", dict.fromkeys(names, 3), 0, 0)
    assert "class 8 10 %, unsure 10 %" in shares("x", "annotator", [bar], names).alt


def test_a_name_with_dollars_is_drawn_as_it_is():
    name = r"$\frac{$ & co"
    bar = Answers(name, {"sick": 1, "unsure": 0}, 0, 0)
    assert name in shares("x", "annotator", [bar], ["sick", "unsure"]).alt
    pace = Pace(name, 1, 0, 0, (1.0, 2.0, 3.0))
    assert name in seconds("x", [pace]).alt
    part = Stretch(1, 2, {name: 1, "unsure": 1}, None)
    assert name in drift("x", [Drift(name, (part, part), 1.0, 1.0)], [name, "unsure"]).alt

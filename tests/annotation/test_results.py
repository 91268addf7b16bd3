"""The log of a panel, from events to one page."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from deadlib.annotation import concordance_of, results_of, results_page, sections
from deadlib.annotation.words import on_drift, warnings
from deadlib.bootstrap import Resampling

QUICK = Resampling(100, 0)
CLASSES = ("healthy", "apoptotic", "ferroptotic")


def results(log, **options):
    return results_of(log, classes=CLASSES, resampling=QUICK, **options)


def visible(page):
    text = re.sub(r"<style>.*?</style>|data:[^\"]+", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace("\u00a0", " ")


def test_answers_taken_back_and_items_shown_again_do_not_count(panel_log):
    log = panel_log()
    log.loc[log.index[:5], "withdrawn"] = True
    shown = log.iloc[5:9].assign(served="shown", response="seen")
    log = pd.concat([log, shown], ignore_index=True)
    found = results(log)
    counted = log[(log["served"] == "fresh") & ~log["withdrawn"] & log["response"].notna()]
    assert found.concordance.responses == len(counted) == 295
    assert found.withdrawn == 5
    assert "seen" not in found.concordance.answers
    assert "seen" not in {one.name for one in found.by_answer}


def test_what_counts_may_be_told(panel_log):
    log = panel_log()
    responses = log[log["served"] == "fresh"].iloc[:50]
    assert results(log, responses=responses).concordance == concordance_of(
        responses, classes=CLASSES, resampling=QUICK
    )


def test_a_panel_without_answers_has_no_results(panel_log):
    assert results(panel_log().iloc[:0]) is None


def test_the_folder_holds_everything_that_was_asked_of_a_panel(panel_log, tmp_path):
    log = panel_log(group=lambda item: f"well {item % 12}", treatment=lambda item: "ab"[item % 2])
    adjudications = pd.DataFrame({"item": ["item 1", "item 2"], "label": ["healthy", "apoptotic"]})
    page = results_page(results(log, adjudications=adjudications), name="my panel").write(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"url\(|@import|<script|https?://", re.sub(r"data:[^\"]+", "", text))
    for title in (
        "What they answered", "How far they agree", "What they take for what", "Disputed items",
        "Do they agree with themselves?", "Time, and change on the way", "can reach", "computed",
    ):  # fmt: skip
        assert title in visible(text)
    assert "whole wells" not in visible(text)
    assert "whole groups" in visible(text)
    numbers = json.loads((tmp_path / "results.json").read_text())
    assert numbers["dose"] == "treatment"
    assert [bar["name"] for bar in numbers["by_dose"]] == ["a", "b"]
    for name in ("fleiss_kappa", "krippendorffs_alpha", "agreement"):
        estimate = numbers["agreement"][name]
        assert estimate["low"] < estimate["value"] < estimate["high"]
    assert len(numbers["against_adjudicated_labels"]) == 3
    figures = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert figures == {
        f"{name}.png"
        for name in ("responses_by_dose", "responses_by_annotator", "seconds", "drift")
    }


def test_concentrations_stand_beside_their_treatment_in_order(panel_log):
    log = panel_log(
        ("A", "B"),
        items=40,
        treatment=lambda item: ("DMSO", "CPT")[item % 2],
        concentration_um=lambda item: [None, 2.0, None, 10.0][item % 4],
    )
    found = results(log).concordance
    assert found.dose == "treatment and concentration in µM"
    assert [bar.name for bar in found.by_dose] == ["CPT 2", "CPT 10", "DMSO"]


def test_in_a_chosen_order_nothing_is_said_of_drift(panel_log):
    found = results(panel_log(drifting=("Bo",), items=150), random_order=False)
    assert found.drifts is None
    assert "did not come in random order" in on_drift(found.drifts)[0]


def test_drift_stands_at_the_top(panel_log):
    (remark,) = sections.pace(results(panel_log(drifting=("Bo",), items=200))).remarks
    assert remark.level == "warning"
    assert "The answers of Bo changed on the way: healthy was" in remark.text


@pytest.mark.parametrize(("annotators", "kept"), [(("Anna",), 1), (("Anna", "Bo"), 15)])
def test_a_panel_that_has_just_begun_gets_words_and_no_nan(panel_log, annotators, kept, tmp_path):
    log = panel_log(annotators, items=30, skill=1.0)
    log = log[log["number"] <= kept]
    page = visible(results_page(results(log), name="panel").write(tmp_path).read_text())
    assert not re.search(r"\b(nan|NaN|None)\b", page)
    assert "Too few answers to tell" in page
    if len(annotators) == 1:
        assert "No item was answered by two annotators" in page


def test_where_all_answer_the_same_the_page_says_why_there_is_no_kappa(panel_log):
    log = panel_log(("Anna", "Bo"), items=30, skill=1.0).assign(response="healthy")
    found = results(log)
    agreement = sections.agreement(found.concordance)
    assert "chance cannot be told from agreement" in visible(agreement.html)
    assert "cannot be told" in agreement.remarks[-1].text
    assert "No item is disputed" in visible(sections.disputes(found).html)


def test_few_groups_are_told(panel_log):
    few = results(panel_log(group=lambda item: f"well {item % 3}")).concordance
    assert (few.unit, few.units) == ("group", 3)
    assert "Only 3 independent groups" in warnings(few)[0]
    one = results(panel_log(group=lambda item: "one")).concordance
    assert "All items that several answered are of one group" in warnings(one)[0]


def test_wells_of_two_plates_are_two_units(panel_log):
    log = panel_log(well=lambda item: str(item % 4), plate=lambda item: "AB"[item % 8 > 3])
    assert results(log).concordance.units == 8


def test_names_cannot_become_markup(panel_log):
    classes = ("<b>dead", "alive")
    log = panel_log(("<i>Anna", "Bo"), items=20, classes=classes, treatment=lambda item: "<u>CPT")
    log.loc[log.index[0], "item"] = "<s>item"
    page = results_page(results_of(log, classes=classes, resampling=QUICK), name="<em>panel").html()
    assert not re.search(r"<(i|u|em|s)>|<b>dead", page)


def test_many_annotators_fit_on_a_page(panel_log):
    names = tuple(f"annotator {n}" for n in range(8))
    found = results(panel_log(names, items=20))
    assert "All 28 pairs" in sections.agreement(found.concordance).html
    assert "2 more annotators" in sections.confusion(found).html

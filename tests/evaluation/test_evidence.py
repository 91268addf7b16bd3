"""What the report says of levels, another model and people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from deadlib.evaluation import assess, evidence
from deadlib.evaluation.report import compose
from deadlib.evaluation.sections import GIVEN


@pytest.fixture
def tables(table, write, tmp_path):
    """A good model's table, a bad one's, and answers of five guessing people."""
    frame = table(separation=4.0).assign(experiment=np.repeat(["N1", "N2", "N3", "N4"], 36))
    rng = np.random.default_rng(0)
    rows = [
        (who, training, image, rng.choice(["living", "dead"]))
        for who in "ABCDE"
        for training in ("before", "after")
        for image in frame["example_id"].sample(50, random_state=len(training))
    ]
    answers = tmp_path / "answers.csv"
    names = ["subject", "training", "image", "answer"]
    pd.DataFrame(rows, columns=names).to_csv(answers, index=False)
    return write(frame), write(table(separation=0.3, seed=1), name="other.parquet"), answers


def test_all_of_it_stands_in_the_report(tables, monkeypatch, tmp_path):
    monkeypatch.setattr("deadlib.evaluation.report.PARTS", {
        GIVEN: (evidence.comparison, evidence.humans, evidence.levels),
    })  # fmt: skip
    predictions, other, answers = tables
    report = compose(assess(predictions, bootstrap=200, against=other, humans=answers))
    page = report.write(tmp_path / "report").read_text(encoding="utf-8")
    for sentence in (
        "of 100 images more than other.parquet",
        "5 people are too few for a smaller p-value",
        "Quote the first line if you speak of other experiments",
        "no effect of the training is proved",
    ):
        assert sentence in page
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert numbers["comparison"]["metrics"]["accuracy"]["p_value"] < 0.01
    assert [trial["training"] for trial in numbers["humans"]["trials"]] == ["before", "after"]
    assert numbers["levels"][0]["level"] == "experiment"
    assert numbers["figures"] == ["comparison", "people"]


def test_nothing_is_said_where_nothing_was_given(table, write):
    found = assess(write(table().drop(columns="plate")), bootstrap=100)
    assert evidence.comparison(found) is None
    assert evidence.humans(found) is None
    assert evidence.levels(found) is None


def test_a_coarser_level_that_differs_is_warned_of(table, write):
    frame = table(groups=40, separation=2.0)
    number = np.arange(40).repeat(6)
    frame["experiment"] = [f"N{n // 10}" for n in number]
    bad = frame["experiment"] == "N3"
    swapped = frame.loc[bad, ["probability_dead", "probability_living"]].to_numpy()
    frame.loc[bad, ["probability_living", "probability_dead"]] = swapped
    warning = evidence.levels(assess(write(frame), bootstrap=200)).remarks[0]
    assert warning.level == "warning"
    assert "--group-by experiment" in warning.text
    # asked for, the intervals are over experiments, and there is nothing to warn of
    asked = assess(write(frame), bootstrap=200, levels=["experiment", "plate"])
    assert asked.predictions.group_column == "experiment"
    assert evidence.levels(asked).remarks == ()


def test_equal_models_are_called_equal(table, write):
    path = write(table())
    found = assess(path, bootstrap=100, against=path).comparison
    assert "right equally often" in evidence.on_comparison(found, "95")[0]


def test_too_few_groups_to_prove_anything_is_said(table, write):
    frame = table(groups=4, separation=5.0)
    other = write(table(groups=4, separation=0.0, seed=2), name="other.parquet")
    found = assess(write(frame), bootstrap=100, against=other).comparison
    assert "no p-value can be below 0.12" in evidence.on_comparison(found, "95")[1]

"""Wrong labels are found where they were planted, and shown with their pictures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from deadlib.errors import PredictionError
from deadlib.evaluation.label_errors import find_label_errors, suspect


@pytest.fixture
def mislabelled(table):
    """make(classes, wrong): a good model, and the rows whose labels were changed."""

    def make(classes=("living", "dead"), wrong=12):
        frame = table(classes, groups=60, separation=5.0)
        rows = np.random.default_rng(1).choice(len(frame), wrong, replace=False)
        place = {name: k for k, name in enumerate(classes)}
        for row in rows:
            frame.loc[row, "label"] = classes[(place[frame.loc[row, "label"]] + 1) % len(classes)]
        return frame, set(rows)

    return make


@pytest.mark.parametrize("classes", [("living", "dead"), ("a", "b", "c", "d")])
def test_planted_errors_come_first(mislabelled, write, tmp_path, classes):
    frame, wrong = mislabelled(classes)
    page = find_label_errors(write(frame), tmp_path / "out")
    ranked = pd.read_csv(page.parent / "label_errors.csv")
    assert set(ranked["example_id"].head(len(wrong))) == set(frame["example_id"].iloc[list(wrong)])
    likely = set(ranked["example_id"][ranked["likely_wrong"]])
    planted = set(frame["example_id"].iloc[list(wrong)])
    assert len(likely & planted) >= 0.7 * len(planted)
    assert len(likely - planted) <= 3
    assert len(ranked) == len(frame)
    assert list(ranked["rank"]) == list(range(1, len(frame) + 1))


def test_repeats_judge_each_example_together(mislabelled, write, tmp_path):
    frame, wrong = mislabelled()
    again = frame.copy()
    again[["probability_living", "probability_dead"]] = 0.5
    page = find_label_errors(write(pd.concat([frame, again])), tmp_path / "out")
    ranked = pd.read_csv(page.parent / "label_errors.csv")
    assert sorted(ranked["example_id"]) == sorted(frame["example_id"])
    assert set(ranked["example_id"].head(5)) <= set(frame["example_id"].iloc[list(wrong)])
    row = ranked.set_index("example_id").loc[frame["example_id"].iloc[0]]
    given = frame["probability_" + frame["label"].iloc[0]].iloc[0]
    assert row["score"] == pytest.approx((given + 0.5) / 2, abs=1e-5)
    assert "more than once" not in page.read_text()


def test_right_labels_are_left_alone(table, write, tmp_path):
    page = find_label_errors(write(table(separation=60.0)), tmp_path / "out")
    assert json.loads((page.parent / "label_errors.json").read_text())["likely_wrong"] == 0
    assert "No label is likely wrong" in page.read_text()


def test_the_score_is_the_probability_of_the_label():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    found = suspect(np.array([0, 0, 1, 1]), probabilities)
    assert found.score == pytest.approx([0.9, 0.2, 0.4, 0.7])


def test_a_class_without_examples_does_no_harm(table, write, tmp_path):
    frame = table(("a", "b", "c"), groups=30)
    page = find_label_errors(write(frame[frame["label"] != "b"]), tmp_path / "out")
    assert len(pd.read_csv(page.parent / "label_errors.csv")) == (frame["label"] != "b").sum()


def test_one_class_alone_is_refused(table, write, tmp_path):
    frame = table()
    with pytest.raises(PredictionError, match="all examples have the same label"):
        find_label_errors(write(frame[frame["label"] == "dead"]), tmp_path / "out")


def test_a_model_that_learnt_from_the_labels_is_warned_of(table, write, metadata, tmp_path):
    metadata["seen_in_training"] = 7
    page = find_label_errors(write(table(), metadata), tmp_path / "out")
    assert "predict out of fold" in page.read_text()


def test_the_page_shows_the_asked_number_and_says_why_there_are_no_pictures(
    mislabelled, write, tmp_path
):
    frame, _ = mislabelled()
    text = find_label_errors(write(frame), tmp_path / "out", shown=5).read_text()
    assert "The 5 most suspicious" in text
    assert "No pictures: the table names no dataset" in text
    assert "<script" not in text

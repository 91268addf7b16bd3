"""A table of answers without probabilities gives a whole report, less what needs probabilities."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from deadlib.evaluation import assess, compose


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    well = np.repeat(np.arange(24), 5)
    truth = np.array(["living", "dead"])[well % 2]
    wrong = rng.random(len(well)) < 0.25
    called = np.where(wrong, np.where(truth == "dead", "living", "dead"), truth)
    names = {"Plate": well // 12, "Well": [f"B{w % 12:02d}" for w in well]}
    return pd.DataFrame({**names, "truth": truth, "call": called, "id": range(len(well))})


COLUMNS = {
    "label": "truth", "predicted": "call", "plate": "Plate", "well": "Well", "example_id": "id"
}  # fmt: skip


def test_the_report_has_what_calls_allow_and_nothing_empty(write, frame, tmp_path):
    path = write(frame, name="theirs.csv")
    found = assess(path, columns=COLUMNS, group_by="well", bootstrap=200)
    metrics = found.by_example.metrics
    assert list(metrics) == ["accuracy", "balanced_accuracy", "macro_f1"]
    truth, called = frame["truth"], frame["call"]
    assert metrics["balanced_accuracy"].value == pytest.approx(
        balanced_accuracy_score(truth, called)
    )
    assert metrics["macro_f1"].value == pytest.approx(f1_score(truth, called, average="macro"))
    report = compose(found)
    keys = {section.key for section in report.sections}
    assert {"confusion", "wells", "by_column", "levels", "metrics"} <= keys
    assert not {"probabilities", "ranking", "uncertainty", "errors"} & keys
    page = report.write(tmp_path / "report").read_text(encoding="utf-8")
    assert "without probabilities, so nothing is said of how sure the model is" in page
    assert "On average it claims" not in page
    assert ">nan<" not in page.lower()
    told = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert told["by_example"]["calibration"] == []
    assert list(told["wells"]["together"]["counted"]) == ["single fields", "wells by vote"]
    assert told["wells"]["ties"] == "order of classes"


def test_calls_are_compared_with_probabilities_by_calls(write, frame):
    theirs = write(frame, name="theirs.csv")
    sure = np.where(frame["truth"] == "dead", 0.9, 0.2)
    ours = pd.DataFrame(
        {
            "example_id": frame["id"],
            "label": frame["truth"],
            "probability_dead": sure,
            "probability_living": 1 - sure,
        }
    )
    found = assess(
        theirs, columns=COLUMNS, group_by="well", bootstrap=200, against=write(ours)
    ).comparison
    assert list(found.differences) == ["accuracy", "balanced_accuracy", "macro_f1"]
    right = (frame["truth"] == frame["call"]).mean()
    assert found.differences["accuracy"].difference.value == pytest.approx(right - 1)

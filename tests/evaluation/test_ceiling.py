"""The model's accuracy beside what the annotators of its labels allow."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from deadlib.errors import PredictionError
from deadlib.evaluation import assess, evaluate


@pytest.fixture
def write_responses(tmp_path):
    """write_responses(differing, of, answers): a log of two annotators and 20 positions."""

    def write_responses(differing, of=200, answers=("healthy", "sick")):
        rows = [
            {
                "annotator": who, "item": item, "position": f"p{item % 20}", "top_px": 0,
                "left_px": 256 * item, "height_px": 256, "width_px": 256, "first_frame": 0,
                "frames": 10, "response": answers[1 if who == "B" and item < differing else 0],
            }
            for item in range(of)
            for who in "AB"
        ]  # fmt: skip
        path = tmp_path / "annotations.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write_responses


@pytest.mark.parametrize(
    ("differing", "separation", "verdict"),
    [
        (2, 1.0, "The labels allow more than the model reaches"),
        (50, 0.6, "there is room left"),
        (30, 2.2, "cannot be told from a perfect one"),
        (70, 60.0, "more than such labels should allow"),
    ],
)
def test_the_ceiling_stands_beside_the_accuracy(
    table, write, write_responses, no_figures, tmp_path, differing, separation, verdict
):
    path = write(table(("healthy", "sick"), separation=separation))
    log = write_responses(differing)
    report = evaluate(path, tmp_path / "report", bootstrap=200, annotations=log)
    text = report.read_text(encoding="utf-8")
    assert verdict in text
    ceiling = json.loads((report.parent / "report.json").read_text())["annotators"]["implied"][
        "ceiling"
    ]
    rate = differing / 200
    assert ceiling["value"] == pytest.approx(1 - rate / (1 - rate))
    assert f"{ceiling['value']:.3f}" in text


def test_answers_that_are_no_classes_of_the_table_are_refused(table, write, write_responses):
    with pytest.raises(PredictionError, match=r"answered healthy, sick, expected.*living, dead"):
        assess(write(table()), bootstrap=100, annotations=write_responses(10))


def test_without_a_log_nothing_is_said(table, write, tmp_path, no_figures):
    report = evaluate(write(table()), tmp_path / "report", bootstrap=100)
    assert "annotator" not in report.read_text(encoding="utf-8")
    assert "annotators" not in json.loads((report.parent / "report.json").read_text())

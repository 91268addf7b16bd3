"""The report says how sure the model may be, and what it should leave to a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deadlib.calibration import Calibration, fit_calibration, softmax
from deadlib.evaluation import uncertainty as module
from deadlib.evaluation.assess import Evaluation, assess
from deadlib.evaluation.uncertainty import told, tried, uncertainty
from deadlib.metrics import METRICS
from deadlib.pages import Section

CLASSES = ("living", "dead")
WELLS, CELLS = 40, 12


def world(seed: int, new_plate: bool = False) -> tuple[np.ndarray, ...]:
    """Wells, labels, logits that are twice too sure, embeddings; plate A is harder, and with
    `new_plate` unlike all else."""
    generator = np.random.default_rng(seed)
    well = np.repeat(np.arange(WELLS), CELLS)
    labels = well % 2
    margin = 1.2 + generator.normal(0, 0.3, WELLS)[well] + generator.normal(0, 1, len(well))
    signed = np.where(labels == 1, margin, -margin)
    embedding = generator.normal(0, 0.3, (len(well), 4)) + np.eye(4)[0]
    if new_plate:
        signed[well % 4 < 2] -= 0.8 * np.where(labels == 1, 1, -1)[well % 4 < 2]
        embedding[well % 4 < 2] -= [0, 9, 0, 0]
    logits = np.stack([-signed, signed], axis=1) * 2
    return well, labels, logits, embedding.astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    well, labels, logits, embedding = world(0)
    return fit_calibration(CLASSES, logits, embedding, labels, well, world(1)[3])


def frame_of(
    calibration: Calibration | None, seed: int = 2, new_plate: bool = False
) -> pd.DataFrame:
    well, labels, logits, embedding = world(seed, new_plate)
    probabilities = calibration.probabilities(logits) if calibration else softmax(logits)
    frame = pd.DataFrame(
        {
            "label": [CLASSES[k] for k in labels],
            "group": [f"well{number}" for number in well],
            "plate": ["A" if number % 4 < 2 else "B" for number in well],
            "probability_living": probabilities[:, 0],
            "probability_dead": probabilities[:, 1],
        }
    )
    if calibration:
        sets = calibration.prediction_sets(probabilities)
        frame["prediction_set"] = [[CLASSES[k] for k in np.flatnonzero(row)] for row in sets]
        frame["out_of_distribution"] = calibration.out_of_distribution(embedding)
        frame["softmax_temperature"] = calibration.temperature
    return frame


@pytest.fixture
def evaluated(write: Callable[..., Path]) -> Callable[..., Evaluation]:
    def evaluated(frame: pd.DataFrame, **metadata: Any) -> Evaluation:
        return assess(write(frame, metadata), bootstrap=100)

    return evaluated


@pytest.fixture(scope="module")
def evaluation(
    calibration: Calibration,
    write_table: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Evaluation:
    """Of a calibrated run, on wells like those of its calibration."""
    path = tmp_path_factory.mktemp("told") / "predictions.parquet"
    return assess(write_table(path, frame_of(calibration), {"coverage": 0.9}), bootstrap=200)


@pytest.fixture(autouse=True)
def without_drawing(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Most tests look at numbers and words."""
    if "every_figure" in request.node.name:
        return
    for name in ("reliability", "abstention", "claims", "distances"):
        monkeypatch.setattr(module, name, lambda *_: None)
    fragment = module.fragment
    monkeypatch.setattr(
        module, "fragment", lambda a, b, drawings, **values: fragment(a, b, (), **values)
    )


def section_of(evaluation: Evaluation) -> Section:
    found = uncertainty(evaluation)
    assert found is not None
    return found


def test_before_and_after_are_what_the_run_said(
    calibration: Calibration, evaluation: Evaluation
) -> None:
    found = told(evaluation.predictions)
    _, labels, logits, _ = world(2)
    np.testing.assert_allclose(found.raw, softmax(logits), atol=1e-9)
    numbers = section_of(evaluation).numbers
    error = METRICS["calibration_error"].function
    assert numbers["calibrated"] is True
    assert numbers["calibration_error_before"]["value"] == pytest.approx(
        error(labels, softmax(logits))
    )
    after = numbers["calibration_error_after"]["value"]
    assert after == pytest.approx(error(labels, evaluation.predictions.probabilities))
    assert after < 0.05 < numbers["calibration_error_before"]["value"]
    assert numbers["temperature"]["least"] == calibration.temperature


def test_rates_are_counts_of_the_table(calibration: Calibration, evaluation: Evaluation) -> None:
    frame = frame_of(calibration)
    numbers = section_of(evaluation).numbers
    inside = np.array(
        [a in b for a, b in zip(frame["label"], frame["prediction_set"], strict=True)]
    )
    size = frame["prediction_set"].map(len).to_numpy()
    dead = (frame["label"] == "dead").to_numpy()
    assert numbers["coverage"]["value"] == pytest.approx(inside.mean())
    assert numbers["coverage of dead"]["value"] == pytest.approx(inside[dead].mean())
    assert numbers["sure"]["value"] == pytest.approx((size == 1).mean())
    assert numbers["right where sure"]["value"] == pytest.approx(inside[size == 1].mean())
    assert numbers["coverage"]["low"] < numbers["coverage"]["value"] < numbers["coverage"]["high"]
    assert numbers["coverage"]["value"] == pytest.approx(0.9, abs=0.06)
    sums = sum(numbers[name]["value"] for name in ("sure", "none", "several"))
    assert sums == pytest.approx(1)


def test_leaving_out_the_unsure_is_accuracy_of_the_surest(
    evaluation: Evaluation,
) -> None:
    table = evaluation.predictions
    curve = {row["answered"]: row["value"] for row in section_of(evaluation).numbers["abstention"]}
    right = table.predicted_index == table.class_index
    order = np.argsort(-table.probabilities.max(axis=1), kind="stable")
    for share in (1.0, 0.5):
        kept = order[: round(share * len(order))]
        assert curve[share] == pytest.approx(right[kept].mean(), abs=2 / len(kept))
    assert curve[0.5] > curve[1.0] + 0.05


def test_a_table_without_calibration_is_tried_on_other_groups(
    calibration: Calibration, evaluated: Callable[..., Evaluation]
) -> None:
    evaluation = evaluated(frame_of(None))
    found = tried(evaluation.predictions)
    assert found is not None
    assert found.temperatures[0] == pytest.approx(calibration.temperature, rel=0.15)
    section = section_of(evaluation)
    assert section.numbers["calibrated"] is False
    assert "unlike" not in section.numbers
    assert "deadlib-calibrate would bring that" in section.remarks[0].text
    # 16 wells of a class behind each threshold: 0.9 x 17 / 16 of their weight is taken
    assert section.numbers["coverage"]["value"] == pytest.approx(0.956, abs=0.03)


def test_nothing_is_tried_on_few_groups(evaluated: Callable[..., Evaluation]) -> None:
    frame = frame_of(None)
    few = frame[frame["group"].isin([f"well{number}" for number in range(19)])]
    assert uncertainty(evaluated(few)) is None
    assert uncertainty(evaluated(frame.drop(columns="group"))) is None


def test_a_plate_unlike_the_others_is_told(
    calibration: Calibration, evaluated: Callable[..., Evaluation]
) -> None:
    section = section_of(evaluated(frame_of(calibration, new_plate=True), coverage=0.9))
    text = " ".join(remark.text for remark in section.remarks)
    assert re.search("5[0-2] of 100 images are less like the training images", text)
    assert "The prediction sets hold the true class of only" in text
    assert {remark.level for remark in section.remarks} == {"warning"}
    plates = {row["value"]: row for row in section.numbers["by_column"]["plate"]}
    assert plates["A"]["unlike"] == 1.0
    assert plates["B"]["unlike"] < 0.1
    assert plates["A"]["claimed"] > plates["A"]["right"]["high"]


def test_of_images_like_the_known_ones_there_is_nothing_to_say(evaluation: Evaluation) -> None:
    assert section_of(evaluation).remarks == ()


def test_several_runs_in_one_table_have_temperatures_of_their_own(
    calibration: Calibration, evaluated: Callable[..., Evaluation]
) -> None:
    first, second = frame_of(calibration), frame_of(calibration, seed=3)
    both = pd.concat([first, second.assign(softmax_temperature=2 * calibration.temperature)])
    section = section_of(evaluated(both))
    assert section.numbers["temperature"]["largest"] == pytest.approx(2 * calibration.temperature)
    assert section.numbers["coverage_promised"] is None


def test_a_table_through_csv_counts_as_not_calibrated(
    calibration: Calibration, write: Callable[..., Path]
) -> None:
    evaluation = assess(write(frame_of(calibration), name="table.csv"), bootstrap=100)
    assert section_of(evaluation).numbers["calibrated"] is False


def test_the_page_holds_every_figure_and_says_what_they_are(
    evaluation: Evaluation,
) -> None:
    section = section_of(evaluation)
    assert [drawing.name for drawing in section.drawings] == [
        "calibration",
        "abstention",
        "claims_0",
        "distance",
    ]
    assert section.html.count("<img") == 4
    for words in ("is promised to be in 90 of 100", "prediction set", "By plate"):
        assert words in section.html


@pytest.mark.parametrize(
    ("fitted", "is_told"), [("test", True), ("all", True), ("calibration", False)]
)
def test_calibration_on_the_very_images_is_told(
    calibration: Calibration,
    evaluated: Callable[..., Evaluation],
    fitted: str,
    is_told: bool,
) -> None:
    told = {"split": fitted, "fingerprint": "abc"}
    frame = frame_of(calibration).assign(split="test")
    section = section_of(evaluated(frame, calibration=told, fingerprint="abc", coverage=0.9))
    assert any("on these very images" in remark.text for remark in section.remarks) == is_told
    elsewhere = evaluated(frame, calibration=told, fingerprint="def", coverage=0.9)
    assert "on these very images" not in str(section_of(elsewhere).remarks)

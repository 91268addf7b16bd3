"""A calibration is kept in a run and read again, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deadlib.calibration import Calibration, fit_calibration
from deadlib.errors import RunError

CLASSES = ("dead", "living")


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (400, 2))
    labels = (generator.random(400) < 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))).astype(int)
    # line B is harder than line A; C has too few groups for thresholds of its own
    lines = np.where(np.arange(400) < 200, "A", "B")
    lines[395:] = "C"
    labels[200:395:3] = 1 - labels[200:395:3]
    embedding = generator.normal(size=(400, 6)).astype(np.float32)
    return fit_calibration(
        CLASSES,
        logits,
        embedding,
        labels,
        np.arange(400) // 2,
        embedding[::2],
        per="line",
        values=list(lines),
    )


def test_what_is_saved_is_read_again(calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path)
    again = Calibration.load(tmp_path, CLASSES)
    assert again is not None
    assert again.to_json() == calibration.to_json()
    logits = np.random.default_rng(1).normal(0, 2, (50, 2))
    probabilities = calibration.probabilities(logits)
    np.testing.assert_array_equal(again.probabilities(logits), probabilities)
    values = ["A", "B"] * 25
    np.testing.assert_array_equal(
        again.prediction_sets(probabilities, values),
        calibration.prediction_sets(probabilities, values),
    )
    embedding = np.random.default_rng(2).normal(size=(50, 6)).astype(np.float32)
    np.testing.assert_array_equal(
        again.out_of_distribution(embedding), calibration.out_of_distribution(embedding)
    )


def test_values_have_thresholds_of_their_own_where_they_have_groups(
    calibration: Calibration,
) -> None:
    assert (calibration.least_of["B"] < calibration.least_of["A"]).all()
    np.testing.assert_array_equal(calibration.least_of["C"], calibration.least)
    between = (calibration.least_of["A"][0] + calibration.least_of["B"][0]) / 2
    probabilities = np.tile([between, 1 - between], (4, 1))
    sets = calibration.prediction_sets(probabilities, ["A", "B", "unheard of", None])
    assert sets[:2, 0].tolist() == [False, True]
    assert sets[2].tolist() == sets[3].tolist() == (probabilities[2] >= calibration.least).tolist()


def test_no_calibration_is_none(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path, CLASSES) is None


@pytest.mark.parametrize("damage", ["cut", "keys", "arrays", "classes"])
def test_a_damaged_one_is_refused_with_advice(
    calibration: Calibration, tmp_path: Path, damage: str
) -> None:
    path = calibration.save(tmp_path)
    if damage == "cut":
        path.write_text(path.read_text()[:40])
    elif damage == "keys":
        path.write_text(json.dumps({"temperature": 1.0}))
    elif damage == "arrays":
        (tmp_path / "calibration.npz").unlink()
    classes = ("alive", "dead") if damage == "classes" else CLASSES
    with pytest.raises(RunError, match=r"calibration\.json: damaged .*run deadlib-calibrate again"):
        Calibration.load(tmp_path, classes)


def test_it_can_be_read_without_this_library(calibration: Calibration, tmp_path: Path) -> None:
    told = json.loads(calibration.save(tmp_path).read_text())
    assert told["coverage"] == 0.9
    assert set(told["least_probability"]) == set(CLASSES)
    assert told["per"] == "line"

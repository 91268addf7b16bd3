"""The numbers of a report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from deadlib.errors import PredictionError
from deadlib.evaluation import assess
from deadlib.evaluation.parts import sample_columns


def everything(evaluation):
    """Every estimate of an evaluation, as JSON objects with a value."""
    found, waiting = [], [evaluation.to_json()]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if {"value", "low", "high"} <= set(item) and not isinstance(item["low"], list):
                found.append(item)
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return found


def test_the_figures_are_those_of_sklearn(table, write):
    frame = table()
    found = assess(write(frame), bootstrap=100).by_example
    called = np.where(frame["probability_dead"] > 0.5, "dead", "living")
    truth = frame["label"]
    classes = ["living", "dead"]
    assert found.metrics["accuracy"].value == pytest.approx(reference.accuracy_score(truth, called))
    assert found.metrics["roc_auc"].value == pytest.approx(
        reference.roc_auc_score(truth == "dead", frame["probability_dead"])
    )
    assert found.counts == reference.confusion_matrix(truth, called, labels=classes).tolist()
    shares = [[share.value for share in row] for row in found.shares]
    np.testing.assert_allclose(
        shares, reference.confusion_matrix(truth, called, labels=classes, normalize="true")
    )
    dead = found.per_class["dead"]
    expected = reference.precision_recall_fscore_support(truth, called, labels=["dead"])
    for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
        assert dead[name].value == pytest.approx(value[0])


@pytest.mark.parametrize("classes", [("living", "dead"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("separation", [0.0, 2.0, 60.0])
def test_every_interval_holds_its_figure(table, write, classes, separation):
    evaluation = assess(write(table(classes, separation=separation)), bootstrap=200)
    found = everything(evaluation)
    assert len(found) > 40
    for estimate in found:
        if estimate["low"] is not None:
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        else:
            assert estimate["reason"]


def test_curves_agree_with_sklearn_and_lie_in_their_bands(table, write):
    frame = table(groups=40)
    curves = assess(write(frame), bootstrap=200).by_example.curves["dead"]
    roc, precision = curves.true_positive_rate, curves.precision
    false, true, _ = reference.roc_curve(
        frame["label"] == "dead", frame["probability_dead"], drop_intermediate=False
    )
    grid = np.linspace(0, 1, 101)
    for point, value in zip(grid, roc.value, strict=True):
        assert value >= true[false <= point + 1e-12].max() - 1e-9
    assert (np.diff(roc.value) >= 0).all()
    assert precision.value[-1] >= (frame["label"] == "dead").mean() - 1e-9
    for band in (roc, precision):
        assert (band.low <= band.value).all()
        assert (band.value <= band.high).all()


def test_groups_are_averaged_before_they_are_counted(table, write):
    found = assess(write(table(groups=24, per_group=5)), bootstrap=100)
    assert found.by_example.units == 120
    assert found.by_group.units == 24
    averaged = found.by_group.metrics["roc_auc"].value
    assert averaged > found.by_example.metrics["roc_auc"].value


def test_one_example_per_group_has_no_separate_group_level(table, write):
    assert assess(write(table(per_group=1)), bootstrap=100).by_group is None


def test_a_single_class_leaves_comparing_metrics_out_with_the_reason(table, write):
    frame = table()
    found = assess(write(frame[frame["label"] == "dead"]), bootstrap=100)
    metrics = found.by_example.metrics
    assert metrics["accuracy"].low is not None
    for name in ("balanced_accuracy", "macro_f1", "roc_auc", "average_precision"):
        assert metrics[name].value is None
        assert metrics[name].reason == "one class only"
    assert found.by_example.per_class["living"]["recall"].reason == "no such label"
    assert not found.by_example.curves


def test_each_plate_has_its_own_figures(table, write):
    frame = table()
    bad = frame["plate"] == "plate1"
    frame.loc[bad, ["probability_living", "probability_dead"]] = (
        1 - frame.loc[bad, ["probability_living", "probability_dead"]]
    )
    parts = {part.value: part for part in assess(write(frame), bootstrap=100).by_column["plate"]}
    assert parts["plate0"].metrics["balanced_accuracy"].value > 0.8
    assert parts["plate1"].metrics["balanced_accuracy"].value < 0.2
    assert parts["plate0"].units == 72
    assert parts["plate0"].groups == 12


def test_columns_that_describe_the_sample_are_found():
    size = 130
    frame = pd.DataFrame(
        {
            "label": "dead",
            "shard": [f"shard{i % 3}" for i in range(size)],
            "probability_dead": np.arange(size) % 7 / 7,
            "plate": [f"p{i % 12}" for i in range(size)],
            "batch": [f"b{i % 12}" for i in range(size)],
            "time_hours": np.arange(size) % 3 * 6.0,
            "constant": 1,
            "unique": np.arange(size),
            "partly": [None if i % 2 else f"x{i % 3}" for i in range(size)],
            "channels": [["a"]] * size,
        }
    )
    found = sample_columns(frame)
    assert list(found) == ["plate = batch", "time_hours", "partly"]
    assert list(found["plate = batch"].categories) == [f"p{i}" for i in range(12)]
    assert list(found["time_hours"].categories) == ["0", "6", "12"]


def test_wells_of_the_same_name_on_two_plates_have_rows_of_their_own():
    frame = pd.DataFrame({"plate": [2, 2, 10, 10], "well": ["B03", "B04", "B03", None]})
    found = sample_columns(frame)
    assert list(found["plate"].categories) == ["2", "10"]
    assert list(found["well"].categories) == ["2/B03", "2/B04", "10/B03"]
    assert list(found["well"].codes) == [0, 1, 2, -1]


def test_wells_that_their_name_tells_apart_are_called_by_it():
    frame = pd.DataFrame({"plate": [1, 1, 2], "well": ["B03", "B04", "C05"]})
    assert list(sample_columns(frame)["well"].categories) == ["B03", "B04", "C05"]


def test_numbers_are_json_without_nan(table, write):
    for frame in (table(), table(separation=60), table().query("label == 'dead'")):
        json.dumps(assess(write(frame), bootstrap=100).to_json(), allow_nan=False)


def test_the_same_seed_gives_the_same_numbers(table, write):
    path = write(table())
    first, second = (assess(path, bootstrap=100, seed=3).to_json() for _ in range(2))
    assert first == second
    assert first != assess(path, bootstrap=100, seed=4).to_json()


def test_too_few_resamples_are_refused(table, write):
    with pytest.raises(PredictionError, match="too few"):
        assess(write(table()), bootstrap=10)


def test_progress_reaches_its_end(table, write):
    seen = []
    assess(write(table()), bootstrap=100, progress=lambda *step: seen.append(step))
    stage, done, total = seen[-1]
    assert stage == "bootstrap"
    assert done == total

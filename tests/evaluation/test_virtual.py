"""Accuracy over balanced virtual batches, and what the two intervals say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from scipy import stats

from deadlib.bootstrap import Resampling, of_independent
from deadlib.errors import PredictionError
from deadlib.evaluation import assess, evaluate
from deadlib.evaluation.virtual import draw_batches


@pytest.mark.parametrize(("right", "of"), [(7, 20), (119, 126), (230, 256), (1510, 2000)])
def test_the_interval_over_classifications_is_scipys(right, of):
    answers = np.arange(of) < right
    found = of_independent(right, of, Resampling(100_000, 3))
    reference = stats.bootstrap(
        (answers,), np.mean, n_resamples=20_000, batch=2000, method="BCa", rng=4
    ).confidence_interval
    # other draws: limits agree to one answer more or less, as a rate has no values between
    assert found.low == pytest.approx(reference.low, abs=1.01 / of)
    assert found.high == pytest.approx(reference.high, abs=1.01 / of)
    assert found.method == "bca"


@pytest.mark.parametrize("right", [0, 2000])
def test_all_right_or_all_wrong_is_no_certainty(right):
    found = of_independent(right, 2000, Resampling(1000))
    exact = stats.binomtest(right, 2000).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("n", "half_width"), [(2000, 0.014), (7800, 0.007)])
def test_the_published_interval_is_that_of_about_7800_classifications(n, half_width):
    found = of_independent(round(0.888 * n), n, Resampling(100_000))
    assert (found.high - found.low) / 2 == pytest.approx(half_width, abs=0.0005)


def test_a_batch_holds_as_many_of_each_class_and_none_twice():
    class_index = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 11, 300]))
    batches = draw_batches(class_index, 50, 10, np.random.default_rng(1))
    assert batches.shape == (50, 30)
    for batch in batches:
        assert len(set(batch)) == 30
        assert np.bincount(class_index[batch]).tolist() == [10, 10, 10]
    assert not np.array_equal(batches[0], batches[1])


@pytest.mark.parametrize("classes", [("living", "dead"), ("a", "b", "c")])
def test_the_accuracy_is_balanced_however_many_images_a_class_has(table, write, classes):
    frame = table(classes, groups=60, separation=1.0)
    rare = frame["label"] == classes[0]
    frame = frame[~rare | (rare.cumsum() <= 24)]
    found = assess(write(frame), bootstrap=100, virtual_batches=1000)
    balanced = found.by_example.metrics["balanced_accuracy"].value
    assert found.virtual.accuracy.value == pytest.approx(balanced, abs=0.01)
    assert abs(found.by_example.metrics["accuracy"].value - balanced) > 0.01
    assert found.virtual.classifications == 1000 * 10 * len(classes)


def test_the_interval_over_classifications_is_too_narrow_where_images_of_a_group_are_alike(
    table, write
):
    found = assess(write(table(separation=1.0)), bootstrap=500, virtual_batches=100)
    once, over_groups = found.virtual.accuracy, found.by_example.metrics["balanced_accuracy"]
    assert over_groups.high - over_groups.low > 2.5 * (once.high - once.low)


def test_a_class_that_the_model_knows_but_nobody_showed_is_left_out(table, write):
    frame = table(("a", "b", "c"))
    found = assess(write(frame[frame["label"] != "b"]), bootstrap=100, virtual_batches=10)
    assert found.virtual.classes == ("a", "c")


def test_too_few_images_of_a_class_are_named(table, write):
    frame = table()
    dead = frame["label"] == "dead"
    path = write(frame[~dead | (dead.cumsum() <= 7)])
    with pytest.raises(PredictionError, match=r"found 7 of dead.*--per-class 7"):
        assess(path, bootstrap=100, virtual_batches=100)
    assert assess(path, bootstrap=100, virtual_batches=100, per_class=7).virtual.per_class == 7


def test_one_class_makes_no_balanced_batch(table, write):
    frame = table()
    with pytest.raises(PredictionError, match="at least two classes, found only dead"):
        assess(write(frame[frame["label"] == "dead"]), bootstrap=100, virtual_batches=100)


@pytest.fixture
def page(no_figures, tmp_path):
    """page(path, **options) -> (report.html, report.json), without figures."""

    def page(path, **options):
        report = evaluate(path, tmp_path / "report", bootstrap=200, **options)
        numbers = json.loads((report.parent / "report.json").read_text())
        return report.read_text(encoding="utf-8"), numbers

    return page


def test_both_intervals_stand_in_the_report_with_what_they_are_drawn_from(table, write, page):
    text, numbers = page(write(table(separation=1.0)), virtual_batches=100)
    found = numbers["virtual_batches"]
    assert (found["by_classification"]["n"], found["by_classification"]["unit"]) == (
        2000,
        "classification",
    )
    assert (found["by_group"]["n"], found["by_group"]["unit"]) == (24, "group")
    assert re.search(r"2,000 classifications come from 14\d different images", text)
    assert "Quote the second" in text


@pytest.mark.parametrize(
    ("by", "name"),
    [
        (["plate", "well", "position"], "position"),
        (["cell_line", "treatment"], "cell_line and treatment"),
    ],
)
def test_a_group_is_called_what_it_is(table, write, page, metadata, by, name):
    metadata["split"]["by"] = by
    text, _ = page(write(table(), metadata), virtual_batches=10)
    assert f"the images of one {name} are alike" in text


def test_without_groups_neither_interval_is_called_honest(table, write, page):
    frame = table()[["label", "probability_living", "probability_dead"]]
    text, _ = page(write(frame), virtual_batches=100)
    assert "name the column that tells positions apart" in text
    assert "Quote the second" not in text


def test_one_position_has_no_interval_to_quote(table, write, page):
    frame = table()
    frame["group"] = "the only one"
    text, _ = page(write(frame), virtual_batches=100)
    assert "quote neither" in text


def test_nothing_of_it_stands_where_it_was_not_asked_for(table, write, page):
    text, numbers = page(write(table()))
    assert "virtual_batches" not in numbers
    assert "virtual" not in text


def test_batch_statistics_at_prediction_are_told(table, write, page, metadata):
    text, numbers = page(write(table(), metadata | {"bn_at_test": "batch"}), virtual_batches=10)
    assert "depends on the images that were predicted with it" in text
    assert "not of the virtual ones" in text
    assert numbers["bn_at_test"] == "batch"


def test_a_run_that_says_nothing_used_moving_statistics(table, write, page, metadata):
    text, numbers = page(write(table(), metadata), virtual_batches=10)
    assert numbers["bn_at_test"] == "moving"
    assert "depends on the images that were predicted with it" not in text


def test_a_table_from_elsewhere_says_nothing_of_batch_normalisation(table, write, page):
    text, numbers = page(write(table(), name="theirs.csv"), virtual_batches=10)
    assert numbers["bn_at_test"] is None
    assert "Batch normalisation" not in text

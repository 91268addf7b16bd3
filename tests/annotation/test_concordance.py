"""From responses to figures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from deadlib.annotation import concordance_of
from deadlib.bootstrap import Resampling
from tfrecords_tools.annotations import CONCORDANT, judged, read_annotations

QUICK = Resampling(200, 0)


def log_of(answers, **columns):
    """Responses from {item: {annotator: response}}; columns by item."""
    rows = [
        {"annotator": who, "item": item, "response": said}
        | {name: values[item] for name, values in columns.items()}
        for item, given in answers.items()
        for who, said in given.items()
    ]
    return pd.DataFrame(rows)


def published():
    """263 items of two annotators, 49 answered differently; 256 unexposed, 230 called healthy."""
    answers, dose = {}, {}
    for item in range(263):
        answers[item] = {"A": "sick", "B": "healthy" if item < 49 else "sick"}
        dose[item] = 40.0
    for item in range(263, 263 + 256):
        answers[item] = {"A": "healthy" if item < 263 + 230 else "sick"}
        dose[item] = 0.0
    return log_of(answers, light_dose_s=dose)


def test_the_published_figures_come_out_of_a_log():
    found = concordance_of(published())
    assert (found.overlapping, found.disagreements) == (263, 49)
    assert found.disagreement.value == pytest.approx(0.1863, abs=5e-5)
    assert found.implied["ambiguous"].value == pytest.approx(0.3726, abs=5e-5)
    assert found.implied["left"].value == pytest.approx(0.2290, abs=5e-5)
    assert found.implied["ceiling"].value == pytest.approx(0.7710, abs=5e-5)
    assert found.implied["expected_ceiling"].value == pytest.approx(0.8855, abs=5e-5)
    assert (found.unexposed.right, found.unexposed.responses) == (230, 256)
    assert found.unexposed.share.value == pytest.approx(0.898, abs=5e-4)


def test_without_positions_the_limits_are_the_exact_binomial_ones():
    found = concordance_of(published())
    for estimate, hits, of in ((found.disagreement, 49, 263), (found.unexposed.share, 230, 256)):
        exact = stats.binomtest(hits, of).proportion_ci(0.95, "exact")
        assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))
    assert found.unit == "item"


def test_positions_of_one_item_each_are_as_independent_as_items():
    log = published()
    log["position"] = [f"p{item}" for item in log["item"]]
    assert concordance_of(log).disagreement == concordance_of(published()).disagreement


def test_items_of_one_position_that_are_alike_widen_the_interval():
    log = published()
    log["position"] = [f"p{item // 16}" for item in log["item"]]
    found, alone = concordance_of(log), concordance_of(published())
    assert found.unit == "position"
    assert found.disagreement.value == alone.disagreement.value
    wide, narrow = found.disagreement, alone.disagreement
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_an_item_with_any_unsure_counts_for_no_disagreement():
    log = log_of(
        {
            1: {"A": "sick", "B": "healthy", "C": "unsure"},
            2: {"A": "sick", "B": "sick"},
            3: {"A": "sick", "B": "healthy"},
            4: {"A": "unsure", "B": "unsure"},
            5: {"A": "sick"},
        }
    )
    found = concordance_of(log, resampling=QUICK)
    assert (found.overlapping, found.disagreements) == (2, 1)
    assert (found.kept, found.kept_alone) == (2, 1)
    # a pair counts an item by its own two answers
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    assert set(pairs) == {("A", "B")}
    assert pairs["A", "B"].items == 3
    assert pairs["A", "B"].agreement.value == pytest.approx(1 / 3)


def test_responses_are_counted_by_dose_and_by_annotator():
    answers = {i: {"A": "healthy", "B": "sick" if i % 2 else "healthy"} for i in range(10)}
    answers[10] = {"B": "unsure"}
    log = log_of(answers, light_dose_s={i: 2.5 if i == 10 else 10.0 * (i > 4) for i in range(11)})
    found = concordance_of(log, resampling=QUICK)
    assert [bar.name for bar in found.by_dose] == ["0", "2.5", "10"]
    assert found.by_dose[0].counts == {"healthy": 8, "sick": 2, "unsure": 0}
    assert found.by_dose[1].counts == {"healthy": 0, "sick": 0, "unsure": 1}
    assert (found.by_dose[2].overlapping, found.by_dose[2].disagreements) == (5, 3)
    assert {bar.name: bar.responses for bar in found.by_annotator} == {"A": 10, "B": 11}
    assert found.answers == ("healthy", "sick", "unsure")


def test_three_annotators_and_three_classes():
    rng = np.random.default_rng(0)
    names = np.array(["alive", "apoptotic", "ferroptotic"])
    answers = {
        i: dict(zip("ABC", rng.choice(names, 3 if i % 2 else 2), strict=False)) for i in range(80)
    }
    log = log_of(answers, position={i: f"p{i % 16}" for i in range(80)})
    found = concordance_of(log, healthy="alive", resampling=QUICK)
    assert found.classes == tuple(names)
    # they answer at random: everything is ambiguous, nothing agrees beyond chance
    assert found.implied["ambiguous"].value > 0.85
    assert abs(found.together.krippendorff.value) < 0.2
    assert len(found.pairs) == 3
    table = log.pivot(index="item", columns="annotator", values="response")[["A", "C"]].dropna()
    pair = next(pair for pair in found.pairs if (pair.first, pair.second) == ("A", "C"))
    assert pair.items == len(table) == 40
    assert pair.kappa.value == pytest.approx(cohen_kappa_score(table["A"], table["C"]))
    assert pair.kappa.low < pair.kappa.value < pair.kappa.high


@pytest.mark.parametrize(
    "answers",
    [
        {1: {"A": "healthy"}},
        {1: {"A": "unsure", "B": "unsure"}},
        {1: {"A": "sick", "B": "sick"}, 2: {"A": "sick", "B": "sick"}},
    ],
    ids=["one response", "only unsure", "all the same"],
)
def test_a_log_with_little_in_it_gives_numbers_or_reasons(answers):
    log = log_of(answers, position=dict.fromkeys(answers, "p1"))
    found = concordance_of(log, resampling=QUICK)
    json.dumps(found.to_json(), allow_nan=False)
    for estimate in (found.disagreement, *found.implied.values()):
        assert estimate.low is not None or estimate.reason


def test_the_filter_keeps_what_the_conversion_keeps(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {
            "annotator": who, "item": item, "position": f"p{item % 5}", "light_dose_s": 5,
            "top_px": 0, "left_px": 256 * item, "height_px": 256, "width_px": 256, "first_frame": 0,
            "frames": 10, "response": rng.choice(["Healthy", "SICK", "Unsure"]),
        }
        for item in range(60)
        for who in "AB"[: 1 + item % 2]
    ]  # fmt: skip
    path = tmp_path / "log.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    responses = read_annotations(path)
    kept = (judged(responses)["verdict"] == CONCORDANT).sum()
    assert concordance_of(responses, resampling=QUICK).kept == kept

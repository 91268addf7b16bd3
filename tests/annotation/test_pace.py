"""Times of answers, and annotators who change on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deadlib.annotation.pace import drifts, holm, pace
from deadlib.bootstrap import Resampling

QUICK = Resampling(200, 0)
ANSWERS = ("healthy", "apoptotic", "ferroptotic", "unsure")


def fresh(log):
    return log[log["served"] == "fresh"]


def test_quartiles_are_of_times_that_can_be_times(panel_log):
    log = panel_log(("Anna",), items=20)
    log["seconds"] = np.arange(len(log), dtype=float)
    log.loc[log.index[:3], "seconds"] = [np.nan, -4.0, np.inf]
    log.loc[log.index[-1], "seconds"] = 7200.0
    (found,) = pace(log, "annotator")
    times = [*range(3, len(log) - 1), 7200.0]
    assert found.quartiles_seconds == pytest.approx(np.quantile(times, [0.25, 0.5, 0.75]))
    assert (found.answers, found.untimed, found.pauses) == (len(log), 3, 1)


def test_without_times_there_are_none(panel_log):
    log = panel_log(("Anna",), items=20).drop(columns="seconds")
    assert pace(log, "annotator")[0].quartiles_seconds is None


def test_answers_come_in_the_order_that_is_asked_for(panel_log):
    found = pace(panel_log(), "response", ANSWERS)
    assert [one.name for one in found] == list(ANSWERS)


def test_who_drifts_is_found_and_the_others_are_not(panel_log):
    log = fresh(panel_log(items=200, drifting=("Bo",)))
    found = {one.annotator: one for one in drifts(log, ANSWERS, QUICK)}
    assert found["Bo"].proved
    assert not found["Anna"].proved
    assert not found["Cy"].proved
    first, last = found["Bo"].stretches[0], found["Bo"].stretches[-1]
    assert first.counts["healthy"] < last.counts["healthy"]
    assert (first.first, last.last) == (1, 200)


def test_the_p_value_is_near_that_of_the_chi_squared_test(panel_log):
    (found,) = drifts(fresh(panel_log(("Anna",), items=400)), ANSWERS, QUICK)
    counts = [[part.counts[name] for name in ANSWERS] for part in found.stretches]
    expected = stats.chi2_contingency(counts).pvalue
    assert found.p_value == pytest.approx(expected, abs=0.05)


def test_stretches_go_by_number_whatever_the_clock_says(panel_log):
    log = panel_log(("Anna",), items=60, drifting=("Anna",))
    shuffled = log.sample(frac=1, random_state=0).assign(timestamp="1970-01-01")
    assert drifts(shuffled, ANSWERS, QUICK) == drifts(log, ANSWERS, QUICK)


def test_a_few_answers_say_nothing_of_drift(panel_log):
    assert drifts(panel_log(items=30), ANSWERS, QUICK) == []


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values):
    found = holm(p_values)
    for p_value, corrected in zip(p_values, found, strict=True):
        assert p_value <= corrected <= min(1.0, len(p_values) * p_value) + 1e-12
    assert sorted(range(len(found)), key=lambda k: (p_values[k], k)) == sorted(
        range(len(found)), key=lambda k: (found[k], p_values[k], k)
    )

"""Annotators beside themselves."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from deadlib.annotation.repeats import repeated
from deadlib.bootstrap import Resampling

QUICK = Resampling(200, 0)
ANSWERS = ("healthy", "apoptotic", "ferroptotic", "unsure")


def test_second_answers_are_compared_with_the_ones_before(panel_log):
    log = panel_log()
    found = {one.annotator: one for one in repeated(log, ANSWERS, QUICK)}
    own = log[log["annotator"] == "Bo"]
    second = own[own["served"] == "repeat"].set_index("item")["response"]
    first = own[own["served"] == "fresh"].set_index("item")["response"][second.index]
    assert found["Bo"].pairs == 10
    assert found["Bo"].same == (first == second).sum()
    assert found["Bo"].agreement.value == pytest.approx((first == second).mean())
    assert found["Bo"].kappa.value == pytest.approx(cohen_kappa_score(first, second))


def test_order_goes_by_number_and_never_by_time():
    log = pd.DataFrame(
        [
            ("A", "x", 9, "repeat", "sick", "2001-01-01"),
            ("A", "x", 2, "fresh", "healthy", "2026-01-01"),
            ("A", "x", 30, "repeat", "sick", "1999-01-01"),
        ],
        columns=["annotator", "item", "number", "served", "response", "timestamp"],
    )
    (found,) = repeated(log, ("healthy", "sick", "unsure"), QUICK)
    assert (found.pairs, found.same, found.between) == (2, 1, 14.0)


def test_without_repeats_there_is_nothing(panel_log):
    log = panel_log()
    assert repeated(log[log["served"] == "fresh"], ANSWERS, QUICK) == []


def test_a_repeat_whose_first_answer_was_taken_back_is_no_pair(panel_log):
    log = panel_log(("Anna",))
    again = log[log["served"] == "repeat"]["item"].iloc[0]
    gone = (log["item"] == again) & (log["served"] == "fresh")
    assert repeated(log[~gone], ANSWERS, QUICK)[0].pairs == 9

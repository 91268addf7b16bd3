"""Answers against answers, counted by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from deadlib.annotation.confusion import against_decided, against_others, mixed_up, two_by_two
from deadlib.bootstrap import Resampling

QUICK = Resampling(200, 0)
ANSWERS = ("healthy", "sick", "unsure")


def responses_of(answers):
    rows = [
        {"annotator": who, "item": item, "response": said}
        for item, given in answers.items()
        for who, said in given.items()
    ]
    return pd.DataFrame(rows)


def crowd():
    rng = np.random.default_rng(0)
    return responses_of(
        {i: dict(zip("ABC", rng.choice(ANSWERS, 3), strict=True)) for i in range(50)}
    )


def test_two_by_two_is_the_confusion_matrix_of_sklearn():
    log = crowd()
    table = log.pivot(index="item", columns="annotator", values="response")
    found = two_by_two(log, ANSWERS)
    assert [(one.reference, one.annotator) for one in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    for one in found:
        expected = confusion_matrix(table[one.reference], table[one.annotator], labels=ANSWERS)
        np.testing.assert_array_equal(one.counts, expected)


def test_each_answer_of_another_counts_once():
    found = {one.annotator: one for one in against_others(crowd(), ANSWERS)}
    pairs = {(one.reference, one.annotator): one.counts for one in two_by_two(crowd(), ANSWERS)}
    np.testing.assert_array_equal(found["B"].counts, pairs["A", "B"] + pairs["B", "C"].T)
    assert found["B"].total == 100
    np.testing.assert_allclose(found["B"].shares.sum(axis=1), 1)


def test_who_shares_no_item_has_no_table():
    log = responses_of({1: {"A": "sick"}, 2: {"B": "sick", "C": "healthy"}})
    assert [one.annotator for one in against_others(log, ANSWERS)] == ["B", "C"]


def test_the_classes_that_are_mixed_up_most():
    log = responses_of(
        {
            **{i: {"A": "healthy", "B": "sick"} for i in range(3)},
            **{i: {"A": "sick", "B": "sick"} for i in range(3, 7)},
            **{i: {"A": "healthy", "B": "healthy"} for i in range(7, 12)},
            **{i: {"A": "unsure", "B": "sick"} for i in range(12, 30)},
        }
    )
    assert mixed_up(two_by_two(log, ANSWERS)) == ("healthy", "sick", pytest.approx(3 / 12))
    assert mixed_up(two_by_two(log[log["item"] > 2], ANSWERS)) is None
    assert mixed_up([]) is None


def test_annotators_beside_adjudicated_labels():
    log = responses_of(
        {
            1: {"A": "sick", "B": "healthy"},
            2: {"A": "sick", "B": "unsure"},
            3: {"A": "healthy", "B": "healthy"},
        }
    )
    decided = pd.Series({1: "sick", 2: "healthy"})
    found = {one.confusion.annotator: one for one in against_decided(log, decided, ANSWERS, QUICK)}
    assert (found["A"].sure, found["A"].right, found["A"].unsure) == (2, 1, 0)
    assert found["A"].share.value == 0.5
    assert (found["B"].sure, found["B"].right, found["B"].unsure) == (1, 0, 1)
    np.testing.assert_array_equal(found["B"].confusion.counts, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_an_item_that_was_decided_to_be_unclear_is_nobodys_fault():
    log = responses_of({1: {"A": "sick", "B": "healthy"}, 2: {"A": "sick", "B": "healthy"}})
    found = against_decided(log, pd.Series({1: "unsure", 2: "sick"}), ANSWERS, QUICK)
    assert [(one.sure, one.right, one.unsure) for one in found] == [(1, 1, 0), (1, 0, 0)]


def test_who_was_only_unsure_of_decided_items_gets_words():
    log = responses_of({1: {"A": "unsure", "B": "sick"}})
    found = against_decided(log, pd.Series({1: "sick"}), ANSWERS, QUICK)
    assert found[0].share.value is None
    assert "answered by this annotator with a class" in found[0].share.reason

"""Disputed items: which they are, in which order they come, who may decide them."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from deadlib.annotation import disputed, labels_decided
from deadlib.annotation.adjudication import standing

LOG = pd.DataFrame(
    [
        ("agreed", "A", "sick"), ("agreed", "B", "sick"),
        ("alone", "A", "sick"),
        ("differing", "A", "sick"), ("differing", "B", "healthy"),
        ("three", "A", "sick"), ("three", "B", "healthy"), ("three", "C", "unsure"),
        ("doubted", "A", "sick"), ("doubted", "B", "unsure"),
        ("doubted alone", "C", "unsure"),
    ],
    columns=["item", "annotator", "response"],
)  # fmt: skip


def test_what_is_disputed_and_why():
    found = disputed(LOG).set_index("item")
    assert found["why"].to_dict() == {
        "differing": "disagreement", "three": "disagreement", "doubted": "unsure",
        "doubted alone": "unsure",
    }  # fmt: skip
    assert found.loc["three", "votes"] == {"healthy": 1, "sick": 1, "unsure": 1}
    assert found["answers"].to_dict()["doubted alone"] == 1


def test_nobody_decides_an_item_that_they_answered():
    assert set(disputed(LOG, by="C")["item"]) == {"differing", "doubted"}
    for name in ("A", "a"):
        assert disputed(LOG, by=name)["item"].to_list() == ["doubted alone"]


def test_what_is_decided_is_not_asked_again():
    assert "three" not in set(disputed(LOG, decided=["three"])["item"])


@given(st.permutations(range(len(LOG))), st.integers(0, 5))
def test_the_order_depends_on_the_seed_alone(order, seed):
    assert disputed(LOG.iloc[order], seed=seed)["item"].to_list() == (
        disputed(LOG, seed=seed)["item"].to_list()
    )


def test_an_item_keeps_its_place_as_others_come_in():
    log = pd.DataFrame(
        [(f"item {n}", who, said) for n in range(40) for who, said in (("A", "x"), ("B", "y"))],
        columns=["item", "annotator", "response"],
    )
    whole = disputed(log)["item"].to_list()
    part = disputed(log[:40])["item"].to_list()
    assert [item for item in whole if item in part] == part
    assert whole != sorted(whole, key=lambda name: int(name.split()[1]))


def test_the_last_adjudication_counts():
    made = pd.DataFrame([("x", "sick"), ("y", "sick"), ("x", "healthy")], columns=["item", "label"])
    assert labels_decided(made).to_dict() == {"x": "healthy", "y": "sick"}
    assert labels_decided(None).empty


def test_the_standing_adds_up():
    found = standing(LOG, decided=["three", "agreed"])
    assert (found.items, found.agreed, found.alone) == (6, 2, 1)
    assert (found.disagreements, found.unsure, found.decided, found.open) == (2, 2, 1, 3)


def test_no_disputed_item_is_an_empty_table():
    found = disputed(LOG[LOG["item"] == "agreed"])
    assert found.empty
    assert list(found) == ["item", "why", "answers", "votes"]

"""Votes become targets: shares of the classes, doubt spread over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.data.votes import vote_shares
from deadlib.errors import RecipeError


@dataclass
class Table:
    """As much of a dataset as is asked."""

    manifest: pd.DataFrame
    classes: list[str]
    folder: str = "dataset"


def table(rows: list[dict[str, float | str | None]], classes: str = "AB") -> Table:
    frame = pd.DataFrame(rows)
    frame.insert(0, "example_id", [f"e{number}" for number in range(len(rows))])
    return Table(frame, list(classes))


def test_shares_are_those_of_the_votes_and_unsure_counts_for_all() -> None:
    found = vote_shares(
        table(
            [
                {"label": "A", "votes_A": 0.75, "votes_B": 0.25, "votes_unsure": 0.0},
                {"label": "A", "votes_A": 0.5, "votes_B": 0.0, "votes_unsure": 0.5},
                {"label": None, "votes_A": 0.5, "votes_B": 0.5, "votes_unsure": 0.0},
            ]
        )
    )
    assert found.dtype == np.float32
    assert found.tolist() == [[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]]


def test_without_votes_the_label_is_sure() -> None:
    nothing = {"votes_A": None, "votes_B": None}
    rows = [{"label": label, **nothing} for label in ("A", "B", None)]
    found = vote_shares(table([*rows, {"label": "B", "votes_A": None, "votes_B": 1.0}]))
    assert found.tolist() == [[1, 0], [0, 1], [0, 0], [0, 1]]


def test_votes_for_a_class_that_is_left_out_are_spread() -> None:
    found = vote_shares(table([{"label": "A", "votes_A": 0.6, "votes_B": 0.0, "votes_C": 0.4}]))
    assert found[0] == pytest.approx([0.8, 0.2])


def test_a_class_without_votes_is_refused() -> None:
    with pytest.raises(RecipeError, match="dataset has no column votes_B; convert with"):
        vote_shares(table([{"label": "A", "votes_A": 1.0}]))


@pytest.mark.parametrize(("a", "b"), [(0.75, 0.5), (-0.25, 0.5), (2.0, -1.0)])
def test_what_is_no_share_is_named(a: float, b: float) -> None:
    good = {"label": "A", "votes_A": 1.0, "votes_B": 0.0}
    with pytest.raises(RecipeError, match=f"example e1 has votes_A {a:g}, votes_B {b:g}"):
        vote_shares(table([good, {"label": "A", "votes_A": a, "votes_B": b}]))


@given(st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any))
def test_targets_sum_to_one(given: list[int]) -> None:
    names = ("votes_A", "votes_B", "votes_C", "votes_unsure")
    shares = {name: number / sum(given) for name, number in zip(names, given, strict=True)}
    found = vote_shares(table([{"label": "A", **shares}], "ABC"))
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()

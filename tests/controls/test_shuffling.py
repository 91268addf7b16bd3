"""Labels are dealt to whole groups, and nothing else about them changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.controls.shuffling import Dealer, folds_of, joint, units_of


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 5))
def test_a_group_keeps_one_label_and_labels_keep_their_groups(
    seed: int, groups: int, each: int
) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    target = rng.integers(0, 3, groups)[group]
    dealt = Dealer(target, group, group).deal(rng)
    assert all(len(set(dealt[group == g])) == 1 for g in range(groups))
    assert sorted(dealt) == sorted(target)


@given(st.integers(0, 10_000))
def test_nothing_moves_between_strata(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(20), 3)
    stratum = (np.arange(20) // 7)[group]
    target = rng.integers(0, 2, 20)[group]
    dealt = Dealer(target, group, group, stratum).deal(rng)
    for s in range(3):
        assert sorted(dealt[stratum == s]) == sorted(target[stratum == s])


def test_every_deal_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    target, group = np.array([0, 0, 1, 1]), np.arange(4)
    dealer = Dealer(target, group, group)
    dealt = pd.Series([tuple(dealer.deal(rng)) for _ in range(6000)]).value_counts()
    assert len(dealt) == 6
    assert dealt.between(880, 1120).all()


def test_in_groups_of_several_labels_units_are_mixed() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 12)
    unit = np.repeat(np.arange(8), 3)
    target = (np.arange(8) % 2)[unit]
    dealer = Dealer(target, unit, group)
    for _ in range(20):
        dealt = dealer.deal(rng)
        assert all(len(set(dealt[unit == u])) == 1 for u in range(8))
        assert dealt[group == 0].sum() == dealt[group == 1].sum() == 6
    assert len({tuple(dealer.deal(rng)) for _ in range(50)}) > 10


def test_a_unit_is_the_coarsest_level_with_one_label() -> None:
    frame = pd.DataFrame({"experiment": ["N1"] * 8, "well": list("AABBCCDD")})
    group = np.zeros(8, int)
    by_well = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    assert (units_of(frame, group, by_well) == np.repeat(range(4), 2)).all()
    assert (units_of(frame, group, np.zeros(8, int)) == 0).all()
    mixed = np.array([0, 1] * 4)
    assert len(set(units_of(frame, group, mixed))) == 8


def test_a_group_never_crosses_folds() -> None:
    group = np.repeat(np.arange(9), 4)
    for fold in folds_of(group, 5, 3, np.random.default_rng(0)):
        assert all(len(set(fold[group == g])) == 1 for g in range(9))
        assert np.bincount(fold).tolist() == [12, 12, 12]


def test_joint_numbers_the_combinations_that_occur() -> None:
    assert joint(np.array([1, 1, 0]), np.array([5, 7, 5])).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("target", "units", "groups", "strata"),
    [
        ([0, 0, 1, 1, 1], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], None),
        ([0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 0, 1]),
        ([0, 1, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2], None),
    ],
)
def test_the_smallest_p_is_how_often_the_same_labels_are_dealt(
    target: list[int], units: list[int], groups: list[int], strata: list[int] | None
) -> None:
    dealer = Dealer(*map(np.array, (target, units, groups)), strata and np.array(strata))
    rng = np.random.default_rng(0)
    same = np.mean([np.array_equal(dealer.deal(rng), target) for _ in range(4000)])
    assert same == pytest.approx(dealer.chance_of_the_same, abs=0.03)

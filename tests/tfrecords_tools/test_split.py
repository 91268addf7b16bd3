"""Groups stay whole, classes go everywhere, and the seed decides alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tfrecords_tools.errors import LeakError, PlanError
from tfrecords_tools.settings import SPLITS
from tfrecords_tools.split import (
    assign_splits,
    check_classes,
    group_columns,
    group_names,
    held_out,
    held_out_groups,
    join_identical,
)

SHARES = (0.7, 0.15, 0.15)

GROUPS = st.dictionaries(
    st.text("abcdef0123", min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(["dead", "living", "sick"]), st.integers(1, 9), min_size=1),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(GROUPS, st.integers(0, 5))
def test_the_split_depends_on_seed_and_groups_alone(
    counts: dict[str, dict[str, int]], seed: int
) -> None:
    backwards = {group: counts[group] for group in reversed(list(counts))}
    assert assign_splits(counts, SHARES, seed) == assign_splits(backwards, SHARES, seed)


@settings(deadline=None)
@given(GROUPS)
def test_every_group_gets_one_of_the_splits_asked_for(counts: dict[str, dict[str, int]]) -> None:
    assigned = assign_splits(counts, (0.8, 0.2, 0.0), seed=1)
    assert set(assigned) == set(counts)
    assert set(assigned.values()) <= {"train", "validation"}


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.integers(1, 20), min_size=3, max_size=12),
        min_size=2,
    ),
    st.integers(0, 3),
)
def test_every_class_stands_in_every_split_where_it_has_three_groups(
    sizes: dict[str, list[int]], seed: int
) -> None:
    counts = {
        f"{label}{number}": {label: size}
        for label, found in sizes.items()
        for number, size in enumerate(found)
    }
    assigned = assign_splits(counts, SHARES, seed)
    for label in sizes:
        assert {assigned[group] for group in counts if label in counts[group]} == set(SPLITS)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_each_class_comes_near_its_share_in_each_split(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    counts = {
        f"g{number}": {f"class{number % classes}": int(rng.integers(1, 8))} for number in range(200)
    }
    assigned = assign_splits(counts, SHARES, seed)
    for label in range(classes):
        members = {g: found for g, found in counts.items() if f"class{label}" in found}
        total = sum(found[f"class{label}"] for found in members.values())
        for split, share in zip(SPLITS, SHARES, strict=True):
            got = sum(
                found[f"class{label}"] for g, found in members.items() if assigned[g] == split
            )
            assert abs(got / total - share) < 0.04


def test_another_seed_gives_another_split() -> None:
    counts = {f"g{number}": {"dead": 1} for number in range(30)}
    assert assign_splits(counts, SHARES, seed=0) != assign_splits(counts, SHARES, seed=1)


def test_no_split_collects_the_large_groups() -> None:
    rng = np.random.default_rng(0)
    counts = {f"g{number}": {"dead": int(rng.integers(1, 12))} for number in range(600)}
    assigned = assign_splits(counts, SHARES, seed=0)
    means = [
        np.mean([counts[group]["dead"] for group in counts if assigned[group] == split])
        for split in SPLITS
    ]
    assert max(means) - min(means) < 1.5


def test_a_split_with_held_out_groups_takes_no_others() -> None:
    counts = {f"g{number}": {"dead": 1, "living": 1} for number in range(20)}
    assigned = assign_splits(counts, SHARES, seed=0, fixed={"g3": "test"})
    assert [group for group in counts if assigned[group] == "test"] == ["g3"]
    assert sum(split == "train" for split in assigned.values()) in (15, 16, 17)


def test_groups_without_a_split_left_are_refused() -> None:
    with pytest.raises(PlanError, match="no split is left"):
        assign_splits({"a": {"x": 1}, "b": {"x": 1}}, (0, 0, 1), seed=0, fixed={"a": "test"})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40))
def test_groups_joined_by_identical_images_are_the_connected_components(
    pairs: list[tuple[int, int]],
) -> None:
    groups = [f"g{group}" for group, _ in pairs]
    names, joined = join_identical(groups, [image for _, image in pairs])
    nodes, images = zip(*pairs, strict=True)
    size = 26
    edges = coo_array(
        (np.ones(len(pairs)), (nodes, [13 + image for image in images])), shape=(size, size)
    )
    _, components = connected_components(edges, directed=False)
    for one, first in enumerate(nodes):
        for other, second in enumerate(nodes):
            assert (names[one] == names[other]) == (components[first] == components[second])
    assert all(len(found) > 1 for found in joined)


def test_images_without_identity_join_nothing() -> None:
    assert join_identical(["a", "b"], [None, None]) == (["a", "b"], [])


def test_well_b03_of_two_plates_is_two_wells() -> None:
    columns = ["source_id", "plate", "well", "field"]
    assert group_columns((), columns) == ("plate", "well")
    assert group_columns(("plate",), columns) == ("plate",)
    frame = pd.DataFrame({"plate": ["1", "2", None], "well": ["B03"] * 3})
    assert list(group_names(frame, ("plate", "well"))) == ["1/B03", "2/B03", "unknown/B03"]


def test_without_wells_the_position_or_the_image_is_the_group() -> None:
    assert group_columns((), ["source_id", "position"]) == ("position",)
    assert group_columns((), ["source_id", "field", "plate"]) == ("plate", "field")
    assert group_columns((), ["source_id", "series"]) == ("source_id",)
    assert group_columns(("example",), ["source_id"]) == ("example_id",)
    assert group_columns(("cell_line", "well"), ["well", "cell_line", "experiment"]) == (
        "cell_line",
        "experiment",
        "well",
    )


def test_a_row_and_a_column_are_a_well() -> None:
    columns = ["source_id", "plate", "row", "column", "field"]
    assert group_columns((), columns) == ("plate", "row", "column")
    assert group_columns(("row",), columns) == ("plate", "row")


def test_splitting_by_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(PlanError, match="did you mean plate"):
        group_columns(("plates",), ["plate", "well"])


@pytest.fixture
def wells() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example_id": [f"e{n}" for n in range(6)],
            "source_id": [f"s{n}" for n in range(6)],
            "experiment": ["N1", "N1", "N2", "N2", "N3", "N3"],
            "plate": [1, 2, 1, 2, 1, 2],
            "group": ["a", "a", "b", "b", "c", "c"],
        }
    )


def test_whole_groups_are_held_out_by_name(wells: pd.DataFrame) -> None:
    target = held_out(wells, ["experiment=N2", "validation:experiment=N3"])
    assert held_out_groups(wells, target) == {"b": "test", "c": "validation"}


def test_holding_out_part_of_a_group_is_refused_with_the_ids(wells: pd.DataFrame) -> None:
    with pytest.raises(LeakError, match=r"a cannot be torn apart.*not held out: e1; test: e0"):
        held_out_groups(wells, held_out(wells, ["plate=1"]))


def test_holding_out_what_does_not_occur_names_what_does(wells: pd.DataFrame) -> None:
    with pytest.raises(PlanError, match="experiment has N1, N2, N3"):
        held_out(wells, ["experiment=N9"])
    with pytest.raises(PlanError, match="did you mean experiment"):
        held_out(wells, ["experimnt=N1"])
    with pytest.raises(PlanError, match="held out for test already"):
        held_out(wells, ["experiment=N1", "validation:plate=1"])


def test_a_class_with_one_group_is_refused_by_name() -> None:
    frame = pd.DataFrame(
        {
            "label": ["dead", "living", "living", "living"],
            "group": ["w1", "w2", "w3", "w4"],
            "split": ["train", "train", "validation", "test"],
        }
    )
    with pytest.raises(PlanError, match=r"class dead: 1 group \(well\) with 1 example"):
        check_classes(frame, SHARES, "well")


def test_a_class_missing_from_one_split_is_said() -> None:
    frame = pd.DataFrame(
        {
            "label": ["dead", "dead", "living", "living", "living"],
            "group": ["w1", "w2", "w2", "w3", "w4"],
            "split": ["train", "test", "test", "validation", "train"],
        }
    )
    (warning,) = check_classes(frame, SHARES, "well")
    assert "validation has no dead" in warning

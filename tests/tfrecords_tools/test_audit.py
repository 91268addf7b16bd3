"""Leaks stop a plan; columns that give the label away are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats.contingency import association

from tfrecords_tools.audit import check_leaks, conflicting_labels, confounding, cramers_v
from tfrecords_tools.errors import LeakError


def examples(**columns: Any) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    ids = [f"i{n}" for n in range(count)]
    frame = {"example_id": ids, "source_id": ids, "group": ids, "split": ["train"] * count}
    return pd.DataFrame(frame | columns)


@settings(deadline=None)
@given(arrays(np.int64, (3, 4), elements=st.integers(1, 30)))
def test_cramers_v_agrees_with_scipy(table: np.ndarray) -> None:
    assert cramers_v(table.astype(float)) == pytest.approx(association(table, method="cramer"))


def test_a_group_in_two_splits_stops_the_plan_with_its_ids() -> None:
    frame = examples(well=["B03", "B03", "B04"], split=["train", "test", "train"])
    with pytest.raises(LeakError, match=r"B03 stands in two splits: i0 \(train\), i1 \(test\)"):
        check_leaks(frame, ("well",), ["x", "y", "z"])


def test_identical_images_in_two_splits_stop_the_plan_with_their_ids() -> None:
    frame = examples(well=["B03", "B04"], split=["train", "test"])
    with pytest.raises(LeakError, match=r"i0 \(train\), i1 \(test\)"):
        check_leaks(frame, ("well",), ["same", "same"])


def test_blank_images_are_no_leak() -> None:
    frame = examples(well=["B03", "B04"], split=["train", "test"])
    proof = check_leaks(frame, ("well",), [None, None])
    assert "2 groups (well), none in two splits" in proof


@pytest.mark.parametrize("column", ["experiment", "plate", "cell_line", "day", "bit_depth"])
def test_a_column_that_coincides_with_the_label_is_named(column: str) -> None:
    labels = ["dead"] * 20 + ["living"] * 20
    frame = examples(label=labels, **{column: ["one"] * 19 + ["two"] * 21})
    (found,) = confounding(frame, [column])
    assert found.column == column
    assert found.accuracy_from_column == pytest.approx(39 / 40)
    assert found.majority == 0.5
    assert f"knowing {column} gives the label right 97.5%" in found.sentence


def test_an_experiment_for_each_class_leaves_no_honest_split() -> None:
    frame = examples(label=["CPT"] * 10 + ["DMSO"] * 10, experiment=["N3"] * 10 + ["N1"] * 10)
    (found,) = confounding(frame, ["experiment"])
    assert "No honest split by experiment exists" in found.sentence


def test_a_column_independent_of_the_label_is_not_named() -> None:
    rng = np.random.default_rng(0)
    frame = examples(label=["dead", "living"] * 50, plate=list(rng.integers(0, 3, 100)))
    assert confounding(frame, ["plate"]) == []


def test_a_column_that_names_single_images_is_not_named() -> None:
    for count in (3, 50):
        frame = examples(label=["dead", "living"] * count, number=list(range(2 * count)))
        assert confounding(frame, ["number"]) == []


def test_wells_and_treatments_make_the_label_and_are_not_named() -> None:
    labels = ["dead"] * 20 + ["living"] * 20
    two = ["a"] * 20 + ["b"] * 20
    frame = examples(label=labels, well=two, treatment=two, light_dose_s=two)
    assert confounding(frame, ["well", "treatment", "light_dose_s"]) == []


def test_what_became_of_the_cells_is_no_shortcut_but_their_line_is() -> None:
    labels, two = ["dead", "living"] * 20, ["a", "b"] * 20
    frame = examples(label=labels, cells=two, dying_share=two, cell_line=two)
    found = confounding(frame, ["cells", "dying_share", "cell_line"])
    assert [item.column for item in found] == ["cell_line"]


def test_replicates_of_each_class_are_not_named() -> None:
    mice = [f"mouse{n}" for n in range(10) for _ in range(6)]
    labels = ["dead"] * 30 + ["living"] * 30
    frame = examples(label=labels, mouse=mice, group=mice)
    assert confounding(frame, ["mouse"]) == []
    assert len(confounding(frame.assign(group=frame["example_id"]), ["mouse"])) == 1


def test_tiles_of_one_image_are_not_evidence() -> None:
    images = [f"i{n}" for n in range(6) for _ in range(30)]
    labels = [label for label in ["a", "b", "a", "b", "a", "b"] for _ in range(30)]
    days = [day for day in [1, 2, 1, 2, 1, 1] for _ in range(30)]
    frame = examples(label=labels, day=days, source_id=images, group=images)
    assert confounding(frame, ["day"]) == []


def test_the_same_picture_under_two_labels_is_listed() -> None:
    window = {name: [0, 0, 0] for name in ("top_px", "left_px", "height_px", "width_px")}
    frame = examples(label=["dead", "living", "dead"], **window)
    ((one, other),) = conflicting_labels(frame, ["same", "same", "else"], boxes=False)
    assert (one["example_id"], other["example_id"]) == ("i0", "i1")


def test_boxes_drawn_twice_around_one_cell_are_compared() -> None:
    frame = examples(
        label=["dead", "living", "living"],
        xmin=[10.0, 11.0, 60.0],
        ymin=[10.0, 9.0, 60.0],
        xmax=[30.0, 30.0, 80.0],
        ymax=[30.0, 31.0, 80.0],
    )
    conflicts = conflicting_labels(frame, ["same", "same", "same"], boxes=True)
    assert [[item["example_id"] for item in pair] for pair in conflicts] == [["i0", "i1"]]

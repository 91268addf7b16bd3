"""The report shows which groups stand where, and is loud where cells stand in two splits."""

from __future__ import annotations

import copy

import pytest

from deadlib.evaluation import assess
from deadlib.evaluation.split_proof import split_proof

PAIR = {
    "one": "f_1.png",
    "other": "f_2.png",
    "kind": "overlap",
    "down_px": 0,
    "right_px": -562,
    "overlap": 0.561,
    "correlation": 0.9,
    "splits": ["test", "train"],
}
SIMILAR = {"compared": 40, "joined": False, "across_splits": 1, "pairs": [PAIR]}


@pytest.fixture
def section(table, write):
    """section(metadata) of a table that was predicted with it."""
    return lambda metadata: split_proof(assess(write(table(), metadata), bootstrap=100))


def test_which_groups_stand_where(section, metadata):
    metadata["split"] |= {
        "groups": {"train": 33, "test": 2},
        "members": {"train": [f"w{n}" for n in range(33)], "test": ["w98", "w99"]},
    }
    found = section(metadata)
    text = str(found.html)
    assert "w98, w99</td>" in text
    assert "w29 and 3 more" in text
    assert "20 groups (well), none in two splits" in text
    assert "Nobody looked for images that show the same cells" in text
    assert found.numbers["members"]["test"] == ["w98", "w99"]
    assert found.remarks == ()


def test_the_same_cells_in_the_tested_split_raise_the_alarm(section, metadata):
    metadata["card"]["similar"] = SIMILAR
    found = section(metadata)
    (remark,) = found.remarks
    assert remark.level == "alarm"
    assert "1 pair of images that show the same cells" in remark.text
    assert "f_1.png" in str(found.html)
    assert "56&nbsp;%" in str(found.html).replace("\u00a0", "&nbsp;").replace(" %", "&nbsp;%")
    assert found.numbers["similar"]["pairs"][0]["right_px"] == -562


def test_the_splits_of_a_dataset_that_was_not_trained_on_are_no_alarm(section, metadata):
    metadata["card"]["similar"] = SIMILAR
    metadata["trained_on_fingerprint"] = "another"
    assert section(metadata).remarks == ()


def test_between_other_splits_it_is_a_warning(section, metadata):
    similar = copy.deepcopy(SIMILAR)
    similar["pairs"][0]["splits"] = ["train", "validation"]
    metadata["card"]["similar"] = similar
    (remark,) = section(metadata).remarks
    assert remark.level == "warning"
    assert "tested on cells that it had learnt" not in remark.text


def test_what_chose_the_weights_is_not_called_learnt_from(section, metadata):
    similar = copy.deepcopy(SIMILAR)
    similar["pairs"][0]["splits"] = ["test", "validation"]
    metadata["card"]["similar"] = similar
    (remark,) = section(metadata).remarks
    assert remark.level == "alarm"
    assert "chosen or calibrated on cells of its test" in remark.text


def test_within_one_split_they_are_counted_and_no_alarm(section, metadata):
    similar = copy.deepcopy(SIMILAR) | {"across_splits": 0, "joined": True}
    similar["pairs"][0]["splits"] = ["train"]
    metadata["card"]["similar"] = similar
    found = section(metadata)
    assert found.remarks == ()
    assert "kept together" in str(found.html)
    assert "f_1.png" not in str(found.html)


def test_a_table_without_a_split_has_no_such_section(section):
    assert section({}) is None

"""Views: other splits and classes of a dataset that is converted already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfrecords_tools import ConversionSettings, Dataset, convert
from tfrecords_tools.card import data_card
from tfrecords_tools.errors import LeakError, PlanError
from tfrecords_tools.random_access import SplitReader
from tfrecords_tools.settings import SPLITS
from tfrecords_tools.view import View, viewed

LINES, EXPERIMENTS, WELLS = ("H9", "PC3", "U2"), ("N1", "N2", "N3", "N4"), (1, 2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two treatments of three lines, two wells of two tiled images in each of four experiments."""
    source: Path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    field = 0
    for line in LINES:
        for treatment in ("CPT", "DMSO"):
            for experiment in EXPERIMENTS:
                for well in WELLS:
                    for _ in range(2):
                        field += 1
                        pixels = rng.integers(0, 256, (8, 12), dtype=np.uint8)
                        name = f"{line}_{treatment}{well}_1H_RGB_{field:04}_{experiment}.png"
                        Image.fromarray(pixels).save(source / name)
    # the same picture in two wells
    twin = next(source.glob("U2_CPT1_*_N4.png"))
    (source / "U2_CPT2_1H_RGB_0999_N3.png").write_bytes(twin.read_bytes())
    by_name = ConversionSettings(labels="pattern", pattern="celldeath", tile=(2, 2))
    return convert(source, tmp_path_factory.mktemp("dataset"), by_name)


def splits_of(found: Dataset, column: str) -> dict[str, set[str]]:
    frame = found.manifest[found.manifest["split"].notna()]
    return {str(key): set(part["split"]) for key, part in frame.groupby(column)}


def test_a_view_that_asks_nothing_is_the_dataset_itself(dataset):
    assert viewed(dataset, View()) is dataset


def test_a_view_keeps_rows_files_and_fingerprint(dataset):
    found = viewed(dataset, View(where=("cell_line == U2",)))
    assert found.fingerprint == dataset.fingerprint
    assert list(found.manifest["example_id"]) == list(dataset.manifest["example_id"])
    assert list(found.manifest.index) == list(dataset.manifest.index)


def test_only_examples_that_meet_all_conditions_are_in_a_split(dataset):
    found = viewed(dataset, View(where=("cell_line == U2", "experiment != N1")))
    inside = found.manifest["split"].notna()
    expected = (found.manifest["cell_line"] == "U2") & (found.manifest["experiment"] != "N1")
    assert (inside == expected).all()
    # the others stay in the split of the conversion
    assert (found.manifest["split"][inside] == dataset.manifest["split"][inside]).all()


def test_classes_are_made_of_columns(dataset):
    found = viewed(dataset, View(label=("cell_line", "treatment")))
    assert found.classes == [f"{line} {what}" for line in LINES for what in ("CPT", "DMSO")]
    row = found.manifest.iloc[0]
    assert row["label"] == f"{row['cell_line']} {row['treatment']}"


def test_a_class_that_no_example_has_left_is_none(dataset):
    found = viewed(dataset, View(label=("cell_line",), where=("cell_line != H9",)))
    assert found.classes == ["PC3", "U2"]


def test_what_is_held_out_is_the_test_split_and_nothing_else_is(dataset):
    found = viewed(dataset, View(hold_out=("cell_line=PC3",)))
    places = splits_of(found, "cell_line")
    assert places.pop("PC3") == {"test"}
    assert all(place == {"train", "validation"} for place in places.values())


def test_wells_do_not_cross_splits_whatever_is_held_out(dataset):
    found = viewed(dataset, View(hold_out=("cell_line=PC3",), seed=3))
    assert all(len(places) == 1 for places in splits_of(found, "group").values())


def test_a_whole_experiment_is_one_group_when_asked(dataset):
    found = viewed(dataset, View(by=("experiment",), fractions=(0.5, 0.25, 0.25)))
    assert all(len(places) == 1 for places in splits_of(found, "experiment").values())


def test_identical_pictures_join_the_groups_of_a_view(dataset):
    found = viewed(dataset, View(by=("experiment",), fractions=(0.5, 0.25, 0.25)))
    places = splits_of(found, "experiment")
    assert places["N3"] == places["N4"]
    with pytest.raises(LeakError, match="cannot be torn apart"):
        viewed(dataset, View(by=("experiment",), hold_out=("experiment=N4",)))


def test_the_random_split_tears_images_apart_and_says_so(dataset):
    found = viewed(dataset, View(by=("example",), fractions=(0.5, 0.25, 0.25)))
    assert any(len(places) > 1 for places in splits_of(found, "source_id").values())
    assert any("several splits" in text for text in data_card(found)["warnings"])


@settings(max_examples=10)
@given(folds=st.integers(2, 6), seed=st.integers(0, 1000))
def test_every_example_is_in_the_test_split_of_just_one_fold(dataset, folds, seed):
    views = [viewed(dataset, View(folds=folds, fold=fold, seed=seed)) for fold in range(folds)]
    tested = np.array([(found.manifest["split"] == "test").to_numpy() for found in views])
    assert (tested.sum(axis=0) == 1).all()
    for found in views:
        assert all(len(places) == 1 for places in splits_of(found, "group").values())
        assert {"train", "validation"} <= set(found.splits)


def test_folds_hold_the_classes_in_like_shares(dataset):
    for fold in range(4):
        found = viewed(dataset, View(folds=4, fold=fold))
        counts = found.info["split"]["counts"]["test"]
        assert counts["CPT"] == pytest.approx(counts["DMSO"], rel=0.25)


def test_a_share_of_the_training_groups_is_set_apart_for_calibration(dataset):
    before = viewed(dataset, View(folds=4, fold=1))
    found = viewed(dataset, View(folds=4, fold=1, calibration=0.25))
    assert found.splits == ["train", "validation", "test", "calibration"]
    was = before.manifest["split"][found.manifest["split"] == "calibration"]
    assert set(was) == {"train"}
    share = (found.manifest["split"] == "calibration").sum() / (
        before.manifest["split"] == "train"
    ).sum()
    assert 0.15 < share < 0.35


def test_the_same_view_gives_the_same_splits(dataset):
    view = View(hold_out=("experiment=N1",), seed=5)
    first, second = viewed(dataset, view), viewed(dataset, view)
    assert first.manifest.equals(second.manifest)
    other = viewed(dataset, View(hold_out=("experiment=N1",), seed=6))
    assert not other.manifest["split"].equals(first.manifest["split"])


def test_examples_of_a_view_are_read_from_shards_of_any_split(dataset):
    found = viewed(dataset, View(hold_out=("cell_line=PC3",)))
    reader = SplitReader(found, "test")
    came_from = set(dataset.manifest["split"].iloc[reader.rows])
    assert len(came_from) > 1
    for number in (0, len(reader) - 1):
        expected = dataset.read_example(int(reader.rows[number]))
        assert (reader.read(number) == expected).all()


def test_the_split_proof_is_that_of_the_view(dataset):
    found = viewed(dataset, View(hold_out=("cell_line=PC3",), seed=1))
    told = found.info["split"]
    assert told["hold_out"] == ["cell_line=PC3"]
    assert told["view"] == {"hold_out": ["cell_line=PC3"], "seed": 1}
    assert any("none in two splits" in sentence for sentence in told["proof"])
    counts = found.manifest[found.manifest["split"] == "test"]["label"].value_counts()
    assert told["counts"]["test"] == counts.to_dict()


def test_the_card_counts_only_what_the_view_has(dataset):
    found = viewed(dataset, View(where=("cell_line == U2",)))
    card = data_card(found)
    assert card["examples"] == int((dataset.manifest["cell_line"] == "U2").sum())
    assert card["columns"]["cell_line"]["values"] == 1


def test_the_table_of_a_view_differs_in_three_columns_only(dataset):
    found = viewed(dataset, View(label=("cell_line",), hold_out=("experiment=N1",)))
    stored, table = pq.read_table(dataset.manifest_path), found.manifest_table
    assert table.schema == stored.schema
    for name in stored.column_names:
        if name not in ("split", "label", "group"):
            assert table[name] == stored[name]
    assert table["split"].to_pylist() == list(found.manifest["split"])


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View(where=("cell_line == XX",)), "no example meets"),
        (View(where=("line == U2",)), "no such column"),
        (View(label=("cellline",)), "did you mean cell_line"),
        (View(hold_out=("experiment=N9",)), "has N1, N2, N3, N4"),
        (View(folds=3, fold=3), "from 0"),
        (View(folds=200), "need as many groups"),
        (View(folds=3, hold_out=("experiment=N1",)), "leave one of them out"),
        (
            View(
                calibration=0.5,
                where=("cell_line == U2", "treatment == CPT", "experiment == N1"),
                fractions=(0.5, 0.5, 0.0),
            ),
            "another share",
        ),
    ],
)
def test_a_view_that_does_not_fit_is_refused_with_what_to_do(dataset, view, words):
    with pytest.raises(PlanError, match=words):
        viewed(dataset, view)


def test_splits_of_a_converted_dataset_stay_in_their_order(dataset):
    assert dataset.splits == [name for name in SPLITS if name in set(dataset.manifest["split"])]


def test_what_is_not_learnt_from_is_still_tested(dataset: Dataset) -> None:
    """Taught on one treatment of two lines; the held-out experiment keeps all, without the labels
    that nobody learnt."""
    learnt = View(
        label=("cell_line",), learn_from=("cell_line != H9",), hold_out=("experiment=N1",)
    )
    every = viewed(dataset, replace(learnt, learn_from=()))
    found = viewed(dataset, learnt)
    test = found.manifest[found.manifest["split"] == "test"]
    assert set(test["example_id"]) == set(
        every.manifest[every.manifest["split"] == "test"]["example_id"]
    )
    assert test[test["cell_line"] == "H9"]["label"].isna().all()
    assert (test["cell_line"] == "H9").any()
    rest = found.manifest[found.manifest["split"].isin(["train", "validation"])]
    assert "H9" not in set(rest["cell_line"])
    assert "H9" not in found.classes
    with pytest.raises(PlanError, match="learn_from cell_line == XX: no example meets this"):
        viewed(dataset, View(learn_from=("cell_line == XX",)))

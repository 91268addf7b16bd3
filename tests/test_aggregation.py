"""Fields become wells by name, in any order, and ties are decided by a rule that is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from deadlib.aggregation import aggregate, aggregate_file, class_priority, places, pooled
from deadlib.errors import PredictionError
from deadlib.predictions import PredictionTable, open_predictions, write_predictions

CLASSES = ("apoptosis", "ferroptosis", "healthy")


def fields(wells=6, per_well=4, seed=0, **more):
    """Field rows of wells on two plates that share their names."""
    rng = np.random.default_rng(seed)
    well = np.repeat(np.arange(wells), per_well)
    logits = rng.normal(0, 1.5, (len(well), 3))
    label = np.array(CLASSES)[well % 3]
    logits[np.arange(len(well)), well % 3] += 1
    found = softmax(logits, axis=1)
    frame = pd.DataFrame(
        {
            "example_id": [f"r{i}" for i in range(len(well))],
            "label": label,
            "plate": [f"p{w % 2}" for w in well],
            "well": [f"B{w // 2:02d}" for w in well],
            "field": [str(i % per_well) for i in range(len(well))],
            "viability": 0.1 * well,
            "cells": rng.integers(1, 50, len(well)),
            "predicted": np.array(CLASSES)[found.argmax(axis=1)],
            **{f"probability_{name}": found[:, k] for k, name in enumerate(CLASSES)},
            **more,
        }
    )
    return frame, found


def table(frame: pd.DataFrame, **more) -> PredictionTable:
    found = frame[[f"probability_{name}" for name in CLASSES]].to_numpy()
    frame = frame.set_axis(pd.RangeIndex(1, len(frame) + 1))
    return PredictionTable(Path("table.parquet"), frame, CLASSES, found, **more)


def test_a_well_is_the_mean_of_its_fields_found_by_name():
    frame, _ = fields()
    expected = frame.groupby(["plate", "well"])[[f"probability_{n}" for n in CLASSES]].mean()
    shuffled = frame.sample(frac=1, random_state=3)
    got = aggregate(table(shuffled)).frame.set_index(["plate", "well"]).sort_index()
    np.testing.assert_allclose(got[expected.columns], expected, rtol=1e-12)
    best = np.array(CLASSES)[expected.to_numpy().argmax(axis=1)]
    assert got["predicted"].tolist() == best.tolist()
    assert got["fields"].tolist() == [4] * 6


def test_wells_of_one_name_on_two_plates_are_two_wells():
    frame, _ = fields()
    assert aggregate(table(frame), ["well"]).frame["example_id"].tolist() == [
        "p0/B00", "p1/B00", "p0/B01", "p1/B01", "p0/B02", "p1/B02",
    ]  # fmt: skip
    # an empty column tells nothing apart
    alone = aggregate(table(frame.assign(plate=None, label="healthy")))
    assert alone.frame["example_id"].tolist() == ["B00", "B01", "B02"]


def test_what_a_well_has_in_common_stays_and_the_rest_is_told():
    frame, _ = fields()
    got = aggregate(table(frame))
    assert got.frame["viability"].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert got.metadata["aggregation"]["dropped"] == ["field", "cells"]
    assert "field" not in got.frame


@given(st.data())
def test_the_mean_of_logits_is_that_of_the_network(data):
    """The table holds probabilities, not logits; a constant in a row must not matter."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows, groups = 30, data.draw(st.integers(1, 6))
    index = np.r_[np.arange(groups), rng.integers(0, groups, rows - groups)]
    logits = rng.normal(0, 3, (rows, 4)) + rng.normal(0, 20, (rows, 1))
    got = pooled(index, softmax(logits, axis=1), how="logits")
    expected = np.array([softmax(logits[index == g].mean(axis=0)) for g in range(groups)])
    np.testing.assert_allclose(got.probabilities, expected, rtol=1e-8)


def test_the_median_of_logits_forgives_one_field_that_is_far_off():
    logits = np.array([[1.0, -1.0], [0.8, -0.8], [-9.0, 9.0]])
    got = pooled(np.zeros(3, int), softmax(logits, axis=1), how="median")
    np.testing.assert_allclose(got.probabilities, softmax([[0.8, -0.8]], axis=1))
    assert pooled(np.zeros(3, int), softmax(logits, axis=1), how="logits").predicted_index == [1]


def test_the_median_takes_logits_that_are_moved_to_the_mean_0():
    logits = np.random.default_rng(0).normal(0, 3, (7, 4))
    centred = logits - logits.mean(axis=1, keepdims=True)
    got = pooled(np.zeros(7, int), softmax(logits, axis=1), how="median")
    np.testing.assert_allclose(got.probabilities, softmax([np.median(centred, axis=0)], axis=1))


VOTES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=10), min_size=1, max_size=20)


@given(VOTES)
def test_the_published_ties_are_a_priority(wells):
    """The released code drew three numbers anew from one seed for each tie; they never differ."""
    index = np.repeat(np.arange(len(wells)), [len(calls) for calls in wells])
    calls = np.eye(3)[np.concatenate(wells)]
    priority = class_priority(("ferroptosis", "healthy", "apoptosis"), CLASSES)
    got = pooled(index, calls, how="vote", priority=priority)
    for well, votes in enumerate(wells):
        counts = np.bincount(votes, minlength=3)
        most = counts == counts.max()
        drawn = np.random.RandomState(2022).rand(3)
        assert got.predicted_index[well] == (counts * most * drawn).argmax()
        assert got.tied[well] == (most.sum() > 1)
        assert got.votes[well].tolist() == counts.tolist()


def test_a_tied_vote_goes_to_the_higher_mean_probability():
    # two votes each; class 1 is called with more certainty, class 2 never
    found = np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.05, 0.9, 0.05], [0.05, 0.9, 0.05]])
    got = pooled(np.zeros(4, int), found, how="vote")
    assert (got.predicted_index, got.tied) == ([1], [True])
    np.testing.assert_allclose(got.probabilities, [[0.5, 0.5, 0]])
    assert pooled(np.zeros(4, int), found, how="vote", priority=(0, 1, 2)).predicted_index == [0]
    # a class without the most votes never wins, whatever its probability
    lost = np.array([[0.51, 0.49, 0], [0.51, 0.49, 0], [0, 1, 0]])
    assert pooled(np.zeros(3, int), lost, how="vote").predicted_index == [0]


def test_a_tie_that_is_written_is_read_as_it_was_decided(tmp_path):
    frame, _ = fields(wells=2, per_well=2)
    p = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0, 0.6, 0.4], [0, 0.3, 0.7]])
    for k, name in enumerate(CLASSES):
        frame[f"probability_{name}"] = p[:, k]
    write_predictions(tmp_path / "fields.parquet", table(frame))
    ties = ("healthy", "ferroptosis", "apoptosis")
    aggregate_file(tmp_path / "fields.parquet", tmp_path / "wells.parquet", how="vote", ties=ties)
    read = open_predictions(tmp_path / "wells.parquet")
    assert read.frame["tied"].all()
    assert [CLASSES[k] for k in read.predicted_index] == ["ferroptosis", "healthy"]
    assert read.frame["predicted"].tolist() == ["ferroptosis", "healthy"]


def test_crops_become_fields_and_fields_wells():
    frame, _ = fields(wells=6, per_well=8)
    frame["crop"] = frame["field"].astype(int) % 4
    frame["field"] = (frame["field"].astype(int) // 4).astype(str)
    by_field = aggregate(table(frame), ["plate", "well", "field"])
    assert by_field.frame["crops"].tolist() == [4] * 12
    assert "fields" not in by_field.frame
    assert "crop" not in by_field.frame
    wells = aggregate(by_field)
    assert wells.frame["fields"].tolist() == [2] * 6
    # equally many crops in each field, so the mean of means is the mean
    np.testing.assert_allclose(
        wells.probabilities, aggregate(table(frame)).probabilities, rtol=1e-12
    )


def test_wells_of_differing_field_counts_are_fine_and_told():
    frame, _ = fields()
    told = aggregate(table(frame.drop(index=[0, 1, 5]))).metadata["aggregation"]
    assert (told["fewest"], told["most"], told["places"], told["answers"]) == (2, 4, 6, 21)


def test_an_empty_column_well_names_none_where_row_and_column_do():
    frame, _ = fields()
    row, column = frame["well"].str[0], frame["well"].str[1:]
    found = aggregate(table(frame.assign(well=None, row=row, column=column)))
    assert found.metadata["aggregation"]["by"] == ["plate", "row", "column"]
    assert len(found.frame) == 6


def test_rows_without_a_well_are_left_out_and_counted():
    frame, _ = fields()
    frame.loc[[2, 3], "well"] = None
    told = aggregate(table(frame)).metadata["aggregation"]
    assert (told["without_place"], told["answers"]) == (2, 22)


def test_the_embedding_of_a_well_is_the_mean():
    frame, _ = fields(wells=2, per_well=2)
    frame["embedding"] = [np.array(v, np.float32) for v in ([0, 1], [2, 3], [4, 4], [6, 6])]
    got = aggregate(table(frame)).embeddings
    np.testing.assert_array_equal(got, [[1, 2], [5, 5]])


def test_metadata_and_command_are_kept(tmp_path):
    frame, _ = fields()
    metadata = {"run": "runs/first", "command": {"predict": "deadlib-predict"}}
    write_predictions(tmp_path / "fields.parquet", table(frame, metadata=metadata))
    out = tmp_path / "wells.parquet"
    aggregate_file(tmp_path / "fields.parquet", out, command="deadlib-aggregate ...")
    told = json.loads(pq.read_schema(out).metadata[b"deadlib"])
    assert told["run"] == "runs/first"
    assert told["command"] == {"predict": "deadlib-predict", "aggregate": "deadlib-aggregate ..."}
    assert told["aggregation"]["how"] == "mean"


def test_fields_of_one_well_with_two_labels_are_refused():
    frame, _ = fields()
    frame.loc[1, "label"] = "healthy"
    with pytest.raises(PredictionError, match="p0/B00 holds rows of label apoptosis, healthy"):
        aggregate(table(frame))


def test_fields_of_one_well_on_both_sides_of_a_split_are_refused(tmp_path):
    frame, _ = fields(split=["train", "test"] * 12)
    with pytest.raises(PredictionError, match=r"rows of split test, train.*--split"):
        aggregate(table(frame))
    seen = {"seen_in_training": 12, "seen_in_training_by_split": {"train": 12}}
    told = replace(table(frame), metadata=table(frame).metadata | seen)
    write_predictions(tmp_path / "fields.parquet", told)
    out = tmp_path / "wells.parquet"
    aggregate_file(tmp_path / "fields.parquet", out, split="test")
    assert pd.read_parquet(out)["fields"].tolist() == [2] * 6
    assert open_predictions(out).metadata["seen_in_training"] == 0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.drop(columns="well"), {}, "no column well"),
        (lambda f: f.assign(well=None), {}, "no row has a value in each of plate, well"),
        (lambda f: f, {"by": ["wel"]}, "no column wel .*did you mean well"),
        (lambda f: f, {"ties": ["healthy"]}, "expected each of the classes"),
        (lambda f: f, {"ties": ["helthy"]}, "did you mean healthy"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(change, options, message):
    frame, _ = fields()
    with pytest.raises(PredictionError, match=message):
        aggregate(table(change(frame)), **options)


def test_calls_alone_can_only_vote():
    frame, _ = fields()
    calls = table(frame, calls_only=True)
    with pytest.raises(PredictionError, match="--how vote"):
        aggregate(calls)
    assert aggregate(calls, how="vote").metadata["aggregation"]["ties"] == "order of classes"


def test_a_place_is_null_where_its_well_is():
    frame = pd.DataFrame({"plate": [1.0, 1.0, None], "well": ["B02", None, "B02"]})
    assert places(Path("t"), frame).tolist() == ["1/B02", None, None]

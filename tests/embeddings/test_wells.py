"""From the rows of a prediction table to one vector for each well."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from embedded_screen import screen

from deadlib.embeddings.wells import default_title, read_wells
from deadlib.errors import PredictionError


def test_a_well_is_the_mean_of_its_fields_and_has_length_1(write):
    frame = screen()
    wells = read_wells(write(frame))
    assert len(wells) == 72
    assert set(wells.frame["fields"]) == {3}
    rows = frame[(frame["plate"] == "P2") & (frame["well"] == "A05")]
    vectors = np.stack(rows["embedding"])
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    found = wells.means[list(wells.name).index("P2/A05")]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-6)


def test_plates_of_two_experiments_with_one_name_are_two_batches(write):
    frame = pd.concat([screen(seed=s).assign(experiment=f"E{s}") for s in (1, 2)])
    wells = read_wells(write(frame))
    assert wells.batch_columns == ("experiment", "plate")
    assert len(wells) == 144
    assert len(set(wells.batch)) == 6


def test_labels_within_a_well_make_vectors_of_one_place(write):
    frame = screen()
    frame.loc[frame["field"] == "1", "label"] = "apoptosis"
    wells = read_wells(write(frame))
    assert len(np.unique(wells.place)) == 72
    assert len(wells) == 72 + 48


def test_without_wells_every_row_stands_alone_and_that_is_told(write):
    wells = read_wells(write(screen().drop(columns="well")))
    assert len(wells) == 216
    assert "every row counts as a well of its own" in wells.warnings[0]


def test_an_empty_column_parts_no_wells_and_row_and_column_name_them(write):
    frame = screen().assign(experiment=None)
    assert len(read_wells(write(frame))) == 72
    frame["row"], frame["column"] = frame["well"].str[0], frame["well"].str[1:].astype(int)
    wells = read_wells(write(frame.drop(columns="well")))
    assert len(wells) == 72
    assert not wells.warnings


def test_rows_without_a_well_stand_alone(write):
    frame = screen()
    frame.loc[[3, 4], "well"] = None
    wells = read_wells(write(frame))
    assert {"row 4", "row 5"} <= set(wells.name)
    assert len(wells) == 72 + 2


def test_controls_are_found_in_any_case(write):
    frame = screen()
    frame["treatment"] = frame["treatment"].str.lower()
    assert read_wells(write(frame)).control.sum() == 24


def test_only_the_split_that_was_asked_for_is_read(write):
    path = write()
    assert set(read_wells(path, split="test").batch) == {"P3"}
    with pytest.raises(PredictionError, match="no rows of split tset; did you mean test"):
        read_wells(path, split="tset")


def test_a_table_without_embedding_is_refused(write):
    with pytest.raises(PredictionError, match="no column embedding"):
        read_wells(write(screen().drop(columns="embedding")))


def test_a_broken_embedding_names_its_row(write):
    frame = screen()
    frame.at[4, "embedding"] = np.ones(3, np.float32)
    with pytest.raises(
        PredictionError, match=r"row 5, column embedding: found 3 values, expected 12"
    ):
        read_wells(write(frame))
    frame.at[4, "embedding"] = np.full(12, np.nan, np.float32)
    with pytest.raises(
        PredictionError, match=r"row 5, column embedding: not all numbers are finite"
    ):
        read_wells(write(frame))
    frame.at[4, "embedding"] = None
    with pytest.raises(PredictionError, match=r"row 5, column embedding: found no list"):
        read_wells(write(frame))


def test_a_table_without_plate_asks_for_the_batch(write):
    with pytest.raises(PredictionError, match="--batch"):
        read_wells(write(screen().drop(columns="plate")))
    path = write(screen().rename(columns={"plate": "day"}))
    assert read_wells(path, batch=["day"]).batch_columns == ("day",)


def test_a_table_is_called_by_its_run_where_all_files_are_called_alike(tmp_path):
    assert default_title(tmp_path / "supcon" / "predictions.parquet") == "supcon"
    assert default_title(tmp_path / "supcon.parquet") == "supcon"


def test_the_training_split_of_a_dataset_that_the_network_never_saw_taught_it_nothing(write):
    path = write()
    assert read_wells(path).taught.sum() == 48
    table = pq.read_table(path)
    path.unlink()
    told = {b"deadlib": json.dumps({"seen_in_training": 0}).encode()}
    pq.write_table(table.replace_schema_metadata(told), path)
    assert not read_wells(path).taught.any()

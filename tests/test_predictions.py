"""Prediction tables of any program, under any names, with probabilities, logits or calls alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from deadlib.aggregation import aggregate
from deadlib.errors import PredictionError
from deadlib.predictions import open_predictions, write_predictions


@pytest.fixture
def csv(tmp_path):
    def write(text: str):
        path = tmp_path / "theirs.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_columns_of_other_names_are_taken_by_mapping(csv):
    path = csv("Plate,truth,P(dead),P(living)\n1,dead,0.8,0.2\n2,living,0.4,0.6\n")
    columns = {
        "label": "truth",
        "plate": "Plate",
        "probability_dead": "P(dead)",
        "probability_living": "P(living)",
    }
    found = open_predictions(path, columns=columns)
    assert found.classes == ("dead", "living")
    assert set(found.frame) == {"label", "plate", "probability_dead", "probability_living"}
    np.testing.assert_allclose(found.probabilities, [[0.8, 0.2], [0.4, 0.6]])


def test_a_mapped_column_takes_the_place_of_one_of_our_name(csv):
    path = csv("label,truth,probability_a,probability_b\nfoo,a,0.8,0.2\nbar,b,0.4,0.6\n")
    assert open_predictions(path, columns={"label": "truth"}).frame["label"].tolist() == ["a", "b"]


def test_what_a_spreadsheet_saved_is_read(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_bytes("dose_µM;probability_a;probability_b\n1,5;0,8;0,2\n".encode("cp1252"))
    found = open_predictions(path)
    assert found.frame["dose_µM"].tolist() == [1.5]
    np.testing.assert_allclose(found.probabilities, [[0.8, 0.2]])


def test_one_column_may_serve_twice(csv):
    path = csv("Plate,probability_a,probability_b\n1,0.8,0.2\n2,0.4,0.6\n")
    frame = open_predictions(path, columns={"plate": "Plate", "group": "Plate"}).frame
    assert frame["plate"].tolist() == frame["group"].tolist() == [1, 2]


def test_a_mapped_column_that_is_not_there_is_named(csv):
    path = csv("Truth,probability_a,probability_b\na,0.8,0.2\n")
    with pytest.raises(PredictionError, match=r"no column truth .*label.*did you mean Truth"):
        open_predictions(path, columns={"label": "truth"})


def test_logits_become_probabilities(csv):
    path = csv("logit_a,logit_b,logit_c\n1,2,3\n-1000,0,1000\n")
    found = open_predictions(path)
    np.testing.assert_allclose(found.probabilities, softmax([[1, 2, 3], [-1e3, 0, 1e3]], axis=1))
    assert found.classes == ("a", "b", "c")
    with pytest.raises(PredictionError, match=r"row 2, column logit_a: found 'x'"):
        open_predictions(csv("logit_a,logit_b\n1,2\nx,1\n"))


def test_a_semicolon_table_with_decimal_commas_is_read(csv):
    found = open_predictions(csv("\ufeff;probability_a;probability_b\n1;0,25;0,75\n2;1;0\n"))
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.75], [1, 0]])
    assert list(found.frame) == ["probability_a", "probability_b"]


def test_calls_alone_are_taken_where_that_is_asked_for(csv):
    path = csv("label,predicted\na,b\nc,b\nb,a\n")
    found = open_predictions(path, calls=True)
    assert (found.classes, found.calls_only) == (("a", "b", "c"), True)
    np.testing.assert_array_equal(found.probabilities, [[0, 1, 0], [0, 1, 0], [1, 0, 0]])
    with pytest.raises(PredictionError, match="found 0 columns probability_<class>"):
        open_predictions(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\na\n", "no column predicted"),
        ("label,predicted\na,b\nb,\n", "row 2, column predicted: found no call"),
        ("predicted\na\na\n", "found no call but a, expected at least two classes"),
    ],
)
def test_calls_that_cannot_be_used_are_refused(csv, text, message):
    with pytest.raises(PredictionError, match=message):
        open_predictions(csv(text), calls=True)


def test_of_equally_probable_classes_the_table_itself_decides(csv):
    text = "predicted,probability_a,probability_b,probability_c\n"
    path = csv(text + "b,0.5,0.5,0\nc,0.333,0.333,0.333\nc,0.6,0.2,0.2\n,0.5,0.5,0\n")
    found = open_predictions(path)
    # not more than that: the third row's call is another question
    assert found.predicted_index.tolist() == [1, 2, 0, 0]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_embeddings_are_not_looked_for_in_csv(csv):
    path = csv('well,embedding,probability_a,probability_b\nB02,"[1.0 2.0]",0.25,0.75\n')
    found = open_predictions(path, heavy=("embedding",))
    assert "embedding" not in found.frame
    assert aggregate(found).frame["fields"].tolist() == [1]
    with pytest.raises(
        PredictionError, match="no column embedding can be in CSV; take the table as"
    ):
        _ = found.embeddings


def test_what_is_written_is_read_again(tmp_path, csv):
    found = open_predictions(csv("well,probability_a,probability_b\nB02,0.25,0.75\n"))
    found.frame["embedding"] = [np.array([1, 2], np.float32)]
    found.metadata["run"] = "first"
    write_predictions(tmp_path / "out.parquet", found)
    read = open_predictions(tmp_path / "out.parquet", heavy=("embedding",))
    pd.testing.assert_frame_equal(read.frame[["well"]], found.frame[["well"]])
    assert read.embeddings.dtype == np.float32
    assert read.metadata == {"run": "first"}
    with pytest.raises(PredictionError, match=r"ends in \.parquet"):
        write_predictions(tmp_path / "out.csv", found)

"""The nearest training wells, and what they call."""

from __future__ import annotations

import numpy as np
import pytest
from embedded_screen import screen
from sklearn.neighbors import KNeighborsClassifier

from deadlib.bootstrap import Resampling
from deadlib.embeddings.retrieval import neighbour_rows, retrieve, shown, write_calls
from deadlib.embeddings.wells import read_wells
from deadlib.predictions import open_predictions


def test_wells_of_the_test_are_looked_up_among_training_wells(write):
    wells = read_wells(write())
    found = retrieve(wells, 10)
    assert set(wells.split[found.queries]) == {"test"}
    assert set(wells.split[found.places.ravel()]) == {"train"}
    reference = KNeighborsClassifier(10, metric="cosine")
    reference.fit(wells.means[wells.split == "train"], wells.label[wells.split == "train"])
    theirs = reference.predict_proba(wells.means[found.queries])
    order = [list(reference.classes_).index(name) for name in found.classes]
    np.testing.assert_allclose(found.shares(10), theirs[:, order], atol=1e-5)


def test_without_splits_a_well_is_looked_up_among_all_others_and_never_finds_itself(write):
    wells = read_wells(write(screen().drop(columns="split")))
    found = retrieve(wells, 5)
    assert len(found.queries) == len(wells)
    assert not (wells.place[found.places] == wells.place[found.queries][:, None]).any()


def test_fewer_wells_than_neighbours_are_no_error(write):
    wells = read_wells(write(screen(plates=1, wells=4).drop(columns="split")))
    found = retrieve(wells, 10)
    np.testing.assert_allclose(found.shares(10).sum(axis=1), 1)
    assert len(neighbour_rows(found, "t")) == 4 * 3


def test_unlabelled_wells_are_called_but_not_judged(write):
    frame = screen()
    frame.loc[frame["plate"] == "P3", "label"] = None
    found = retrieve(read_wells(write(frame)), 3)
    assert len(found.queries) == 24
    assert found.figures(3, Resampling(50)) == {}


def test_one_class_alone_is_no_retrieval(write):
    frame = screen()
    assert retrieve(read_wells(write(frame[frame["label"] == "healthy"])), 3) is None


def test_the_calls_are_a_prediction_table_with_one_row_per_well(write, tmp_path):
    wells = read_wells(write(class_shift=5.0))
    found = retrieve(wells, 10)
    write_calls(found, 10, tmp_path / "knn.parquet")
    table = open_predictions(tmp_path / "knn.parquet")
    assert len(table.frame) == 24
    assert table.metadata["neighbours"]["k"] == 10
    called = np.array(table.classes)[table.predicted_index]
    assert (called == table.frame["predicted"]).all()
    accuracy = (table.frame["predicted"] == table.frame["label"]).mean()
    assert accuracy == found.figures(10, Resampling(50))["accuracy"].value
    assert accuracy > 0.9


def test_wells_on_the_page_are_those_asked_for_or_wrong_and_right_ones(write):
    wells = read_wells(write(plates=3, wells=60, class_shift=0.6))
    found = retrieve(wells, 10)
    wrong = found.shares(10).argmax(axis=1) != found.target()
    assert wrong.sum() > 6
    chosen = shown(found, 12, 10, 0, ())
    assert len(set(chosen)) == 12
    assert wrong[chosen].sum() == 6
    assert len(set(wells.label[found.queries[chosen]])) == 3
    asked = shown(found, 12, 10, 0, ["P3/A05"])
    assert list(wells.name[found.queries[asked]]) == ["P3/A05"]


@pytest.mark.parametrize("k", [1, 3])
def test_calls_without_a_majority_go_to_the_nearest(write, k):
    wells = read_wells(write())
    found = retrieve(wells, 10)
    if k == 1:
        nearest = wells.label[found.places[:, 0]]
        called = np.array(found.classes)[found.shares(1).argmax(axis=1)]
        assert (called == nearest).all()
    else:
        assert (np.sort(found.shares(3), axis=1)[:, -1] > 1 / 3).all()


def test_mean_average_precision_is_1_where_classes_lie_apart(write):
    apart = retrieve(read_wells(write(class_shift=20.0)), 3).map_at_r(Resampling(50))
    assert apart.value == pytest.approx(1)
    mixed = retrieve(read_wells(write(class_shift=0.0)), 3).map_at_r(Resampling(50))
    assert mixed.value < 0.4
    assert mixed.low < mixed.value < mixed.high

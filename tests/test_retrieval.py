"""Neighbours in the embedding, against scikit-learn and pytorch-metric-learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from deadlib.retrieval import called, nearest_neighbours, neighbour_shares, retrieval

GOLDEN = np.load(Path(__file__).parent / "golden" / "metric_losses.npz")
RNG = np.random.default_rng(0)
GALLERY, QUERIES = RNG.normal(size=(300, 8)), RNG.normal(size=(40, 8))
CLASS_INDEX = RNG.integers(0, 3, 300)


@pytest.mark.parametrize("k", [1, 10, 200])
def test_neighbours_are_those_of_scikit_learn(k: int) -> None:
    distance, place = (
        NearestNeighbors(n_neighbors=k, metric="cosine").fit(GALLERY).kneighbors(QUERIES)
    )
    found = nearest_neighbours(QUERIES, GALLERY, k)
    np.testing.assert_array_equal(found.place, place)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-6)


def test_in_its_own_gallery_no_example_is_its_own_neighbour() -> None:
    twice = np.concatenate([GALLERY, GALLERY])
    found = nearest_neighbours(twice, twice, 1, is_itself=True)
    np.testing.assert_array_equal(found.place[:, 0], np.roll(np.arange(600), 300))
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


@pytest.mark.parametrize("k", [1, 10])
def test_shares_of_neighbours_are_the_probabilities_of_scikit_learn(k: int) -> None:
    model = KNeighborsClassifier(k, metric="cosine").fit(GALLERY, CLASS_INDEX)
    found = nearest_neighbours(QUERIES, GALLERY, k)
    expected = model.predict_proba(QUERIES)
    shares = neighbour_shares(found, CLASS_INDEX, 3)
    np.testing.assert_allclose(shares, expected)
    calls = called(found, CLASS_INDEX, 3)
    best = expected.max(axis=1)
    np.testing.assert_array_equal(expected[np.arange(40), calls], best)


def test_of_equal_shares_the_nearest_neighbour_decides() -> None:
    gallery = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]])
    found = nearest_neighbours([[1.0, -0.1]], gallery, 4)
    assert called(found, [2, 0, 0, 2], 3).tolist() == [2]
    assert called(found, [0, 2, 2, 0], 3).tolist() == [0]


def test_retrieval_is_that_of_pytorch_metric_learning() -> None:
    found = retrieval(GOLDEN["class_index"], GOLDEN["embeddings"]).means()
    assert found["precision_at_1"] == pytest.approx(float(GOLDEN["precision_at_1"]))
    assert found["r_precision"] == pytest.approx(float(GOLDEN["r_precision"]))
    assert found["map_at_r"] == pytest.approx(float(GOLDEN["mean_average_precision_at_r"]))


def test_map_at_r_by_hand() -> None:
    """Around the circle 0 0 1 0 1: the first finds 0 1, of its two others."""
    angles = np.radians([0, 10, 21, 33, 46])
    found = retrieval([0, 0, 1, 0, 1], np.stack([np.cos(angles), np.sin(angles)], axis=1))
    np.testing.assert_allclose(found.map_at_r, [1 / 2, 1 / 2, 0, 0, 0])
    np.testing.assert_allclose(found.r_precision, [1 / 2, 1 / 2, 0, 0, 0])
    np.testing.assert_allclose(found.precision_at_1, [1, 1, 0, 0, 0])


def test_a_class_of_one_example_is_not_asked_for() -> None:
    found = retrieval([0, 0, 1], [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    assert np.isnan(found.map_at_r[2])
    assert found.means() == {"precision_at_1": 1, "r_precision": 1, "map_at_r": 1}
    assert all(np.isnan(list(retrieval([0, 1], np.eye(2)).means().values())))


def test_many_queries_are_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, near = retrieval(CLASS_INDEX, GALLERY), nearest_neighbours(QUERIES, GALLERY, 5)
    monkeypatch.setattr("deadlib.retrieval._AT_ONCE", 2000)
    parts = retrieval(CLASS_INDEX, GALLERY)
    np.testing.assert_allclose(parts.map_at_r, whole.map_at_r)
    np.testing.assert_array_equal(nearest_neighbours(QUERIES, GALLERY, 5).place, near.place)


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: {k} neighbours of 3 examples"):
        nearest_neighbours(np.eye(4), np.eye(4), k, is_itself=True)


def test_an_embedding_without_direction_is_near_nothing() -> None:
    found = nearest_neighbours([[0.0, 0.0]], np.eye(2), 2)
    assert found.similarity.tolist() == [[0, 0]]

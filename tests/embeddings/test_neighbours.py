"""Nearest wells, against scikit-learn, and their votes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from deadlib.embeddings.neighbours import nearest_elsewhere, votes
from deadlib.retrieval import directions


@pytest.fixture
def gallery():
    return directions(np.random.default_rng(0).normal(size=(50, 6)))


def test_neighbours_are_those_of_scikit_learn_that_stand_elsewhere(gallery):
    place = np.arange(50) // 3
    places, cosines = nearest_elsewhere(gallery, gallery, 5, place, place)
    distance, order = (
        NearestNeighbors(n_neighbors=50, metric="cosine").fit(gallery).kneighbors(gallery)
    )
    for row in range(50):
        elsewhere = place[order[row]] != place[row]
        assert (places[row] == order[row][elsewhere][:5]).all()
        np.testing.assert_allclose(1 - cosines[row], distance[row][elsewhere][:5], atol=1e-6)


def test_missing_neighbours_are_told(gallery):
    place = np.array([0, 0, 1])
    places, cosines = nearest_elsewhere(gallery[:3], gallery[:3], 10, place, place)
    assert places.shape == (3, 3)
    assert places[0].tolist() == [2, -1, -1]
    assert np.isneginf(cosines[places < 0]).all()


def test_a_tie_goes_to_the_class_whose_nearest_is_nearer():
    assert votes(np.array([1, 0, 0, 1]), 3).argmax() == 1
    assert votes(np.array([2, 1, 0]), 3).argmax() == 2
    assert votes(np.array([1, 0, 0]), 3).argmax() == 0


def test_votes_are_shares_and_no_neighbour_is_no_vote():
    found = votes(np.array([[0, 0, 1, -1]]), 2)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3]], atol=1e-5)
    np.testing.assert_allclose(found.sum(), 1)

"""What is unlike the training images is known by its distance to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from deadlib.calibration import Neighbours

DIMENSIONS = 12


def embeddings(generator: np.random.Generator, examples: int, away: float = 0.0) -> np.ndarray:
    """Two directions, each with some spread, and any length; `away` in a third direction."""
    found = generator.normal(0, 0.2, (examples, DIMENSIONS))
    found[np.arange(examples), generator.integers(0, 2, examples)] += 1
    found[:, 5] += away
    return (found * generator.uniform(0.1, 50, (examples, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def known() -> Neighbours:
    generator = np.random.default_rng(0)
    training, apart = embeddings(generator, 800), embeddings(generator, 1500)
    return Neighbours.fit(training, apart, np.full(1500, 1 / 1500))


def test_the_distance_is_that_of_scikit_learn(known: Neighbours) -> None:
    generator = np.random.default_rng(0)
    training, new = embeddings(generator, 800), embeddings(generator, 2000)
    search = NearestNeighbors(n_neighbors=5).fit(normalize(training))
    expected = search.kneighbors(normalize(new))[0][:, -1]
    np.testing.assert_allclose(known.distance(new), expected, rtol=1e-3)


def test_of_images_like_those_of_training_the_share_is_even(known: Neighbours) -> None:
    share = known.out_of_distribution(embeddings(np.random.default_rng(5), 1500))
    assert kstest(share, "uniform").statistic < 0.05


def test_what_lies_away_has_a_share_near_one(known: Neighbours) -> None:
    generator = np.random.default_rng(6)
    like, unlike = embeddings(generator, 300), embeddings(generator, 300, away=2.0)
    shares = known.out_of_distribution(np.concatenate([like, unlike]))
    assert roc_auc_score(np.repeat([0, 1], 300), shares) > 0.99
    assert known.out_of_distribution(-np.ones((1, DIMENSIONS), np.float32))[0] == 1.0
    assert known.out_of_distribution(np.zeros((1, DIMENSIONS), np.float32))[0] == 1.0


def at(degrees: list[float]) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_groups_apart_weigh_the_same_whatever_their_size() -> None:
    training = at(list(np.linspace(0, 10, 100)))
    # a near image for half of the weight, nine far ones for the other half
    known = Neighbours.fit(training, at([5.02, *[90.0] * 9]), np.array([0.5, *([0.5 / 9] * 9)]))
    assert known.out_of_distribution(at([89.9]))[0] == pytest.approx(0.5, abs=0.01)


def test_fewer_training_images_than_neighbours_are_enough() -> None:
    training = at([0.0, 10.0])
    known = Neighbours.fit(training, training, np.array([0.5, 0.5]))
    assert known.neighbours == 2
    assert np.isfinite(known.out_of_distribution(at([70.0]))).all()

"""The probe is ridge regression on indicators, taught on some groups and tested on others."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

from deadlib.controls.probe import FARTHEST, MOST_FEATURES, RIDGE, Probe, standardised


def test_scores_are_scikit_learns_ridge_up_to_the_fold() -> None:
    rng = np.random.default_rng(0)
    features, target = rng.normal(0, 1, (60, 5)), rng.integers(0, 3, 60)
    fold = np.arange(60) % 3
    found = Probe(features, fold[None]).scores(target[None], 3)[0, 0]
    x = standardised(features)
    for f in range(3):
        taught, tested = fold != f, fold == f
        ridge = Ridge(alpha=RIDGE * taught.sum()).fit(x[taught], np.eye(3)[target[taught]])
        away = ridge.predict(x[tested]) - found[tested]
        # an intercept apart, which ranks nothing within a fold
        np.testing.assert_allclose(away, np.broadcast_to(away[0], away.shape), atol=1e-5)


def test_many_targets_at_once_are_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    probe = Probe(rng.normal(0, 1, (40, 4)), np.stack([np.arange(40) % 2, np.arange(40) % 3]))
    targets = rng.integers(0, 2, (3, 40))
    every = probe.scores(targets, 2)
    assert every.shape == (2, 3, 40, 2)
    for b in range(3):
        np.testing.assert_allclose(probe.scores(targets[b : b + 1], 2)[:, 0], every[:, b], 1e-4)


def test_unknown_values_are_at_the_mean_and_constants_are_left_out() -> None:
    features = np.array([[1.0, 5.0, np.nan], [2.0, 5.0, 0.0], [3.0, 5.0, 2.0]])
    x = standardised(features)
    assert x.shape == (3, 2)
    assert x[0, 1] == 0
    assert np.abs(x).max() <= FARTHEST


def test_many_features_become_few() -> None:
    assert standardised(np.random.default_rng(0).normal(0, 1, (90, 200))).shape == (
        90,
        MOST_FEATURES,
    )

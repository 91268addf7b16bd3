"""The linear probe against scikit-learn's discriminant analysis."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from deadlib.embeddings.probe import linear_calls, rotated, shrinkage, standardised


class DrawnToSphere:
    """A covariance estimator for scikit-learn: shrunk by a fixed share towards a fixed sphere."""

    def __init__(self, share: float, sphere: float) -> None:
        self.share, self.sphere = share, sphere

    def fit(self, x):
        cov = np.cov(x.T, bias=True)
        self.covariance_ = (1 - self.share) * cov + self.share * self.sphere * np.eye(len(cov))
        return self

    def get_params(self, deep=True):
        return {"share": self.share, "sphere": self.sphere}

    def set_params(self, **values):
        return self


def vectors(seed, count=90, width=20):
    rng = np.random.default_rng(seed)
    target = np.arange(count) % 3
    x = rng.normal(size=(count, width)) * rng.uniform(0.2, 3, width)
    x[:, 0] += target  # three classes along one line: the middle one must not be masked
    return x.astype(np.float32), target.astype(np.intp)


@pytest.mark.parametrize("width", [20, 120])
def test_calls_are_those_of_scikit_learns_discriminant_analysis(width):
    for seed in range(4):
        x, target = vectors(seed, width=width)
        other, _ = vectors(seed + 100, width=width)
        targets = np.stack([target, np.random.default_rng(seed).permutation(target)])
        called = linear_calls(x, other, targets, 3)
        a, b = standardised(x, other)
        share = max(ledoit_wolf_shrinkage(a, assume_centered=True), 1e-3)
        estimator = DrawnToSphere(share, float(np.mean(a**2)))
        for one, found in zip(targets, called, strict=True):
            reference = LinearDiscriminantAnalysis(
                solver="lsqr", priors=[1 / 3] * 3, covariance_estimator=estimator
            )
            reference.fit(a.astype(float), one)
            # a vector on the edge between two classes may fall to either side by rounding
            assert (found == reference.predict(b.astype(float))).mean() >= 89 / 90


@pytest.mark.parametrize("width", [20, 120])
def test_shrinkage_is_that_of_scikit_learn(width):
    x, _ = standardised(*[vectors(0, width=width)[0]] * 2)
    turned, _ = rotated(x, x)
    found = shrinkage(turned, (turned.T @ turned / len(x)).astype(float), width)
    assert found == pytest.approx(ledoit_wolf_shrinkage(x, assume_centered=True), rel=1e-4)


def test_a_class_between_two_others_is_called():
    rng = np.random.default_rng(0)
    target = np.arange(300) % 3
    x = rng.normal(0, 0.1, (300, 4)).astype(np.float32)
    x[:, 0] += target
    called = linear_calls(x[:200], x[200:], target[None, :200], 3)
    assert (called[0] == target[200:]).mean() > 0.95


def test_more_features_than_vectors_and_features_that_never_vary_are_fine():
    x, target = vectors(0, count=30, width=200)
    x[:, 5] = 7.0
    called = linear_calls(x[:24], x[24:], target[None, :24], 3)
    assert called.shape == (1, 6)
    assert set(called.ravel()) <= {0, 1, 2}


def test_a_class_that_nobody_taught_is_never_called():
    x, target = vectors(0)
    called = linear_calls(x, x, np.where(target == 2, 0, target)[None], 3)
    assert 2 not in called

"""Intervals against scipy, and against what an interval is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from deadlib.bootstrap import Resampling, binomial_interval, draw_groups, estimates
from deadlib.metrics import METRICS


def mean_of(values):
    """A statistic of one figure: the weighted mean."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


def estimate(values, group_index, *, behind=0, **resampling):
    found = estimates(mean_of(values), group_index, np.array([behind]), Resampling(**resampling))
    return found[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("size", [12, 60])
def test_one_example_per_group_gives_the_bca_interval_of_scipy(size, seed):
    values = np.random.default_rng(seed + 10).gamma(1.0, size=size)
    found = estimate(values, np.arange(size), seed=seed)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    # the same generator draws the same resamples, so this is the formula and not luck
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-9)
    assert found.method == "bca"


def test_the_interval_of_roc_auc_is_that_of_scipy():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    score = np.clip(0.3 * y + rng.random(80) * 0.7, 0, 1)
    probabilities = np.stack([1 - score, score], axis=1)

    def statistic(weights):
        return METRICS["roc_auc"].over(y, probabilities, weights)[:, None]

    def auc(labels, scores):
        return METRICS["roc_auc"].function(labels, np.stack([1 - scores, scores], axis=1))

    found = estimates(statistic, np.arange(80), np.array([0]), Resampling(1000, 3))[0]
    reference = stats.bootstrap(
        (y, score),
        auc,
        n_resamples=1000,
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_copies_within_a_group_do_not_narrow_the_interval():
    values = np.random.default_rng(0).random(30)
    once = estimate(values, np.arange(30))
    group_index = np.repeat(np.arange(30), 20)
    copied = estimate(np.repeat(values, 20), group_index)
    as_if_independent = estimate(np.repeat(values, 20), np.arange(600))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (once.high - once.low) > 3 * (as_if_independent.high - as_if_independent.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    group_index = np.repeat(np.arange(40), 5)
    held = 0
    for _ in range(200):
        difficulty = rng.beta(4, 1, 40)
        right = (rng.random(200) < difficulty[group_index]).astype(float)
        found = estimate(right, group_index, resamples=400)
        held += found.low <= 0.8 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_a_perfect_rate_gets_the_exact_binomial_limit_over_groups():
    found = estimate(np.ones(60), np.repeat(np.arange(20), 3), behind=20)
    exact = stats.binomtest(20, 20).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.method == "binomial"


def test_a_rate_of_nothing_gets_the_exact_binomial_limit_too():
    exact = stats.binomtest(0, 7).proportion_ci(0.95, "exact")
    assert binomial_interval(0.0, 7, 0.025) == pytest.approx((exact.low, exact.high))


def test_what_never_varies_and_is_no_rate_has_no_interval():
    found = estimate(np.zeros(10), np.arange(10))
    assert found.value == 0
    assert found.low is None
    assert found.reason


def test_one_group_has_no_interval():
    found = estimate(np.arange(5.0), np.zeros(5, int))
    assert (found.value, found.low, found.reason) == (2.0, None, "one group only")


def test_an_interval_holds_its_figure():
    rng = np.random.default_rng(0)
    for seed in range(10):
        p = rng.dirichlet([0.5, 0.5], 40)
        y = (rng.random(40) < p[:, 1]).astype(int)
        found = estimates(
            lambda w, y=y, p=p: METRICS["calibration_error"].over(y, p, w)[:, None],
            np.arange(40),
            np.array([0]),
            Resampling(300, seed),
        )[0]
        assert found.low <= found.value <= found.high


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(25)
    assert estimate(values, np.arange(25), seed=4) == estimate(values, np.arange(25), seed=4)
    assert estimate(values, np.arange(25), seed=4) != estimate(values, np.arange(25), seed=5)


def test_a_resample_draws_as_many_groups_as_there_are():
    drawn = draw_groups(np.random.default_rng(0), 50, 9)
    assert drawn.shape == (50, 9)
    assert (drawn.sum(axis=1) == 9).all()

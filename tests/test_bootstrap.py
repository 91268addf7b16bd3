"""Intervals against scipy, and against what an interval is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from deadlib.bootstrap import (
    Nested,
    Resampling,
    Stack,
    bca_interval,
    binomial_interval,
    bootstrap,
    draw_groups,
    estimates,
    jackknife,
    on_groups,
)
from deadlib.metrics import METRICS


def mean_of(values):
    """A statistic of one figure: the weighted mean."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


def estimate(values, group_index, *, behind=0, **resampling):
    found = estimates(mean_of(values), group_index, np.array([behind]), Resampling(**resampling))
    return found[0]


def bca(statistic, size, resampling):
    """The plain BCa limits of independent examples."""
    groups = Nested.of(np.arange(size))
    value = statistic(np.ones((1, size)))[0, 0]
    replicates = bootstrap(statistic, groups, resampling)[:, 0]
    return bca_interval(value, replicates, jackknife(statistic, size, 0)[:, 0], resampling.tail)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("size", [12, 60])
def test_one_example_per_group_gives_the_bca_interval_of_scipy(size, seed):
    values = np.random.default_rng(seed + 10).gamma(1.0, size=size)
    found = bca(mean_of(values), size, Resampling(seed=seed))
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    # the same generator draws the same resamples, so this is the formula and not luck
    assert found == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_the_bca_interval_of_roc_auc_is_that_of_scipy():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    score = np.clip(0.3 * y + rng.random(80) * 0.7, 0, 1)
    probabilities = np.stack([1 - score, score], axis=1)

    def auc(labels, scores):
        return METRICS["roc_auc"].function(labels, np.stack([1 - scores, scores], axis=1))

    found = bca(METRICS["roc_auc"].statistic(y, probabilities), 80, Resampling(1000, 3))
    reference = stats.bootstrap(
        (y, score),
        auc,
        n_resamples=1000,
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_the_interval_of_a_mean_of_few_groups_is_about_as_wide_as_that_of_a_t_test():
    values = np.random.default_rng(3).normal(5, 1, 8)
    found = estimate(values, np.arange(8), resamples=20_000)
    reference = stats.ttest_1samp(values, 0).confidence_interval()
    assert found.method == "bca"
    assert found.high - found.low == pytest.approx(reference.high - reference.low, rel=0.1)
    plain = bca(mean_of(values), 8, Resampling(20_000))
    assert found.high - found.low > 1.2 * (plain[1] - plain[0])


def test_the_interval_of_a_rate_is_that_of_t_on_the_logit_scale():
    right = np.random.default_rng(0).random(50) < 0.8
    found = estimate(right * 1.0, np.arange(50), behind=50, resamples=50_000)
    rate, n = right.mean(), 50
    # the standard error of independent answers is known
    step = stats.t.ppf(0.975, n - 1) * np.sqrt(rate * (1 - rate) / (n - 1))
    step /= rate * (1 - rate)
    assert found.method == "t"
    expected = expit(logit(rate) + np.array([-step, step]))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.003)


def test_one_group_that_holds_most_examples_widens_the_interval():
    rng = np.random.default_rng(0)
    equal, unequal = np.repeat(np.arange(10), 20), np.repeat(np.arange(10), [110] + [10] * 9)
    assert Nested(equal).effective == pytest.approx(10)
    assert Nested(unequal).effective == pytest.approx(200**2 / (110**2 + 9 * 10**2))
    difficulty = rng.random(10) * 0.4 + 0.5
    width = {}
    for name, index in (("equal", equal), ("unequal", unequal)):
        right = (rng.random(200) < difficulty[index]) * 1.0
        found = estimate(right, index, behind=10)
        width[name] = found.high - found.low
    assert width["unequal"] > 1.5 * width["equal"]


def test_wells_are_drawn_within_their_plates():
    parent = np.array([0, 1, 0, 2, 1, 0, 2])
    drawn = draw_groups(np.random.default_rng(0), 400, Nested(np.arange(7), parent))
    for plate in range(3):
        assert (drawn[:, parent == plate].sum(axis=1) == (parent == plate).sum()).all()
    # and each well of a plate as often as its neighbours
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.15)


def test_what_differs_between_plates_only_is_no_uncertainty_where_plates_stay():
    plate = np.repeat(np.arange(4), 5)
    values = np.array([0.1, 0.4, 0.6, 0.9])[plate]
    wells = estimate(values, Nested(np.arange(20), plate), behind=20)
    assert wells.reason == "no change in any resample"
    assert estimate(values, plate, behind=4).high > 0.8


def test_wells_without_neighbours_cannot_be_drawn_within_their_plates():
    found = estimate(np.arange(6.0) / 6, Nested(np.arange(6), np.arange(6)), behind=6)
    assert found.low is None
    assert "exchanged" in found.reason


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_sums_over_groups_give_what_rows_give(seed):
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 5)), int(rng.integers(5, 60))
    y = rng.integers(0, k, n)
    # few different values, so that scores tie
    p = rng.integers(1, 5, (n, k)).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    _, index = np.unique(rng.integers(0, 8, n), return_inverse=True)
    groups = int(index.max()) + 1
    weights = draw_groups(rng, 20, groups)
    statistic = Stack([metric.statistic(y, p) for metric in METRICS.values()])
    on, _ = on_groups(statistic, index, groups)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(on(weights), statistic(weights[:, index]), atol=1e-9)


def test_copies_within_a_group_do_not_narrow_the_interval():
    values = np.random.default_rng(0).random(30)
    once = estimate(values, np.arange(30))
    group_index = np.repeat(np.arange(30), 20)
    copied = estimate(np.repeat(values, 20), group_index)
    as_if_independent = estimate(np.repeat(values, 20), np.arange(600))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (once.high - once.low) > 3 * (as_if_independent.high - as_if_independent.low)


@pytest.mark.parametrize(("groups", "sizes"), [(10, "equal"), (10, "unequal"), (30, "unequal")])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(groups, sizes):
    rng = np.random.default_rng(1)
    held, runs = 0, 200
    for _ in range(runs):
        size = np.full(groups, 20) if sizes == "equal" else rng.geometric(1 / 20, groups)
        group_index = np.repeat(np.arange(groups), size)
        difficulty = rng.beta(8, 2, groups)
        right = (rng.random(len(group_index)) < difficulty[group_index]).astype(float)
        found = estimate(right, group_index, behind=groups, resamples=400)
        held += found.low <= 0.8 <= found.high
    # three standard errors of 200 runs
    assert 0.905 <= held / runs <= 0.995


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

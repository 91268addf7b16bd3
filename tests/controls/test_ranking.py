"""The share of pairs ranked rightly is the area under the ROC curve, also within strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from deadlib.controls.ranking import BINS, pairs_of, shares_right


def example(seed: int, classes: int, steps: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(90) % classes)
    scores = rng.normal(0, 1, (90, classes))
    scores[np.arange(90), target] += 1
    return np.round(scores * steps) / steps, target, rng.integers(0, 4, 90), rng.integers(0, 7, 90)


@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from([1, 1000]))
def test_over_all_pairs_it_is_scikit_learns_area(seed: int, classes: int, steps: int) -> None:
    scores, target, _, block = example(seed, classes, steps)
    found = pairs_of(scores, target, np.zeros(90, int), block, 7).share(np.ones((1, 7)))[0]
    counted = range(1, 2) if classes == 2 else range(classes)
    expected = np.mean([roc_auc_score(target == k, scores[:, k]) for k in counted])
    assert found == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10_000))
def test_blocks_may_be_weighted(seed: int) -> None:
    scores, target, _, block = example(seed, 2, 1000)
    weights = np.random.default_rng(seed).integers(0, 3, 7).astype(float)
    weights[0] = 1
    found = pairs_of(scores, target, np.zeros(90, int), block, 7).share(weights[None])[0]
    expected = roc_auc_score(target, scores[:, 1], sample_weight=weights[block])
    assert found == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10_000))
def test_within_strata_only_pairs_of_one_stratum_count(seed: int) -> None:
    scores, target, stratum, block = example(seed, 2, 1000)
    scores[:, 1] += 100 * stratum  # nothing across strata may matter
    won = of = 0.0
    for s in range(4):
        here = stratum == s
        pairs = np.sum(target[here] == 1) * np.sum(target[here] == 0)
        if pairs:
            won += pairs * roc_auc_score(target[here], scores[here, 1])
            of += pairs
    found = pairs_of(scores, target, stratum, block, 7).share(np.ones((1, 7)))[0]
    assert found == pytest.approx(won / of, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_many_scores_at_once_agree_to_the_width_of_a_step(seed: int, classes: int) -> None:
    scores, target, stratum, block = example(seed, classes, 1000)
    every = np.stack([scores, -scores])
    targets = np.stack([target, target])
    found = shares_right(every, targets, stratum, 4)
    for one, share in zip(every, found, strict=True):
        exact = pairs_of(one, target, stratum, block, 7).share(np.ones((1, 7)))[0]
        assert share == pytest.approx(exact, abs=4 / BINS)


def test_without_pairs_there_is_no_share() -> None:
    scores, target = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    found = pairs_of(scores, target, target, np.arange(4), 4)
    assert np.isnan(found.share(np.ones((1, 4)))).all()
    assert np.isnan(shares_right(scores[None], target[None], target, 2)).all()

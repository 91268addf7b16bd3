"""Agreement against scikit-learn, and against a published worked example."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from deadlib.annotation.agreement import (
    agreement,
    cohens_kappa,
    disagreement,
    fleiss_kappa,
    krippendorffs_alpha,
)

# Fleiss 1971, table 1: six of many psychiatrists diagnosed each of 30 patients; kappa 0.430
FLEISS = [
    [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0],
    [2, 0, 4, 0, 0], [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6],
    [1, 0, 0, 5, 0], [1, 1, 0, 4, 0], [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1],
    [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0], [0, 2, 0, 4, 0], [1, 0, 2, 0, 3],
    [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0], [1, 0, 0, 4, 1],
    [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
]  # fmt: skip

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", example C: four observers, nan
# where one did not answer; 0.743 for answers without order
WORKED_EXAMPLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_kappa_and_agreement_are_those_of_sklearn(classes):
    rng = np.random.default_rng(classes)
    first = rng.integers(0, classes, 60)
    second = np.where(rng.random(60) < 0.6, first, rng.integers(0, classes, 60))
    weights = rng.integers(0, 4, (5, 60)).astype(float)
    for row, kappa, agreed in zip(
        weights,
        cohens_kappa(first, second)(weights)[:, 0],
        agreement(first, second)(weights)[:, 0],
        strict=True,
    ):
        assert kappa == pytest.approx(cohen_kappa_score(first, second, sample_weight=row))
        assert agreed == pytest.approx(accuracy_score(first, second, sample_weight=row))


def test_kappa_is_not_defined_where_both_always_answer_the_same():
    same = np.zeros(5, int)
    assert np.isnan(cohens_kappa(same, same)(np.ones((1, 5)))).all()


def test_alpha_of_the_worked_example():
    answers = np.array(WORKED_EXAMPLE)
    counts = np.stack([(answers == answer).sum(axis=0) for answer in range(1, 6)], axis=1)
    found = krippendorffs_alpha(counts.astype(float))(np.ones((1, 12)))[:, 0]
    assert found == pytest.approx([0.743], abs=5e-4)


def test_an_item_counted_twice_is_two_items():
    counts = np.array([[2, 0], [1, 1], [0, 3], [1, 2]], float)
    twice = krippendorffs_alpha(counts)(np.array([[1.0, 2.0, 1.0, 1.0]]))[:, 0]
    assert twice == pytest.approx(
        krippendorffs_alpha(counts[[0, 1, 1, 2, 3]])(np.ones((1, 5)))[:, 0]
    )


def test_disagreement_counts_pairs_of_answers():
    counts = np.array([[2, 0, 0], [1, 1, 0], [2, 1, 0], [2, 2, 0], [1, 1, 1]], float)
    np.testing.assert_allclose(disagreement(counts), [0, 1, 2 / 3, 4 / 6, 1])


def test_fleiss_kappa_of_the_published_table():
    counts = np.array(FLEISS, float)
    assert (counts.sum(axis=1) == 6).all()
    assert fleiss_kappa(counts)(np.ones((1, 30)))[:, 0] == pytest.approx([0.430], abs=5e-4)


def test_fleiss_kappa_is_that_of_statsmodels():
    rater = pytest.importorskip("statsmodels.stats.inter_rater")
    counts = np.random.default_rng(0).multinomial(5, [0.5, 0.3, 0.2], 40).astype(float)
    assert fleiss_kappa(counts)(np.ones((1, 40)))[:, 0][0] == pytest.approx(
        rater.fleiss_kappa(counts)
    )


def test_fleiss_kappa_of_two_who_share_their_habits_is_scotts_pi():
    first, second = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 1, 1, 0, 0])
    counts = np.stack([(first == k) * 1.0 + (second == k) for k in (0, 1)], axis=1)
    # 4 of 6 agree; both answers are as frequent: 1/2 by chance
    assert fleiss_kappa(counts)(np.ones((1, 6)))[:, 0] == pytest.approx([(4 / 6 - 0.5) / 0.5])


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_alpha_is_that_of_the_package_krippendorff(missing):
    package = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(2)
    said = np.where(rng.random((4, 60)) < 0.6, rng.integers(0, 3, 60), rng.integers(0, 3, (4, 60)))
    said = np.where(rng.random(said.shape) < missing, np.nan, said)
    counts = np.stack([(said == k).sum(axis=0) for k in range(3)], axis=1).astype(float)
    expected = package.alpha(said, level_of_measurement="nominal")
    assert krippendorffs_alpha(counts)(np.ones((1, 60)))[:, 0][0] == pytest.approx(expected)


def test_where_all_give_one_answer_chance_cannot_be_told_from_agreement():
    counts = np.array([[3.0, 0], [2, 0], [4, 0]])
    assert np.isnan(fleiss_kappa(counts)(np.ones((1, 3)))[:, 0]).all()
    assert np.isnan(krippendorffs_alpha(counts)(np.ones((1, 3)))[:, 0]).all()

"""Agreement against scikit-learn, and against a published worked example."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from deadlib.annotation.agreement import (
    agreement,
    cohens_kappa,
    disagreement,
    krippendorffs_alpha,
)

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
        cohens_kappa(first, second, weights),
        agreement(first, second, weights),
        strict=True,
    ):
        assert kappa == pytest.approx(cohen_kappa_score(first, second, sample_weight=row))
        assert agreed == pytest.approx(accuracy_score(first, second, sample_weight=row))


def test_kappa_is_not_defined_where_both_always_answer_the_same():
    same = np.zeros(5, int)
    assert np.isnan(cohens_kappa(same, same, np.ones((1, 5)))).all()


def test_alpha_of_the_worked_example():
    answers = np.array(WORKED_EXAMPLE)
    counts = np.stack([(answers == answer).sum(axis=0) for answer in range(1, 6)], axis=1)
    found = krippendorffs_alpha(counts.astype(float), np.ones((1, 12)))
    assert found == pytest.approx([0.743], abs=5e-4)


def test_an_item_counted_twice_is_two_items():
    counts = np.array([[2, 0], [1, 1], [0, 3], [1, 2]], float)
    twice = krippendorffs_alpha(counts, np.array([[1.0, 2.0, 1.0, 1.0]]))
    assert twice == pytest.approx(krippendorffs_alpha(counts[[0, 1, 1, 2, 3]], np.ones((1, 5))))


def test_disagreement_counts_pairs_of_answers():
    counts = np.array([[2, 0, 0], [1, 1, 0], [2, 1, 0], [2, 2, 0], [1, 1, 1]], float)
    np.testing.assert_allclose(disagreement(counts), [0, 1, 2 / 3, 4 / 6, 1])

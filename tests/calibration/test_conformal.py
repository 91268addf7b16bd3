"""Prediction sets hold the true class as often as promised, for images of groups never seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.calibration import fewest_groups, least_probabilities, softmax

COVERAGE = 0.9


def draw(generator: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the true class (N,), and groups (N,): what a group has in common moves all
    of its images, and large groups are the easier ones."""
    sizes = generator.choice([2, 3, 40], groups)
    common = generator.normal(1.5, 1.5, groups) + 1.5 * (sizes == 40)
    group = np.repeat(np.arange(groups), sizes)
    logits = common[group] + generator.normal(0, 1, len(group))
    return 1 / (1 + np.exp(-logits)), group


def coverages(groups: int, *, alone: bool = False) -> np.ndarray:
    """In each of 400 worlds: how often images of 40 new groups have their class in the set, each
    group weighing the same. alone: with every image taken for a group."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        known, group = draw(generator, groups)
        probabilities = np.stack([known, 1 - known], axis=1)
        unit = np.arange(len(group)) if alone else group
        least = least_probabilities(probabilities, np.zeros(len(group), int), unit, COVERAGE)[0]
        new, new_group = draw(generator, 40)
        caught = np.bincount(new_group, new >= least) / np.bincount(new_group)
        found.append(caught.mean())
    return np.array(found)


@pytest.mark.parametrize("groups", [10, 30, 100])
def test_new_groups_are_covered_as_promised(groups: int) -> None:
    found = coverages(groups)
    error = found.std() / np.sqrt(len(found))
    assert found.mean() > COVERAGE - 2 * error
    assert found.mean() < COVERAGE + 1.5 / (groups + 1) + 2 * error


def test_images_taken_for_groups_would_break_the_promise() -> None:
    assert coverages(30, alone=True).mean() < COVERAGE - 0.02


def test_a_class_is_covered_by_itself() -> None:
    """A rare class at which the network is bad is covered too."""
    generator = np.random.default_rng(2)

    def world(examples: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (generator.random(examples) < 0.05).astype(int)
        logits = generator.normal(0, 1, (examples, 2))
        logits[:, 0] += 1.5 + np.where(labels == 0, 1.5, -1.0)
        return softmax(logits), labels

    probabilities, labels = world(20000)
    least = least_probabilities(probabilities, labels, np.arange(20000), COVERAGE)
    new, truth = world(20000)
    inside = new[np.arange(20000), truth] >= least[truth]
    for k in (0, 1):
        assert inside[truth == k].mean() == pytest.approx(COVERAGE, abs=0.02)
    one_for_all = np.quantile(probabilities[np.arange(20000), labels], 1 - COVERAGE)
    assert (new[truth == 1, 1] >= one_for_all).mean() < 0.5


@given(
    groups=st.integers(1, 60), coverage=st.sampled_from([0.5, 0.8, 0.9, 0.95]), seed=st.integers(0)
)
def test_too_few_groups_promise_nothing_but_everything(
    groups: int, coverage: float, seed: int
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([1, 1], 2 * groups)
    labels, group = np.zeros(2 * groups, int), np.arange(2 * groups) // 2
    least = least_probabilities(probabilities, labels, group, coverage)
    assert (least[0] == 0) == (groups < fewest_groups(coverage))
    assert least[1] == 0, "a class without examples is in every set"


def test_with_one_image_a_group_it_is_the_quantile_of_split_conformal_prediction() -> None:
    """The k-th largest of n, k = ceil(coverage (n + 1)) (Vovk et al. 2005)."""
    generator = np.random.default_rng(3)
    for examples in (9, 19, 50, 999):
        probabilities = generator.dirichlet([2, 1], examples)
        labels = np.zeros(examples, int)
        least = least_probabilities(probabilities, labels, np.arange(examples), COVERAGE)[0]
        rank = int(np.ceil(COVERAGE * (examples + 1) - 1e-9))
        assert least == np.sort(probabilities[:, 0])[::-1][rank - 1]


def test_nine_groups_are_the_fewest_for_nine_in_ten() -> None:
    assert [fewest_groups(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]

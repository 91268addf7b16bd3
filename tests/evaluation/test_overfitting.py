"""Over-fitting is found where it begins, and not made up."""

from __future__ import annotations

import numpy as np
import pytest

from deadlib.evaluation.figures import learning_curves, over_fitting_epoch
from deadlib.evaluation.overfitting import over_fitting_begins

EPOCHS = np.arange(1, 401)


def falling(length: int = 400) -> np.ndarray:
    return np.asarray(0.05 + 0.6 * np.exp(-np.arange(length) / (length / 8)))


def turning(at: int, noise: float, seed: int) -> np.ndarray:
    """A validation loss that falls to epoch `at`, as celldeath's to 280 of 400, and then rises."""
    behind = np.maximum(EPOCHS - at, 0) / 120
    wobble = np.random.default_rng(seed).normal(0, noise, len(EPOCHS))
    before = 0.1 + 0.4 * np.exp(-EPOCHS / 40) + 0.05 * np.maximum(at - EPOCHS, 0) / at
    return np.asarray(before + 0.15 * behind + wobble)


@pytest.mark.parametrize("at", [80, 280])
@pytest.mark.parametrize("seed", range(5))
def test_the_turn_of_a_noisy_curve_is_found(at: int, seed: int) -> None:
    found = over_fitting_begins(falling(), turning(at, 0.02, seed), EPOCHS)
    assert found is not None
    assert abs(found - at) <= 60


@pytest.mark.parametrize("length", [8, 50, 400])
def test_a_curve_that_only_falls_or_lies_flat_has_a_turn_once_in_a_hundred_at_most(
    length: int,
) -> None:
    for level in (falling(length), np.full(length, 0.3)):
        found = 0
        for seed in range(200):
            noise = np.random.default_rng(seed).normal(0, 0.02, length)
            begins = over_fitting_begins(falling(length), level + noise, range(length))
            found += begins is not None
        assert found <= 2


def test_a_loss_that_rises_on_training_images_too_is_no_over_fitting() -> None:
    assert over_fitting_begins(turning(80, 0, 0), turning(80, 0, 0), EPOCHS) is None


def test_a_single_spike_is_no_turn() -> None:
    spiked = falling() + np.where(EPOCHS == 300, 2.0, 0.0)
    assert over_fitting_begins(falling(), spiked, EPOCHS) is None


def test_too_few_validations_say_nothing() -> None:
    assert over_fitting_begins([3, 2, 1, 0.5], [1, 0.5, 1, 2], [1, 2, 3, 4]) is None


def test_gaps_are_left_out() -> None:
    validation = turning(280, 0.0, 0)
    validation[::7] = np.nan
    found = over_fitting_begins(falling(), validation, EPOCHS)
    assert found == pytest.approx(280, abs=40)


def test_the_figure_marks_it_and_says_so() -> None:
    rows = [
        {"epoch": int(epoch), "train_loss": train, "validation_example_loss": validation}
        for epoch, train, validation in zip(EPOCHS, falling(), turning(280, 0, 0), strict=True)
    ]
    begins = over_fitting_epoch(rows)
    assert begins is not None
    assert f"Over-fitting begins at epoch {begins:g}." in learning_curves(rows, 280).alt
    assert "Over-fitting" not in learning_curves(rows[:200], 200).alt
    assert over_fitting_epoch([{"epoch": 1, "train_loss": 0.1}]) is None

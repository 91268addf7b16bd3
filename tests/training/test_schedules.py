from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.recipe import ScheduleSection
from deadlib.training.schedules import (
    Geometric,
    build_momentum,
    build_schedule,
    learning_rate_at,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "one_cycle.npz"
NAMES = ["constant", "inverse", "cosine", "one_cycle"]


def rates(steps: list[int], peak: float, total_steps: int, **section: object) -> list[float]:
    schedule = build_schedule(ScheduleSection.model_validate(section), peak, total_steps)
    return [learning_rate_at(schedule, step) for step in steps]


def test_constant_stays() -> None:
    assert rates([0, 5, 100], 0.5, 10, name="constant") == [0.5, 0.5, 0.5]


def test_inverse_goes_as_caffes_solver() -> None:
    steps = [0, 10_000, 100_000, 200_000, 500_000, 1_000_000]
    expected = [3.000e-4, 2.793e-4, 1.784e-4, 1.316e-4, 7.825e-5, 4.967e-5]
    np.testing.assert_allclose(
        rates(steps, 3e-4, 1_000_000, name="inverse", gamma=1e-5, power=0.75), expected, rtol=5e-4
    )


def test_cosine_rises_from_0_and_falls_to_its_final_share() -> None:
    found = rates([0, 5, 10, 60, 110], 2.0, 110, warmup_steps=10, final_fraction=0.1)
    np.testing.assert_allclose(found, [0.0, 1.0, 2.0, 1.1, 0.2], rtol=1e-6, atol=1e-7)


def test_cosine_without_warm_up_starts_at_the_peak() -> None:
    np.testing.assert_allclose(rates([0, 50, 100], 1.0, 100), [1.0, 0.5, 0.0], atol=1e-6)


def test_one_cycle_has_fastais_values() -> None:
    found = rates([0, 30, 100], 1e-3, 100, name="one_cycle")
    np.testing.assert_allclose(found, [1e-3 / 25, 1e-3, 1e-3 / 2.5e5], rtol=1e-5)


@pytest.mark.parametrize("total_steps", [7, 10, 101])
def test_one_cycle_follows_its_two_half_cosines(total_steps: int) -> None:
    rise = int(0.3 * total_steps)

    def expected(step: int) -> float:
        start, end, share = (
            (1 / 25, 1.0, step / rise)
            if step < rise
            else (1.0, 1 / 2.5e5, (step - rise) / (total_steps - rise))
        )
        return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)

    steps = list(range(total_steps + 1))
    np.testing.assert_allclose(
        rates(steps, 1.0, total_steps, name="one_cycle"),
        [expected(step) for step in steps],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("total_steps", [7, 10, 101])
def test_one_cycle_and_its_momentum_are_pytorchs(total_steps: int) -> None:
    golden = np.load(GOLDEN)
    section = ScheduleSection(name="one_cycle", momentum=(0.95, 0.85))
    rate = build_schedule(section, 1e-3, total_steps)
    momentum = build_momentum(section, total_steps)
    assert momentum is not None
    for schedule, name in ((rate, "rates"), (momentum, "momenta")):
        found = [learning_rate_at(schedule, step) for step in range(total_steps)]
        np.testing.assert_allclose(found, golden[f"{name}_{total_steps}"], rtol=2e-5, atol=1e-9)


def test_momentum_stays_unless_the_recipe_says_otherwise() -> None:
    assert build_momentum(ScheduleSection(name="one_cycle"), 10) is None


def test_a_geometric_rise_has_equal_steps_in_the_logarithm() -> None:
    found = [learning_rate_at(Geometric(1e-6, 1.0, 7), step) for step in range(7)]
    np.testing.assert_allclose(np.log10(found), [-6, -5, -4, -3, -2, -1, 0], atol=1e-5)


@given(
    name=st.sampled_from(NAMES),
    total_steps=st.integers(1, 50),
    warmup_steps=st.integers(0, 60),
    step=st.integers(0, 100),
)
def test_rates_stay_between_0_and_the_peak(
    name: str, total_steps: int, warmup_steps: int, step: int
) -> None:
    (rate,) = rates([step], 0.01, total_steps, name=name, warmup_steps=warmup_steps)
    assert 0 <= rate <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_survives_saving(name: str) -> None:
    section = ScheduleSection.model_validate({"name": name, "warmup_steps": 3})
    schedule = build_schedule(section, 0.01, 20)
    serialised = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(serialised)
    assert [again(step) for step in range(20)] == [schedule(step) for step in range(20)]

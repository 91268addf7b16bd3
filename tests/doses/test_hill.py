"""Hill curves against scipy's own fit, and intervals against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from deadlib.doses.hill import Hill, crossing, fit_hill

PLACES = np.repeat(np.arange(1.0, 10.0), 3)


def logistic(x: np.ndarray, start: float, end: float, midpoint: float, slope: float) -> np.ndarray:
    return start + (end - start) / (1 + np.exp(-slope * (x - midpoint)))


@given(
    midpoint=st.floats(3, 7),
    slope=st.floats(0.8, 4),
    start=st.floats(0.0, 0.3),
    end=st.floats(0.7, 1.0),
    falling=st.booleans(),
)
@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
def test_a_curve_without_noise_is_found_again(
    midpoint: float, slope: float, start: float, end: float, falling: bool
) -> None:
    start, end = (end, start) if falling else (start, end)
    found = fit_hill(PLACES, Hill(start, end, midpoint, slope)(PLACES)).curve
    assert found.midpoint == pytest.approx(midpoint, abs=0.02)
    assert (found.start, found.end) == pytest.approx((start, end), abs=0.02)
    assert found.slope == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_noisy_curves_agree_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Hill(0.1, 0.9, rng.uniform(3.5, 6.5), 1.8)
    values = truth(PLACES) + rng.normal(0, 0.01, len(PLACES))
    theirs, _ = curve_fit(logistic, PLACES, values, p0=[0.1, 0.9, 5, 1.5])
    ours = fit_hill(PLACES, values).curve
    assert ours.midpoint == pytest.approx(theirs[2], abs=0.02)
    assert (ours.start, ours.end) == pytest.approx(tuple(theirs[:2]), abs=0.01)


def test_one_wild_well_does_not_move_the_curve() -> None:
    rng = np.random.default_rng(0)
    values = Hill(0.05, 0.95, 5.0, 2.0)(PLACES) + rng.normal(0, 0.02, len(PLACES))
    values[0] = 0.9
    theirs, _ = curve_fit(logistic, PLACES, values, p0=[0.05, 0.95, 5, 2])
    ours = fit_hill(PLACES, values).curve
    assert abs(ours.start - 0.05) < 0.5 * abs(theirs[0] - 0.05)
    assert ours.midpoint == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("noise", ["even", "in the dose"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(noise: str) -> None:
    """Of 25 intervals of 95 %, 24 should; fewer than 20 would be a chance of 1 in 100."""
    rng = np.random.default_rng(1)
    held = turned = 0
    for _ in range(25):
        truth = Hill(0.05, 0.95, rng.uniform(3.5, 6.5), 1.8)
        clean = truth(PLACES)
        values = (
            truth(PLACES + rng.normal(0, 0.3, len(PLACES)))
            if noise == "in the dose"
            else np.clip(clean + rng.normal(0, 0.05, len(clean)), 0, 1)
        )
        fit = fit_hill(PLACES, values)
        held += inside(truth.midpoint, fit.low, fit.high)
        _, low, high = crossing(PLACES, values, 0.5, bounds=(0.0, 1.0))
        turned += inside(truth.midpoint, low, high)
    assert min(held, turned) >= 20


def inside(value: float, low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low <= value <= high


def test_an_end_that_the_doses_do_not_reach_is_open() -> None:
    rng = np.random.default_rng(2)
    values = Hill(0.05, 0.95, 9.5, 1.2)(PLACES) + rng.normal(0, 0.03, len(PLACES))
    assert fit_hill(PLACES, values).high is None


def test_noise_alone_is_no_change() -> None:
    rng = np.random.default_rng(3)
    p = [fit_hill(PLACES, 0.5 + rng.normal(0, 0.1, len(PLACES))).p for _ in range(16)]
    assert sum(value < 0.05 for value in p) <= 4
    assert fit_hill(PLACES, np.full(len(PLACES), 0.5)).p == 1.0


def test_too_few_doses_are_refused() -> None:
    with pytest.raises(ValueError, match="a curve needs 5 doses, found 2"):
        fit_hill(np.array([1.0, 1, 2]), np.array([0, 0.1, 1]))

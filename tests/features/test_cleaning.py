"""Features are cleaned as published, and scaled by training rows alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from deadlib.features.cleaning import cleaned, standardised

NAMES = ("good", "hole", "same", "copy", "infinite", "other")
VALUES = np.array(
    [
        # good, hole, same, copy, infinite, other
        [1.0, 1.0, 5.0, 1.0, 1.0, 4.0],
        [2.0, 1.5, 5.0, 2.0, 2.0, 3.0],
        [3.0, 1.0, 5.0, 3.0, 3.0, 9.0],
        [7.0, np.nan, 6.0, 8.0, np.inf, 1.0],
        [np.nan, np.nan, np.nan, np.nan, np.nan, np.nan],
    ]
)
TRAINING = np.array([True, True, True, False, False])
EMPTY = np.array([False, False, False, False, True])


def test_unknown_constant_and_copied_features_are_left_out_and_named() -> None:
    found = cleaned(NAMES, VALUES, TRAINING, EMPTY)
    assert found.kept == ("good", "other")
    assert found.unknown == ("hole", "infinite")
    assert found.constant == ("same",)
    assert found.copies == ("copy",)


def test_a_row_without_cells_costs_no_feature_and_another_costs_them_all() -> None:
    assert cleaned(NAMES, VALUES, TRAINING, np.zeros(5, bool)).kept == ()


@given(arrays(np.float64, (7, 3), elements=st.floats(-1e6, 1e6)), st.integers(2, 6))
def test_scaled_features_are_scikit_learns(values: np.ndarray, taught: int) -> None:
    fitted_on = np.arange(7) < taught
    # a deviation of nothing but rounding has no meaning
    varies = values[fitted_on].std(axis=0) > 1e-6
    scaler = StandardScaler().fit(values[fitted_on][:, varies]) if varies.any() else None
    found = standardised(values, fitted_on)
    if scaler is not None:
        expected = scaler.transform(values[:, varies])
        np.testing.assert_allclose(found[:, varies], expected, rtol=1e-6, atol=1e-6)


def test_other_rows_do_not_move_the_scale() -> None:
    changed = VALUES.copy()
    changed[3:] = 1e9
    one, other = (standardised(values, TRAINING)[:3] for values in (VALUES, changed))
    np.testing.assert_array_equal(one, other)


def test_what_is_not_known_is_the_mean() -> None:
    assert standardised(VALUES, TRAINING)[4].tolist() == [0] * 6

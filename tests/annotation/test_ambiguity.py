"""What disagreement implies: the published figures, and a crowd whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.annotation import implied
from deadlib.annotation.agreement import disagreement
from deadlib.annotation.ambiguity import implied_estimates
from deadlib.bootstrap import Estimate


def test_the_published_figures():
    rate = 49 / 263
    found = implied(rate)
    assert rate == pytest.approx(0.1863, abs=5e-5)
    assert found.ambiguous == pytest.approx(0.3726, abs=5e-5)
    assert found.left == pytest.approx(0.2290, abs=5e-5)
    assert found.left == pytest.approx(rate / (1 - rate))
    assert found.ceiling == pytest.approx(0.7710, abs=5e-5)
    assert found.expected_ceiling == pytest.approx(0.8855, abs=5e-5)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("annotators", [(2,), (3,), (2, 3, 5)])
def test_a_crowd_that_guesses_on_ambiguous_items_is_seen_through(classes, annotators):
    rng = np.random.default_rng(0)
    size, ambiguous_share = 60_000, 0.3
    ambiguous = rng.random(size) < ambiguous_share
    truth = rng.integers(0, classes, size)
    asked = rng.choice(annotators, size)
    answers = np.where(ambiguous[:, None], rng.integers(0, classes, (size, 5)), truth[:, None])
    given_ = np.arange(5) < asked[:, None]
    counts = np.stack(
        [((answers == k) & given_).sum(axis=1) for k in range(classes)], axis=1
    ).astype(float)
    found = implied(
        disagreement(counts).mean(),
        classes=classes,
        passing=float((classes ** (1.0 - asked)).mean()),
    )
    kept = counts.max(axis=1) == asked
    label = counts.argmax(axis=1)
    # the best model knows every clear item and can only guess the rest
    model = np.where(ambiguous, rng.integers(0, classes, size), truth)
    assert found.ambiguous == pytest.approx(ambiguous_share, abs=0.012)
    assert found.left == pytest.approx(ambiguous[kept].mean(), abs=0.012)
    assert found.ceiling == pytest.approx(1 - ambiguous[kept].mean(), abs=0.012)
    assert found.expected_ceiling == pytest.approx((model == label)[kept].mean(), abs=0.012)


@given(
    st.floats(0, 1), st.floats(0, 1), st.integers(2, 6), st.floats(0.001, 1)
)  # fmt: skip
def test_more_disagreement_never_raises_the_ceiling(one, other, classes, passing):
    less, more = (implied(rate, classes=classes, passing=passing) for rate in sorted((one, other)))
    assert 0 <= more.ceiling <= less.ceiling + 1e-12 <= 1 + 1e-9
    assert less.ceiling <= less.expected_ceiling <= 1
    assert less.ambiguous <= more.ambiguous <= 1


def test_no_disagreement_leaves_nothing_ambiguous():
    found = implied(0.0)
    assert (found.ambiguous, found.left, found.ceiling, found.expected_ceiling) == (0, 0, 1, 1)


def test_limits_go_through_the_same_formula_and_change_sides():
    found = implied_estimates(Estimate(0.2, 0.1, 0.3, "bca"), classes=2, passing=0.5)
    ceiling = found["ceiling"]
    assert (ceiling.low, ceiling.high) == (implied(0.3).ceiling, implied(0.1).ceiling)
    assert found["ambiguous"].low == implied(0.1).ambiguous


def test_without_an_interval_the_reason_stays():
    found = implied_estimates(Estimate(0.2, reason="one group only"), classes=2, passing=0.5)
    assert found["ceiling"].value == implied(0.2).ceiling
    assert found["ceiling"].low is None
    assert found["ceiling"].reason == "one group only"

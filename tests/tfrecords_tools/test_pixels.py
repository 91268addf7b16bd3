"""Counted pixels give the statistics that numpy computes from all of them at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfrecords_tools.pixels import PERCENTILES, FloatPixels, IntegerPixels, percentile_name

PARTS = st.lists(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=2))
    ),
    min_size=1,
    max_size=4,
)


def percentiles(statistics: dict) -> list[float]:
    return [statistics[percentile_name(percent)] for percent in PERCENTILES]


@given(parts=PARTS)
def test_integers_of_both_depths_are_counted_exactly(parts: list[np.ndarray]) -> None:
    counted = IntegerPixels()
    for part in parts:
        one = IntegerPixels()
        one.add(part)
        counted.merge(one)
    pixels = np.concatenate([part.ravel() / np.iinfo(part.dtype).max for part in parts])
    found = counted.statistics()
    assert found["pixels"] == pixels.size
    assert found["mean"] == pytest.approx(pixels.mean(), abs=1e-12)
    assert found["deviation"] == pytest.approx(pixels.std(), abs=1e-12)
    np.testing.assert_allclose(percentiles(found), np.percentile(pixels, PERCENTILES), atol=1e-12)


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 300.0]), bright=st.booleans())
def test_floats_are_counted_to_a_part_in_128(seed: int, scale: float, bright: bool) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.gamma(2, scale, size) * (1 if bright else -1) for size in (700, 300)]
    parts = [part.astype(np.float32) for part in parts]
    one, other = FloatPixels(), FloatPixels()
    one.add(parts[0])
    other.add(parts[1].reshape(30, 10))
    one.merge(other)
    pixels = np.concatenate(parts).astype(np.float64)
    found = one.statistics()
    assert found["pixels"] == 1000
    assert found["mean"] == pytest.approx(pixels.mean(), rel=1e-9)
    assert found["deviation"] == pytest.approx(pixels.std(), rel=1e-9)
    np.testing.assert_allclose(percentiles(found), np.percentile(pixels, PERCENTILES), rtol=1 / 128)


def test_floats_on_both_sides_of_nothing_are_in_order() -> None:
    pixels = np.linspace(-1, 1, 4001, dtype=np.float32)
    counted = FloatPixels()
    counted.add(pixels)
    expected = np.percentile(pixels.astype(np.float64), PERCENTILES)
    np.testing.assert_allclose(percentiles(counted.statistics()), expected, atol=4e-3)


def test_a_small_spread_on_a_high_background_is_not_lost() -> None:
    pixels = np.random.default_rng(0).normal(5e4, 0.5, 10_000).astype(np.float32)
    counted = FloatPixels()
    for part in np.split(pixels, 10):
        counted.add(part)
    expected = pixels.astype(np.float64).std()
    assert counted.statistics()["deviation"] == pytest.approx(expected, rel=1e-9)


def test_one_value_is_all_percentiles() -> None:
    counted = FloatPixels()
    counted.add(np.full((3, 3), 0.3, np.float32))
    assert set(percentiles(counted.statistics())) == {float(np.float32(0.3))}

"""Sick area, its interval, and onset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import RegularGridInterpolator

from deadlib.heatmaps.curve import (
    Blocks,
    block_areas,
    limits,
    mean_limits,
    resampled_areas,
)
from deadlib.heatmaps.onset import Rule, onset
from deadlib.windows import grid_over, upsampled

RANDOM = np.random.default_rng(0)


@given(
    st.tuples(st.integers(20, 300), st.integers(20, 300)),
    st.tuples(st.integers(8, 60), st.integers(8, 60)),
)
def test_blocks_cover_the_frame_once_and_are_no_smaller_than_windows(
    shape: tuple[int, int], window: tuple[int, int]
) -> None:
    blocks = Blocks.over(shape, window)
    assert blocks.shares.sum() == pytest.approx(1)
    for edges, side, smallest in zip((blocks.tops_px, blocks.lefts_px), shape, window, strict=True):
        assert (edges[0], edges[-1]) == (0, side)
        assert min(np.diff(edges)) >= min(smallest, side) - 1


def test_the_area_is_that_of_the_whole_picture() -> None:
    shape, window = (130, 170), (32, 40)
    grid = grid_over(shape, window, 8)
    values = RANDOM.random((grid.rows, grid.columns)).astype(np.float32)
    blocks = Blocks.over(shape, window)
    above, mean = block_areas(values, grid, 1.0, blocks, 0.6)
    centres = [
        np.arange(count) * 8 + (side - 1) / 2
        for count, side in zip((grid.rows, grid.columns), window, strict=True)
    ]
    places = [
        np.clip(np.arange(side), centre[0], centre[-1])
        for side, centre in zip(shape, centres, strict=True)
    ]
    whole = RegularGridInterpolator(centres, values)(
        np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    )
    assert above @ blocks.shares == pytest.approx((whole > 0.6).mean(), abs=1e-4)
    assert mean @ blocks.shares == pytest.approx(whole.mean(), abs=1e-4)


def test_a_map_of_resampled_frames_lies_where_the_frame_does() -> None:
    grid = grid_over((200, 200), (40, 40), 20)
    values = np.outer(np.arange(grid.rows), np.ones(grid.columns)).astype(np.float32)
    # on frames made twice as large, window centres lie at (19.5 + 20 n + 0.5) / 2 - 0.5 px
    found = upsampled(values, grid, (0, 0, 100, 100), scale=2.0)
    assert found[50, 0] == pytest.approx((50 - 9.5) / 10)
    assert found[5, 0] == 0


def test_the_interval_is_that_of_a_bootstrap_of_blocks() -> None:
    areas = RANDOM.random((1, 40))
    blocks = Blocks((0, 10), tuple(range(0, 410, 10)))
    resampled = resampled_areas(areas, blocks.shares, np.random.default_rng(1))
    [[low, high]] = limits(resampled, areas)
    expected = stats.bootstrap(
        (areas[0],), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.012)


def test_a_resample_takes_the_same_blocks_at_all_times() -> None:
    still = np.repeat(RANDOM.random((1, 12)), 5, axis=0)
    resampled = resampled_areas(still, np.full(12, 1 / 12), np.random.default_rng(0))
    assert resampled is not None
    assert np.allclose(np.ptp(resampled, axis=1), 0)


def test_blocks_of_unequal_size_count_by_their_size() -> None:
    shares = np.array([1, 1, 1, 1, 1, 2, 3]) / 10
    even = resampled_areas(np.full((1, 7), 0.4), shares, np.random.default_rng(0))
    assert even is not None
    assert np.allclose(even, 0.4)


def test_too_few_blocks_give_no_interval() -> None:
    areas = RANDOM.random((3, 5))
    assert resampled_areas(areas, np.full(5, 0.2), np.random.default_rng(0)) is None
    assert np.isnan(limits(None, areas)).all()


def test_blocks_that_agree_give_no_interval() -> None:
    areas = np.stack([np.zeros(8), RANDOM.random(8)])
    found = limits(resampled_areas(areas, np.full(8, 1 / 8), np.random.default_rng(0)), areas)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_the_mean_of_positions_has_students_interval() -> None:
    values = [0.2, 0.5, 0.4, 0.35]
    mean, low, high = mean_limits(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.3625, *expected))
    assert mean_limits([0.2, 0.5]) == (0.35, None, None)


def test_onset_is_the_first_frame_of_a_run_that_lasts() -> None:
    areas = np.array([0.0, 0.5, 0.1, 0.5, 0.5, 0.5, 0.1])
    found = onset(np.arange(7) / 2, areas, None, Rule(0.25, 3))
    assert (found.time, found.last_below) == (1.5, 1.0)
    assert (found.low, found.high, found.reached) == (None, None, None)


def test_an_onset_that_is_not_reached_is_none() -> None:
    areas = np.array([0.1, 0.2, 0.5, 0.5])
    assert onset(np.arange(4), areas, None, Rule(0.25, 3)).time is None
    assert onset(np.arange(2), areas[:2], None, Rule(0.25, 3)).time is None


def test_a_position_that_is_sick_at_once_has_no_time_before() -> None:
    found = onset(np.arange(3) + 4.0, np.ones(3), None, Rule(0.25, 2))
    assert (found.time, found.last_below) == (4.0, None)


def test_resamples_that_never_reach_onset_leave_its_end_open() -> None:
    times = np.arange(4.0)
    late, never = np.array([0.0, 0.0, 0.5, 0.5]), np.zeros(4)
    early = np.array([0.0, 0.5, 0.5, 0.5])
    resampled = np.concatenate([np.tile(early, (50, 1)), np.tile(late, (40, 1)), [never] * 10])
    found = onset(times, late, resampled, Rule(0.25, 2))
    assert (found.low, found.high, found.reached) == (1.0, None, 0.9)
    found = onset(times, late, resampled[:90], Rule(0.25, 2))
    assert (found.low, found.high, found.reached) == (1.0, 2.0, 1.0)


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 4))
def test_the_rule_agrees_with_its_words(above: list[bool], frames: int) -> None:
    areas = np.array([0.5 if value else 0.1 for value in above])
    expected = next((i for i in range(len(above) - frames + 1) if all(above[i : i + frames])), -1)
    assert int(Rule(0.25, frames).first(areas)) == expected

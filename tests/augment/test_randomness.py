from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deadlib.augment.randomness import chance, derive, log_uniform, normal, per_image, uniform

# Drawn once; recipes of published runs rely on them.
GOLDEN = [[0.1122671365737915, 0.9438302516937256], [0.07120585441589355, 0.9306654930114746]]
WORDS = st.integers(-(2**31), 2**31 - 1)


def seeds(first: int = 1, second: int = 2, batch: int = 4) -> tf.Tensor:
    return per_image(np.array([first, second], np.int32), batch)


def test_draws_are_the_same_on_every_machine() -> None:
    found = np.asarray(uniform(seeds(), 1, (2,)))[:2]
    np.testing.assert_array_equal(found, np.asarray(GOLDEN, np.float32))


@settings(max_examples=30)
@given(first=WORDS, second=WORDS)
def test_uniform_draws_stay_in_their_range(first: int, second: int) -> None:
    found = np.asarray(uniform(seeds(first, second), 3, (5, 2), -2.0, 3.0))
    assert found.shape == (4, 5, 2)
    assert found.dtype == np.float32
    assert found.min() >= -2
    assert found.max() <= 3


@settings(max_examples=30)
@given(first=WORDS, second=WORDS)
def test_normal_draws_are_finite(first: int, second: int) -> None:
    found = np.asarray(normal(seeds(first, second), 3, (50,)))
    assert found.shape == (4, 50)
    assert np.isfinite(found).all()


def test_draws_have_their_distribution() -> None:
    many = seeds(3, 4, batch=20)
    assert stats.kstest(np.ravel(uniform(many, 1, (2000,))), "uniform").pvalue > 0.01
    assert stats.kstest(np.ravel(normal(many, 1, (2000,))), "norm").pvalue > 0.01
    crowd = seeds(batch=20_000)
    logarithms = np.log(np.asarray(log_uniform(crowd, 1, 0.5, 2.0))) / np.log(2)
    assert stats.kstest(logarithms, stats.uniform(-1, 2).cdf).pvalue > 0.01
    np.testing.assert_allclose(np.mean(chance(crowd, 1, 0.3)), 0.3, atol=0.01)


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_images_and_positions_are_uncorrelated(axis: int) -> None:
    draws = np.asarray(uniform(seeds(batch=300), 1, (300,)), np.float64) - 0.5
    ahead = np.roll(draws, 1, axis=axis)
    correlation = (draws * ahead).mean() / draws.var()
    assert abs(correlation) < 4 / 300


@settings(max_examples=30)
@given(
    first=st.tuples(WORDS, WORDS, st.integers(0, 20)),
    second=st.tuples(WORDS, WORDS, st.integers(0, 20)),
)
def test_another_seed_or_stream_gives_other_draws(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    draws = [np.asarray(uniform(seeds(a, b), stream, (8,))) for a, b, stream in (first, second)]
    assert np.array_equal(*draws) == (first == second)


def test_seeds_of_steps_and_images_differ() -> None:
    rows = np.concatenate([np.asarray(derive(seeds(batch=100), step)) for step in range(20)])
    assert len(np.unique(rows, axis=0)) == 2000


def test_a_probability_of_0_never_happens_and_of_1_always() -> None:
    many = seeds(batch=5000)
    assert not np.any(chance(many, 1, 0.0))
    assert np.all(chance(many, 1, 1.0))


def test_draws_are_the_same_eagerly_in_a_graph_and_compiled() -> None:
    def draw(seed: tf.Tensor) -> tf.Tensor:
        return uniform(per_image(seed, 4), 1, (6,))

    seed = tf.constant([-5, 7])
    eager = draw(seed).numpy()
    np.testing.assert_array_equal(tf.function(draw)(seed), eager)
    np.testing.assert_array_equal(tf.function(draw, jit_compile=True)(seed), eager)


def test_a_seed_per_image_is_kept() -> None:
    given_seeds = np.array([[1, 2], [3, 4]], np.int64)
    np.testing.assert_array_equal(per_image(given_seeds, 2), given_seeds)

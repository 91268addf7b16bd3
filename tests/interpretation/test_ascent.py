"""Gradient ascent is the printed equation, and raises the score of the class it is for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.ndimage import laplace

from deadlib.errors import InputError
from deadlib.interpretation.ascent import Jittered, Published, climb, laplacian, moments
from deadlib.models import build_network
from deadlib.recipe import ModelSection

GENERATOR = np.random.default_rng(0)
STARTS = GENERATOR.normal(size=(2, 9, 7, 2)).astype(np.float32)
WEIGHTS = GENERATOR.normal(0, 0.05, (9 * 7 * 2, 3)).astype(np.float32)


def linear() -> keras.Model:
    """A network whose score is a weighted sum of its input: the gradient is the weights."""
    image = keras.Input((9, 7, 2))
    head = keras.layers.Dense(3, use_bias=False)
    network = keras.Model(image, head(keras.layers.Flatten()(image)))
    head.set_weights([WEIGHTS])
    return network


def by_hand(way: Published, classes: list[int]) -> np.ndarray:
    """Equation 4 in NumPy, the Laplacian from SciPy."""
    images = np.clip(STARTS.astype(np.float64), -way.limit, way.limit)
    slope = np.stack([WEIGHTS[:, k].reshape(9, 7, 2) for k in classes])
    sign = -1 if way.literal_sign else 1
    for _ in range(way.iterations):
        rough = np.stack([[laplace(each[..., c]) for c in range(2)] for each in images]).transpose(
            0, 2, 3, 1
        )
        change = slope - way.decay * images + sign * way.smoothness * rough
        images = np.clip(images + way.step * change, -way.limit, way.limit)
    return images


@pytest.mark.parametrize(
    "way",
    [
        Published(iterations=60),
        Published(iterations=60, literal_sign=True),
        Published(iterations=7, step=3, decay=0.05, smoothness=0.02, limit=1.5),
    ],
    ids=["default", "literal sign", "other constants"],
)
def test_the_update_is_the_equation(way: Published) -> None:
    climbed = climb(linear(), STARTS, [2, 0], way)
    np.testing.assert_allclose(climbed.result, by_hand(way, [2, 0]), rtol=1e-4, atol=1e-4)


def test_without_smoothing_a_linear_network_has_its_weights_over_the_decay_as_its_image() -> None:
    way = Published(smoothness=0, limit=100)
    result = climb(linear(), STARTS, [1, 1], way).result
    wanted = WEIGHTS[:, 1].reshape(9, 7, 2) / way.decay
    np.testing.assert_allclose(result, np.stack([wanted, wanted]), rtol=1e-4, atol=1e-4)


def test_the_laplacian_is_that_of_scipy() -> None:
    found = np.asarray(laplacian(STARTS))
    for image, wanted in zip(found, STARTS, strict=True):
        for channel in range(2):
            np.testing.assert_allclose(
                image[..., channel], laplace(wanted[..., channel]), rtol=1e-5, atol=1e-5
            )


def test_the_default_sign_smooths_and_the_literal_one_roughens() -> None:
    rough = {}
    for literal in (False, True):
        way = Published(literal_sign=literal, smoothness=0.005)
        result = climb(linear(), 0 * STARTS, [0, 0], way).result
        rough[literal] = np.abs(np.diff(result, axis=1)).mean() / np.abs(result).mean()
    assert rough[False] < 0.8 * rough[True]


@pytest.mark.parametrize(
    "way", [Published(iterations=40), Jittered(iterations=40, total_variation=0.1)]
)
def test_the_score_rises_on_a_network_with_convolutions(way: Published | Jittered) -> None:
    keras.utils.set_random_seed(0)
    section = ModelSection(name="small_cnn", width=4, blocks=2)
    network = build_network(section, size_px=(16, 16), channels=1, classes=3)
    starts = np.random.default_rng(1).normal(size=(3, 16, 16, 1)).astype(np.float32)
    told: list[tuple[int, int]] = []
    climbed = climb(network, starts, [0, 1, 2], way, lambda *each: told.append(each))
    assert (climbed.scores[-1] > climbed.scores[0] + 0.1).all()
    assert climbed.iterations == moments(40)
    assert climbed.images.shape == (len(moments(40)), 3, 16, 16, 1)
    np.testing.assert_array_equal(climbed.images[0], starts.astype(np.float16))
    np.testing.assert_array_equal(climbed.images[-1], climbed.result.astype(np.float16))
    scores = network(climbed.result, training=False).numpy()[range(3), range(3)]
    np.testing.assert_allclose(climbed.scores[-1], scores, rtol=1e-4, atol=1e-4)
    assert np.abs(climbed.result).max() <= way.limit
    assert told[-1] == (40, 40)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    keras.utils.set_random_seed(0)
    section = ModelSection(name="small_cnn", width=4, blocks=2)
    network = build_network(section, size_px=(16, 16), channels=1, classes=2)
    starts = np.random.default_rng(1).normal(size=(2, 16, 16, 1)).astype(np.float32)
    together = climb(network, starts, [0, 1], Published(iterations=5)).result
    alone = climb(network, starts[1:], [1], Published(iterations=5)).result
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-3, atol=1e-3)


def test_jitter_leaves_the_picture_in_its_place_and_is_seeded() -> None:
    image = keras.Input((16, 16, 1))
    network = keras.Model(
        image, keras.layers.Dense(2, kernel_initializer="zeros")(keras.layers.Flatten()(image))
    )
    starts = np.zeros((1, 16, 16, 1), np.float32)
    starts[0, 3, 12] = 1
    way = Jittered(iterations=9, total_variation=0)
    np.testing.assert_array_equal(climb(network, starts, [0], way).result, starts)
    score = linear()
    results = [climb(score, STARTS, [0, 1], Jittered(iterations=9, seed=s)).result for s in (1, 1)]
    np.testing.assert_array_equal(*results)


def test_total_variation_smooths() -> None:
    rough = []
    for weight in (0.0, 30.0):
        way = Jittered(iterations=60, jitter_px=0, total_variation=weight)
        result = climb(linear(), STARTS, [0, 1], way).result
        rough.append(np.abs(np.diff(result, axis=1)).mean())
    assert rough[1] < 0.8 * rough[0]


def test_moments_begin_at_the_start_and_end_with_the_last_iteration() -> None:
    for iterations in (1, 2, 39, 500):
        found = moments(iterations)
        assert found[0] == 0
        assert found[-1] == iterations
        assert list(found) == sorted(set(found))


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"step": 300}, "every step overshoots"),
        ({"step": 0}, "a step above 0"),
        ({"iterations": 0}, "at least one iteration"),
        ({"limit": -1}, "a limit above 0"),
    ],
)
def test_constants_that_cannot_work_are_refused(constants: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Published(**constants)
    with pytest.raises(InputError, match="neither below 0"):
        Jittered(jitter_px=-1)

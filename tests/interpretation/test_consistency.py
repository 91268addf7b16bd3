"""Windows that overlap are compared on the pixels that both show."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from finished_run import make_dataset, make_run
from hypothesis import given as drawn
from hypothesis import strategies as st
from scipy.stats import pearsonr

from deadlib.data.preprocess import preprocess_for
from deadlib.data.unit import unit_range
from deadlib.inputs import RunInput, open_input
from deadlib.interpretation.class_weights import mean_weights
from deadlib.interpretation.consistency import (
    Pairs,
    agreement,
    consistency,
    overlapping_crops,
    shared,
)
from deadlib.interpretation.question import Question
from tfrecords_tools import ConversionSettings

CUT = ConversionSettings(crop_px=32, stride_px=16, fractions=(0.6, 0.2, 0.2))


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> RunInput:
    folder = tmp_path_factory.mktemp("crops")
    dataset = make_dataset(folder, CUT, count=10, shape=(64, 80))
    section = {"size_px": [24, 24], "fit": "crop", "normalise": "none"}
    run = make_run(folder / "run", dataset, section)
    return open_input(run, dataset.folder, folder / "unused")


@drawn(st.integers(-9, 9), st.integers(-9, 9))
def test_shared_pixels_are_the_same_pixels(down: int, right: int) -> None:
    frame = np.arange(40 * 40).reshape(40, 40)
    first, second = frame[10:20, 10:22], frame[10 + down : 20 + down, 10 + right : 22 + right]
    one, other = shared(first, second, (down, right))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (10 - abs(down), 12 - abs(right))


def test_agreement_is_that_of_scipy_and_of_its_limits() -> None:
    first, second = np.random.default_rng(0).random((2, 8, 9))
    found = agreement(first, second)
    assert found is not None
    assert found.correlation == pytest.approx(pearsonr(first.ravel(), second.ravel())[0])
    same = agreement(first, first)
    assert same is not None
    assert (same.correlation, same.difference) == (pytest.approx(1), 0)
    apart = agreement(np.eye(6), np.eye(6)[::-1])
    assert apart is not None
    assert apart.difference == pytest.approx(2)
    one_is_empty = agreement(first, np.zeros((8, 9)))
    assert one_is_empty is not None
    assert one_is_empty.correlation == 0
    assert agreement(np.zeros((3, 3)), np.zeros((3, 3))) is None


def test_pairs_of_crops_show_the_same_pixels(crops: RunInput) -> None:
    pairs = overlapping_crops(crops, crops.examples("all"), seed=0)
    assert pairs is not None
    assert len(pairs.first) == 64
    assert pairs.window_px == (24, 24)
    for first, second, shift in zip(pairs.first, pairs.second, pairs.shift_px, strict=True):
        one, other = shared(first[..., 0], second[..., 0], tuple(shift))
        np.testing.assert_array_equal(one, other)
        assert one.size >= 0.25 * 24 * 24
        assert one.size < 24 * 24


def test_images_that_do_not_overlap_have_no_pairs(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, count=4)
    run = make_run(tmp_path / "run", dataset)
    given = open_input(run, dataset.folder, tmp_path / "unused")
    assert overlapping_crops(given, given.examples("all"), seed=0) is None


def test_where_a_place_is_seen_alike_in_every_window_class_weights_agree_exactly() -> None:
    keras.utils.set_random_seed(4)
    image = keras.Input((16, 16, 1))
    maps = keras.layers.Conv2D(6, 1, activation="relu", name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    hidden = keras.layers.Dense(8, activation="relu")(pooled)
    network = keras.Model(image, keras.layers.Dense(2)(hidden))
    frame = np.random.default_rng(0).normal(size=(40, 40, 1)).astype(np.float32)
    corners = [(top, left) for top in (0, 8, 16) for left in (0, 8, 16)]
    windows = np.stack([frame[top : top + 16, left : left + 16] for top, left in corners])
    question = Question(network, "maps", class_weights=np.array([[1, -1] * 3, [-1, 1] * 3], "f4"))
    pairs = Pairs(windows[:-1], windows[1:], np.diff(corners, axis=0), (16, 16))
    near = np.abs(pairs.shift_px).max(axis=1) < 16
    pairs = Pairs(pairs.first[near], pairs.second[near], pairs.shift_px[near], (16, 16))
    found = consistency(question, pairs)
    assert found is not None
    assert found.by_class.correlation == pytest.approx(1)
    assert found.by_class.difference == 0
    assert found.own.difference > 0.01
    assert found.sentence().startswith("overlapping crops agree: ")


def test_both_ways_are_means_of_the_same_pairs() -> None:
    image = keras.Input((16, 16, 1))
    padded = {"padding": "same", "use_bias": False}
    maps = keras.layers.Conv2D(2, 3, activation="relu", name="maps", **padded)(image)
    network = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(maps)))
    network.get_layer("maps").set_weights([np.ones((3, 3, 1, 1)) * [1.0, -1.0]])
    # Windows that are bright on the whole are of class 0, dark ones of class 1.
    places = np.random.default_rng(0).uniform(0.5, 1.5, (16, 16, 1))
    head = np.stack([places * [1, -1], places * [-1, 1]], axis=-1).reshape(-1, 2)
    network.layers[-1].set_weights([head, np.zeros(2)])
    noise = np.random.default_rng(1).normal(size=(8, 16, 24, 1)).astype(np.float32)
    frames = noise + np.array([2, 2, 2, 2, 2, -2, -2, -2], np.float32)[:, None, None, None]
    shift = np.array([[0, 8]] * 8)
    pairs = Pairs(frames[:, :, :16], frames[:, :, 8:], shift, (16, 16))
    cold_for_dark = Question(network, "maps", class_weights=np.array([[1, 0], [0, 0]], "f4"))
    found = consistency(cold_for_dark, pairs)
    bright = Pairs(pairs.first[:5], pairs.second[:5], shift[:5], (16, 16))
    assert found is not None
    assert found.pairs == 5
    assert found == consistency(cold_for_dark, bright)
    weights = np.array([[1, 0], [0, 1]], "f4")
    every = consistency(Question(network, "maps", class_weights=weights), pairs)
    assert every is not None
    assert every.pairs == 8
    assert every.own != found.own


def test_a_trained_network_agrees_better_with_class_weights(crops: RunInput) -> None:
    run, manifest = crops.run, crops.dataset.manifest
    rows = manifest.index[manifest["split"] == "train"].to_numpy()
    seen = preprocess_for(run.recipe.input, run.dataset)(
        np.stack([unit_range(crops.image(int(row))) for row in rows])
    )
    labels = np.array([run.classes.index(label) for label in manifest.loc[rows, "label"]])
    keras.utils.set_random_seed(1)
    image = keras.Input((24, 24, 1))
    maps = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    pooled = keras.layers.MaxPooling2D(2)(maps)
    maps = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="maps")(pooled)
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(maps))
    network = keras.Model(image, keras.layers.Dense(2)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
    network.fit(np.asarray(seen), labels, epochs=3, batch_size=32, verbose=0)
    weights = mean_weights(crops, network, "maps").weights
    pairs = overlapping_crops(crops, crops.examples("test"), seed=0)
    assert pairs is not None
    found = consistency(Question(network, "maps", class_weights=weights), pairs)
    assert found is not None
    assert found.by_class.correlation > found.own.correlation

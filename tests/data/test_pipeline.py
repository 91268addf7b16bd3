"""Batches: every example exactly once, in an order that can be repeated and taken up again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.data import pipeline
from deadlib.data.pipeline import Held, Order, batches, hold, image_batches
from deadlib.data.shapes import example_shape, held_bytes, record_shape, split_count
from deadlib.errors import RecipeError
from deadlib.recipe import InputSection
from tfrecords_tools import Dataset, DatasetError

SECTION = InputSection(size_px=(8, 8))


@pytest.fixture(scope="module")
def held(uniform_dataset: Dataset) -> Held:
    return hold(uniform_dataset, "train", SECTION)


def parts_of(source: tf.data.Dataset) -> list[dict[str, Any]]:
    return list(source.as_numpy_iterator())


def rows_of(source: tf.data.Dataset) -> list[int]:
    return [int(row) for part in parts_of(source) for row in part["row"]]


def read(dataset: Dataset, held: Held, way: str, **options: Any) -> tf.data.Dataset:
    """Both ways of reading the training split."""
    if way == "held":
        return held.batches(**options)
    return batches(dataset, "train", SECTION, **options)


def rows_in(dataset: Dataset, split: str) -> list[int]:
    return np.flatnonzero((dataset.manifest["split"] == split).to_numpy()).tolist()


@pytest.mark.parametrize("way", ["held", "streamed"])
@settings(max_examples=8, deadline=None)
@given(batch=st.integers(1, 40), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_visits_every_example_exactly_once(
    uniform_dataset: Dataset, held: Held, way: str, batch: int, seed: int, epoch: int
) -> None:
    parts = parts_of(read(uniform_dataset, held, way, batch=batch, order=Order(seed, epoch)))
    rows = [int(row) for part in parts for row in part["row"]]
    assert sorted(rows) == rows_in(uniform_dataset, "train")
    assert all(len(part["row"]) == batch for part in parts[:-1])


@pytest.mark.parametrize("way", ["held", "streamed"])
@settings(max_examples=5, deadline=None)
@given(batch=st.integers(1, 9), skip=st.integers(0, 6), epoch=st.integers(0, 100))
def test_an_epoch_can_be_taken_up_in_the_middle(
    uniform_dataset: Dataset, held: Held, way: str, batch: int, skip: int, epoch: int
) -> None:
    order = Order(3, epoch)
    whole = rows_of(read(uniform_dataset, held, way, batch=batch, order=order))
    rest = rows_of(read(uniform_dataset, held, way, batch=batch, order=order, skip=skip))
    assert rest == whole[skip * batch :]


@pytest.mark.parametrize("way", ["held", "streamed"])
def test_the_order_follows_from_seed_and_epoch(
    uniform_dataset: Dataset, held: Held, way: str
) -> None:
    def rows(order: Order) -> list[int]:
        return rows_of(read(uniform_dataset, held, way, batch=8, order=order))

    assert rows(Order(1, 2)) == rows(Order(1, 2))
    assert rows(Order(1, 2)) != rows(Order(1, 3))
    assert rows(Order(1, 2)) != rows(Order(2, 2))


def test_shuffling_mixes_shards(uniform_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    shard_of = uniform_dataset.manifest["shard"].to_numpy()
    for bytes_in_buffer in (pipeline.SHUFFLED_BYTES, 1):
        monkeypatch.setattr(pipeline, "SHUFFLED_BYTES", bytes_in_buffer)
        source = batches(uniform_dataset, "train", SECTION, batch=8, order=Order(0, 0))
        first = shard_of[parts_of(source)[0]["row"]]
        assert len(set(first)) > 1


def test_without_an_order_examples_come_as_they_lie(uniform_dataset: Dataset, held: Held) -> None:
    expected = rows_in(uniform_dataset, "train")
    assert rows_of(batches(uniform_dataset, "train", SECTION, batch=8)) == expected
    assert rows_of(held.batches(batch=8)) == expected


@pytest.mark.parametrize("way", ["held", "streamed"])
def test_a_batch_holds_the_stored_pixels_and_labels(
    uniform_dataset: Dataset, held: Held, way: str
) -> None:
    manifest = uniform_dataset.manifest
    for part in parts_of(read(uniform_dataset, held, way, batch=16, order=Order(0, 0))):
        assert part["image"].dtype == np.float32
        assert part["class_index"].dtype == np.int32
        for image, class_index, row in zip(*part.values(), strict=True):
            stored = uniform_dataset.read_example(int(row))
            np.testing.assert_allclose(image, stored / 65535, rtol=1e-6)
            assert uniform_dataset.classes[class_index] == manifest["label"][row]


def test_held_and_streamed_examples_are_the_same(mixed_dataset: Dataset) -> None:
    streamed = parts_of(batches(mixed_dataset, "train", SECTION, batch=100))[0]
    held = parts_of(hold(mixed_dataset, "train", SECTION).batches(batch=100))[0]
    for name in streamed:
        np.testing.assert_array_equal(streamed[name], held[name])


def test_images_of_all_sizes_are_resized_to_one(mixed_dataset: Dataset) -> None:
    section = InputSection(size_px=(5, 7))
    images = list(image_batches(mixed_dataset, "train", section))
    assert {image.shape[1:] for image in images} == {(5, 7, 1)}


def test_cropping_hands_on_the_stored_size(uniform_dataset: Dataset) -> None:
    section = InputSection(size_px=(4, 4), fit="crop")
    assert example_shape(uniform_dataset, section) == (8, 8, 1)
    assert next(image_batches(uniform_dataset, "train", section)).shape[1:] == (8, 8, 1)


def test_a_crop_larger_than_the_images_is_refused(uniform_dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"16 x 4 px cannot be cropped from .* 8 x 8 px"):
        batches(uniform_dataset, "train", InputSection(size_px=(16, 4), fit="crop"), batch=4)


def test_cropping_images_of_several_sizes_is_refused(mixed_dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match="needs stored images of one size"):
        batches(mixed_dataset, "train", InputSection(size_px=(4, 4), fit="crop"), batch=4)


def test_a_split_that_does_not_exist_is_refused(uniform_dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no split 'training'"):
        batches(uniform_dataset, "training", SECTION, batch=4)


def test_sizes_are_known_without_reading_images(
    uniform_dataset: Dataset, mixed_dataset: Dataset, held: Held
) -> None:
    assert record_shape(uniform_dataset.manifest) == (8, 8)
    assert record_shape(mixed_dataset.manifest) is None
    assert split_count(uniform_dataset, "train") == len(held.row)
    assert held_bytes(uniform_dataset, "train", SECTION) == held.images.numpy().nbytes

"""Batches: every example exactly once, in an order that can be repeated and taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.data.cache import hold
from deadlib.data.order import Shuffled
from deadlib.data.pipeline import ReadImages, Source, batches, image_batches, open_source
from deadlib.data.preprocess import fit_size
from deadlib.data.shapes import example_shape, record_shape, split_count
from deadlib.errors import RecipeError
from deadlib.recipe import InputSection
from tfrecords_tools import Dataset, DatasetError, records

DatasetMaker = Callable[..., Dataset]

SECTION = InputSection(size_px=(8, 8))
SHARDS = [(23, 1), (40, 7), (30, 1000)]
"""Images and examples per shard."""


@pytest.fixture(scope="module")
def held(uniform_dataset: Dataset) -> Source:
    return hold(open_source(uniform_dataset, "train", SECTION))


def parts_of(source: tf.data.Dataset) -> list[dict[str, Any]]:
    return list(source.as_numpy_iterator())


def rows_of(source: tf.data.Dataset) -> list[int]:
    return [int(row) for part in parts_of(source) for row in part["row"]]


def read(dataset: Dataset, held: Source, way: str, **options: Any) -> tf.data.Dataset:
    """Both ways of reading the training split."""
    if way == "held":
        return held.batches(**options)
    return batches(dataset, "train", SECTION, **options)


def rows_in(dataset: Dataset, split: str) -> list[int]:
    return np.flatnonzero((dataset.manifest["split"] == split).to_numpy()).tolist()


@pytest.fixture(scope="module")
def datasets(make_dataset: DatasetMaker) -> list[Dataset]:
    """Many shards of one example, several of some, and a single one."""
    return [make_dataset(images=images, shard_size=size) for images, size in SHARDS]


@pytest.fixture(scope="module")
def sources(datasets: list[Dataset]) -> list[tuple[Source, Source]]:
    streamed = [open_source(dataset, "train", SECTION) for dataset in datasets]
    return [(source, hold(source)) for source in streamed]


@settings(max_examples=30)
@given(
    which=st.integers(0, len(SHARDS) - 1),
    is_held=st.booleans(),
    batch=st.integers(1, 40),
    skip=st.integers(0, 12),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 1000),
)
def test_an_epoch_visits_every_example_once_and_can_be_taken_up_anywhere(
    datasets: list[Dataset],
    sources: list[tuple[Source, Source]],
    which: int,
    is_held: bool,
    batch: int,
    skip: int,
    seed: int,
    epoch: int,
) -> None:
    source, order = sources[which][is_held], Shuffled(seed, epoch)
    whole = parts_of(source.batches(batch=batch, order=order))
    rows = [int(row) for part in whole for row in part["row"]]
    assert sorted(rows) == rows_in(datasets[which], "train")
    assert all(len(part["row"]) == batch for part in whole[:-1])
    rest = parts_of(source.batches(batch=batch, order=order, skip=skip))
    assert len(rest) == max(len(whole) - skip, 0)
    for found, expected in zip(rest, whole[skip:], strict=True):
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_what_is_skipped_is_not_read(uniform_dataset: Dataset) -> None:
    source = open_source(uniform_dataset, "train", SECTION)
    asked: list[int] = []

    def counted(chosen: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda places: asked.extend(places.numpy().tolist()), [chosen], [])
        return source.read(chosen)

    order = Shuffled(0, 0)
    parts_of(replace(source, read=counted).batches(batch=4, order=order, skip=5))
    assert sorted(asked) == sorted(order.places(source.rows)[20:])


@pytest.mark.parametrize("threads", [1, 7])
def test_the_order_does_not_depend_on_what_runs_in_parallel(
    sources: list[tuple[Source, Source]], threads: int
) -> None:
    options: Any = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = threads
    options.autotune.cpu_budget = threads
    for source in sources[0]:
        slowed = replace(source, read=_unevenly_slow(source.read))
        plain = source.batches(batch=3, order=Shuffled(1, 1))
        found = slowed.batches(batch=3, order=Shuffled(1, 1)).with_options(options)
        for one, other in zip(parts_of(found), parts_of(plain), strict=True):
            for name in other:
                np.testing.assert_array_equal(one[name], other[name])


def _unevenly_slow(read: ReadImages) -> ReadImages:
    """What comes first in the epoch comes last out of the file."""

    def slow(chosen: tf.Tensor) -> tf.Tensor:
        wait = tf.py_function(
            lambda places: time.sleep(0.02 if places[0] % 2 else 0.0), [chosen], []
        )
        with tf.control_dependencies([wait]):
            return read(chosen)

    return slow


def test_an_order_may_leave_out_and_repeat(sources: list[tuple[Source, Source]]) -> None:
    class Balanced:
        def places(self, rows: np.ndarray) -> np.ndarray:
            return np.array([2, 2, 0, len(rows) - 1])

    for source in sources[1]:
        found = rows_of(source.batches(batch=3, order=Balanced()))
        assert found == [source.rows[place] for place in (2, 2, 0, len(source.rows) - 1)]


@pytest.mark.parametrize("way", ["held", "streamed"])
def test_the_order_follows_from_seed_and_epoch(
    uniform_dataset: Dataset, held: Source, way: str
) -> None:
    def rows(order: Shuffled) -> list[int]:
        return rows_of(read(uniform_dataset, held, way, batch=8, order=order))

    assert rows(Shuffled(1, 2)) == rows(Shuffled(1, 2))
    assert rows(Shuffled(1, 2)) != rows(Shuffled(1, 3))
    assert rows(Shuffled(1, 2)) != rows(Shuffled(2, 2))


def test_shuffling_mixes_shards(uniform_dataset: Dataset) -> None:
    shard_of = uniform_dataset.manifest["shard"].to_numpy()
    shards = len(set(shard_of[rows_in(uniform_dataset, "train")]))
    parts = parts_of(batches(uniform_dataset, "train", SECTION, batch=8, order=Shuffled(0, 0)))
    assert shards > 2
    assert all(len(set(shard_of[part["row"]])) > 1 for part in parts if len(part["row"]) == 8)


def test_in_a_batch_every_example_can_meet_every_other() -> None:
    rows = np.arange(1000, 1300)
    met = np.zeros((300, 300), int)
    for epoch in range(400):
        order = Shuffled(5, epoch).places(rows)
        for part in order.reshape(-1, 30):
            met[np.ix_(part, part)] += 1
    pairs = met[~np.eye(300, dtype=bool)]
    # Of 400 epochs a pair meets in 29 / 299 on average; a binomial distribution.
    assert abs(pairs.mean() - 400 * 29 / 299) < 1e-9
    assert pairs.min() > 0
    np.testing.assert_allclose(pairs.var(), 400 * 29 / 299 * 270 / 299, rtol=0.05)


def test_without_an_order_examples_come_as_they_lie(uniform_dataset: Dataset, held: Source) -> None:
    expected = rows_in(uniform_dataset, "train")
    assert rows_of(batches(uniform_dataset, "train", SECTION, batch=8)) == expected
    assert rows_of(held.batches(batch=8)) == expected


@pytest.mark.parametrize("way", ["held", "streamed"])
def test_a_batch_holds_the_stored_pixels_and_labels(
    uniform_dataset: Dataset, held: Source, way: str
) -> None:
    manifest = uniform_dataset.manifest
    for part in parts_of(read(uniform_dataset, held, way, batch=16, order=Shuffled(0, 0))):
        assert part["image"].dtype == np.uint16
        assert part["class_index"].dtype == np.int32
        for image, class_index, row in zip(*part.values(), strict=True):
            np.testing.assert_array_equal(image, uniform_dataset.read_example(int(row)))
            assert uniform_dataset.classes[class_index] == manifest["label"][row]


@pytest.mark.parametrize("name", ["uniform", "mixed"])
def test_images_are_what_tensorflow_reads_from_the_shards(
    uniform_dataset: Dataset, mixed_dataset: Dataset, name: str
) -> None:
    dataset = {"uniform": uniform_dataset, "mixed": mixed_dataset}[name]
    section = InputSection(size_px=(8, 8))
    paths = [str(path) for path in dataset.shard_paths("train")]
    expected = [
        fit_size(records.decode_image(parsed), section)
        for parsed in tf.data.TFRecordDataset(paths).map(records.parse)
    ]
    found = np.concatenate(list(image_batches(dataset, "train", section)))
    np.testing.assert_array_equal(found, np.stack(expected))


def test_held_and_streamed_examples_are_the_same(mixed_dataset: Dataset) -> None:
    streamed = parts_of(batches(mixed_dataset, "train", SECTION, batch=100))[0]
    held = parts_of(hold(open_source(mixed_dataset, "train", SECTION)).batches(batch=100))[0]
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
    uniform_dataset: Dataset, mixed_dataset: Dataset, held: Source
) -> None:
    assert record_shape(uniform_dataset.manifest) == (8, 8)
    assert record_shape(mixed_dataset.manifest) is None
    assert split_count(uniform_dataset, "train") == len(held.rows)
    assert held.image_bytes == sum(part["image"].nbytes for part in parts_of(held.batches(batch=8)))

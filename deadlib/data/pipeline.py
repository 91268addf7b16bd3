"""From records to batches: an order that can be repeated, decoding, size, prefetching.

A split that fits into memory once decoded is held there (`Held`): an epoch is then a permutation
and a gather. A larger one is streamed from its shards: shards in random order, interleaved, then
shuffled in a buffer bounded in bytes. Either way an epoch visits every example exactly once, in an
order that follows from (seed, epoch) alone, and can be taken up again in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from deadlib.data.preprocess import fit_size
from deadlib.data.shapes import example_shape, split_count
from deadlib.recipe import InputSection
from tfrecords_tools import records
from tfrecords_tools.dataset import Dataset

HELD_BYTES = 512 * 2**20
"""A split whose decoded images need no more than this is held in memory."""

SHUFFLED_BYTES = 256 * 2**20
"""Records in the shuffle buffer of a streamed split; a split below this is shuffled as a whole."""

INTERLEAVED_SHARDS = 16

LOADING_BATCH = 64


@dataclass(frozen=True)
class Order:
    """The order of one epoch: the same seed and epoch, the same order."""

    seed: int
    epoch: int

    def generator(self) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch))


@dataclass(frozen=True)
class Held:
    """The decoded examples of one split, in the order of their shards."""

    images: tf.Tensor
    class_index: tf.Tensor
    row: tf.Tensor

    def batches(self, *, batch: int, order: Order | None = None, skip: int = 0) -> tf.data.Dataset:
        """As `batches`, from memory."""
        places = np.arange(len(self.row), dtype=np.int64)
        if order is not None:
            order.generator().shuffle(places)

        def gather(chosen: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                "image": tf.gather(self.images, chosen),
                "class_index": tf.gather(self.class_index, chosen),
                "row": tf.gather(self.row, chosen),
            }

        chosen = tf.data.Dataset.from_tensor_slices(places[skip * batch :]).batch(batch)
        return _in_order(chosen.map(_as_it_is(gather), num_parallel_calls=2).prefetch(2))


def batches(
    dataset: Dataset,
    split: str,
    section: InputSection,
    *,
    batch: int,
    order: Order | None = None,
    skip: int = 0,
) -> tf.data.Dataset:
    """Stream one split as batches of at most `batch` examples; the last one may be smaller.

    Gives dicts of image (B, H, W, C) float32 in unit range, class_index (B,) int32 (-1 where
    unknown) and row (B,) int64, the example's row in the manifest. Without an order, examples come
    as they lie in the shards. `skip` leaves out the first batches of the epoch.

    Raises DatasetError where the split is empty, RecipeError where fit=crop cannot be met.
    """
    paths = [str(path) for path in dataset.shard_paths(split)]
    shape = example_shape(dataset, section)
    if order is None:
        serialised = tf.data.TFRecordDataset(paths)
    else:
        serialised = _shuffled(dataset, split, paths, order)

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = records.parse(record)
        image = fit_size(records.decode_image(parsed), section)
        return {
            "image": tf.ensure_shape(image, shape),
            "class_index": tf.cast(parsed["class_index"], tf.int32),
            "row": tf.cast(parsed["row"], tf.int64),
        }

    examples = serialised.skip(skip * batch).map(
        _as_it_is(example), num_parallel_calls=tf.data.AUTOTUNE
    )
    return _in_order(examples.batch(batch).prefetch(tf.data.AUTOTUNE))


def hold(dataset: Dataset, split: str, section: InputSection) -> Held:
    """Decode a whole split into memory. Raises as `batches`."""
    count = split_count(dataset, split)
    images = np.empty((count, *example_shape(dataset, section)), np.float32)
    class_index, row = np.empty(count, np.int32), np.empty(count, np.int64)
    start = 0
    for part in batches(dataset, split, section, batch=LOADING_BATCH).as_numpy_iterator():
        stop = start + len(part["row"])
        images[start:stop] = part["image"]
        class_index[start:stop], row[start:stop] = part["class_index"], part["row"]
        start = stop
    # Captured by tf.data, which runs on the host: a copy on the GPU would be fetched every epoch.
    with tf.device("/CPU:0"):
        return Held(tf.constant(images), tf.constant(class_index), tf.constant(row))


def image_batches(dataset: Dataset, split: str, section: InputSection) -> Iterator[np.ndarray]:
    """The images of a split alone, (B, H, W, C) float32, for statistics in one pass."""
    for part in batches(dataset, split, section, batch=LOADING_BATCH).as_numpy_iterator():
        yield part["image"]


def _shuffled(dataset: Dataset, split: str, paths: list[str], order: Order) -> tf.data.Dataset:
    """Serialised records in the order of one epoch."""
    generator = order.generator()
    generator.shuffle(paths)
    opened = tf.data.Dataset.from_tensor_slices(paths).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(INTERLEAVED_SHARDS, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    shards = [shard for shard in dataset.info["shards"] if shard["split"] == split]
    examples = sum(int(shard["examples"]) for shard in shards)
    mean_bytes = max(1, sum(int(shard["bytes"]) for shard in shards) // max(1, examples))
    buffer = max(1, min(examples, SHUFFLED_BYTES // mean_bytes))
    seed = int(generator.integers(2**31))
    return opened.shuffle(buffer, seed=seed, reshuffle_each_iteration=False)


def _as_it_is(function: Callable) -> Callable:
    """A graph function with no Python control flow on tensors, spared the search for it."""
    plain: Callable = tf.autograph.experimental.do_not_convert(function)
    return plain


def _in_order(examples: tf.data.Dataset) -> tf.data.Dataset:
    options: Any = tf.data.Options()
    options.deterministic = True
    return examples.with_options(options)

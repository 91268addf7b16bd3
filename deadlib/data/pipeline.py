"""From records to batches, in an order that can be repeated and taken up again.

An epoch is a list of places in a split (`deadlib.data.order`), read batch by batch: from the
shards, or from a copy of the decoded images in memory or in one file on the disk. All three read
any example at once, so the order is the same whichever it is, and whatever is read in parallel.
Images come in the type they are stored in where that can be (`shapes.example_dtype`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from deadlib.data.order import Order
from deadlib.data.plates import Correction
from deadlib.data.preprocess import fit_size
from deadlib.data.shapes import example_dtype, example_shape, is_resized
from deadlib.data.unit import unit_range
from deadlib.recipe import InputSection
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.random_access import SplitReader

LOADING_BATCH = 64

ReadImages = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Source:
    """One split, to be read as batches again and again."""

    rows: np.ndarray
    """(N,) int64, the examples' rows in the manifest, in order."""
    class_index: np.ndarray
    """(N,) int32, -1 where unknown."""
    shape: tuple[int, int, int]
    """Of one image, (H, W, C)."""
    dtype: str
    read: ReadImages
    """In a graph: places in `rows`, (B,) int64 → images (B, H, W, C)."""

    @property
    def image_bytes(self) -> int:
        """What all images take, in memory or in a file."""
        return len(self.rows) * prod(self.shape) * np.dtype(self.dtype).itemsize

    def batches(self, *, batch: int, order: Order | None = None, skip: int = 0) -> tf.data.Dataset:
        """One epoch as batches of at most `batch` examples; the last one may be smaller.

        Gives dicts of image (B, H, W, C) of `dtype`, class_index (B,) int32 (-1 where unknown) and
        row (B,) int64, the example's row in the manifest. Without an order, examples come as they
        lie in the shards. `skip` leaves out the first batches of the epoch, which are not read.
        """
        places = np.arange(len(self.rows)) if order is None else order.places(self.rows)
        # Captured by tf.data, which runs on the host.
        with tf.device("/CPU:0"):
            rows, class_index = tf.constant(self.rows), tf.constant(self.class_index)

        def example_batch(chosen: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                "image": tf.ensure_shape(self.read(chosen), (None, *self.shape)),
                "class_index": tf.gather(class_index, chosen),
                "row": tf.gather(rows, chosen),
            }

        chosen = tf.data.Dataset.from_tensor_slices(places[skip * batch :]).batch(batch)
        parts = chosen.map(
            # No Python control flow on tensors: spared the search for it.
            tf.autograph.experimental.do_not_convert(example_batch),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return parts.prefetch(tf.data.AUTOTUNE)


def open_source(dataset: Dataset, split: str, section: InputSection) -> Source:
    """One split, read from its shards.

    Raises DatasetError where the split is empty or a shard damaged, RecipeError where fit=crop
    cannot be met.
    """
    shape, dtype = example_shape(dataset, section), example_dtype(dataset, section)
    reader = SplitReader(dataset, split)
    labels = dataset.manifest["label"].to_numpy()[reader.rows]
    return Source(
        rows=reader.rows.astype(np.int64),
        class_index=np.asarray(pd.Categorical(labels, dataset.classes).codes, np.int32),
        shape=shape,
        dtype=dtype,
        read=(
            _one_by_one(reader, section)
            if is_resized(dataset, section) or len(dataset.info["dtypes"]) > 1
            else _as_stored(reader, shape, dtype)
        ),
    )


def batches(
    dataset: Dataset,
    split: str,
    section: InputSection,
    *,
    batch: int,
    order: Order | None = None,
    skip: int = 0,
) -> tf.data.Dataset:
    """One pass over a split from its shards; as `Source.batches`. Raises as `open_source`."""
    return open_source(dataset, split, section).batches(batch=batch, order=order, skip=skip)


def image_batches(
    dataset: Dataset, split: str, section: InputSection, correct: Correction | None = None
) -> Iterator[np.ndarray]:
    """The images of a split alone, (B, H, W, C) float32 in unit range, for one pass."""
    for part in batches(dataset, split, section, batch=LOADING_BATCH).as_numpy_iterator():
        yield np.asarray(prepared(part, correct))


def prepared(batch: Mapping[str, Any], correct: Correction | None) -> Any:
    """The images of a batch in unit range, and on the scale of their plates where asked."""
    images = unit_range(batch["image"])
    return images if correct is None else correct(images, batch["row"])


def from_numpy(read: Callable[[np.ndarray], np.ndarray], dtype: str) -> ReadImages:
    """`Source.read` of a function on arrays: places (B,) → images (B, H, W, C)."""
    return lambda chosen: tf.numpy_function(read, [chosen], dtype, stateful=False)


def _as_stored(reader: SplitReader, shape: tuple[int, int, int], dtype: str) -> ReadImages:
    def read(chosen: np.ndarray) -> np.ndarray:
        return reader.read_batch(chosen, shape, dtype)

    return from_numpy(read, dtype)


def _one_by_one(reader: SplitReader, section: InputSection) -> ReadImages:
    """Images of any size and type, each in unit range and fitted, one after another."""

    def read(number: np.ndarray) -> np.ndarray:
        return np.asarray(unit_range(reader.read(int(number))))

    def fitted(number: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(read, [number], tf.float32, stateful=False)
        return fit_size(tf.ensure_shape(image, (None, None, None)), section)

    return lambda chosen: tf.map_fn(fitted, chosen, fn_output_signature=tf.float32)

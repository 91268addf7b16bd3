"""Augmentation on the host: while the device computes a step, the host prepares the next ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from deadlib.training.step import Augmenter, Batch, example_seeds


def augmented_on_host(
    batches: tf.data.Dataset,
    images: Callable[[Batch], Any],
    augment: Augmenter,
    *,
    seed: int,
    first_step: int,
) -> tf.data.Dataset:
    """The batches with their images augmented, several at a time.

    images: what is augmented of a batch, as it is read: (B, H, W, C) float32.
    first_step: the global step that the first batch is for. Every batch is drawn for by the step
    that will use it, so that images are those of augmentation within the step, wherever an epoch
    is taken up.
    """

    def augmented(batch: Batch, step: tf.Tensor) -> Batch:
        seeds = example_seeds(seed, step, batch["row"])
        return {**batch, "image": augment(images(batch), seeds)}

    steps = tf.data.Dataset.counter(first_step)
    return (
        tf.data.Dataset.zip((batches, steps))
        .map(
            tf.autograph.experimental.do_not_convert(augmented),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )

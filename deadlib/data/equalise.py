"""Histogram equalisation, exact: every grey level is a bin of its own."""

from __future__ import annotations

import tensorflow as tf


def equalise(image: tf.Tensor) -> tf.Tensor:
    """The share of the pixels of the same channel that are no brighter, as a graph operation.

    image: (H, W, C) float32, and so is what comes back, in (0, 1]: the empirical distribution
    function of each channel at each pixel. Any growing map of intensities leaves it as it is, so
    exposure, gain, offset and gamma are forgotten; of equal pixels none comes first.
    """
    planes = tf.transpose(image, (2, 0, 1))
    values = tf.reshape(planes, (tf.shape(planes)[0], -1))
    no_brighter = tf.searchsorted(tf.sort(values), values, side="right")
    share = tf.cast(no_brighter, tf.float32) / tf.cast(tf.shape(values)[1], tf.float32)
    return tf.ensure_shape(
        tf.transpose(tf.reshape(share, tf.shape(planes)), (1, 2, 0)), image.shape
    )

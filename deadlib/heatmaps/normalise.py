"""Normalisation by a window's own statistics, for a region of many windows at once.

Windows taken one by one each have a mean and a deviation, and a pixel that they share is normalised
by each of them differently. In a region it can have one value only: it is normalised by the mean,
over all windows of the frame that contain it, of their means and of the logarithms of their
deviations. Of seven ways that were tried this came closest to windows one by one (decision 0016).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from deadlib.data.preprocess import SMALLEST_DEVIATION, Preprocess

Pair = tuple[int, int]


def normalised_by_windows(
    preprocess: Preprocess, wide: Any, box_px: Pair, first: Any, last: Any
) -> Any:
    """Graph op: a region normalised by the windows, of box_px rows and columns, around each pixel.

    wide: (1, H, W, C) float32 in unit range: the region, and on all sides box_px - 1 pixels more.
    first, last: (2,) int32, row and column in `wide` at which the frame's first and last window
    begin. Returns the region. Sums are float64, so a faint contrast on a bright background is not
    lost.
    """
    rows, columns = box_px
    shift = tf.reduce_mean(wide, axis=(1, 2), keepdims=True)
    centred = tf.cast(wide - shift, tf.float64)
    mean, square = centred, tf.square(centred)
    for axis, box in enumerate(box_px):
        begin = tf.range(wide.shape[axis + 1] - box + 1)
        mean, square = (_means(values, axis + 1, begin, begin + box) for values in (mean, square))
    variance = tf.maximum(square - tf.square(mean), SMALLEST_DEVIATION**2)
    logarithm = tf.math.log(variance) / 2
    for axis, box in enumerate(box_px):
        # The windows that contain pixel p of the region begin at p to p + box - 1 in `wide`.
        pixel = tf.range(wide.shape[axis + 1] - 2 * (box - 1))
        begin = tf.clip_by_value(pixel, first[axis], last[axis])
        end = tf.clip_by_value(pixel + box - 1, first[axis], last[axis]) + 1
        mean, logarithm = (_means(values, axis + 1, begin, end) for values in (mean, logarithm))
    region = wide[:, rows - 1 : wide.shape[1] - rows + 1, columns - 1 : wide.shape[2] - columns + 1]
    deviation = tf.cast(tf.exp(logarithm), tf.float32)
    return preprocess.relative(region, tf.cast(mean, tf.float32) + shift, deviation)


def _means(values: Any, axis: int, begin: Any, end: Any) -> Any:
    """Means along an axis of the values from each place `begin` to before `end`."""
    padding = [[0, 0]] * 4
    padding[axis] = [1, 0]
    total = tf.pad(tf.cumsum(values, axis), padding)
    shape = [1] * 4
    shape[axis] = -1
    count = tf.reshape(tf.cast(end - begin, values.dtype), shape)
    return (tf.gather(total, end, axis=axis) - tf.gather(total, begin, axis=axis)) / count

"""Who of a batch is alike, and who is not: positive and negative pairs of examples.

All functions take class_index (N,) int, plate_index (N,) int and similarity (N, N) float32, the
cosine of the embeddings, and give two masks (N, N) bool, rows being anchors: which examples are
positive for each anchor and which are negative. No example is a pair with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Masks = tuple[Any, Any]
Pairs = Callable[[Any, Any, Any], Masks]


def by_class(class_index: Any, plate_index: Any, similarity: Any) -> Masks:
    """Positive: the same class. Negative: another class. Plates are not looked at."""
    same = _equal(class_index)
    return same & ~_itself(class_index), ~same


def across_plates(class_index: Any, plate_index: Any, similarity: Any) -> Masks:
    """Positive: the same class on another plate. Negative: another class on the same plate.

    What all examples of a plate share then tells no positive from a negative: the positive lacks
    it, the negative has it. Any number of plates.
    """
    same_class, same_plate = _equal(class_index), _equal(plate_index)
    return same_class & ~same_plate, ~same_class & same_plate


def mined(class_index: Any, plate_index: Any, similarity: Any) -> Masks:
    """CellDeathPred's miner (P-10): hard triplets of the two plates that are named first.

    Anchors stand on the first plate. The i-th example of a class there goes with the i-th of this
    class on the second plate as its positive, and with the i-th of each other class on its own
    plate as a negative. A triplet counts where the negative lies as near as the positive or
    nearer. Examples of other plates are left out.
    """
    first = tf.reduce_min(plate_index)
    others = tf.where(plate_index == first, plate_index.dtype.max, plate_index)
    on_first, on_second = plate_index == first, plate_index == tf.reduce_min(others)
    same_class, same_plate = _equal(class_index), _equal(plate_index)
    cell = same_class & same_plate
    rank = tf.reduce_sum(tf.cast(tf.linalg.band_part(cell, -1, 0), tf.int32), axis=1)
    paired = on_first[:, None] & _equal(rank)
    positive = paired & same_class & on_second[None, :] & ~same_plate
    negative = paired & ~same_class & same_plate
    # An anchor has one positive at most.
    near = tf.reduce_sum(tf.where(positive, similarity, 0.0), axis=1, keepdims=True)
    hard = negative & (similarity >= near) & tf.reduce_any(positive, axis=1, keepdims=True)
    return positive & tf.reduce_any(hard, axis=1, keepdims=True), hard


PAIRS: dict[str, Pairs] = {"classes": by_class, "across_plates": across_plates, "mined": mined}


def _equal(values: Any) -> Any:
    return values[:, None] == values[None, :]


def _itself(values: Any) -> Any:
    return tf.eye(tf.shape(values)[0], dtype=tf.bool)

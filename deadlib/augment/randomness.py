"""Random numbers as a function of a seed alone.

A draw is a hash of (seed, stream, position), in integer arithmetic: the same seed gives the same
numbers eagerly, in a graph, compiled by XLA, on every device and on every Keras backend. There is
no state. Every image has a seed of its own, so what happens to it does not depend on its
neighbours in the batch or on how a batch is shared between devices.

Draws of one augmentation are kept apart by `stream`, a small number fixed in the code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

_GOLDEN = 0x9E3779B9


def per_image(seed: Any, batch: Any) -> Any:
    """Seeds of the images of a batch, (B, 2) uint32.

    seed: (2,) integers for the whole batch, or (B, 2), one per image, which is kept.
    """
    seed = _uint32(ops.convert_to_tensor(seed))
    if len(seed.shape) == 2:
        return seed
    position = _uint32(ops.arange(batch, dtype="int32"))
    return _hashed_pair(seed[0] + position * _word(_GOLDEN), seed[1])


def derive(seeds: Any, stream: int) -> Any:
    """Other seeds, independent of `seeds` and of those of other streams: (B, 2) uint32."""
    return _hashed_pair(seeds[:, 0] + _word(stream * _GOLDEN), seeds[:, 1])


def uniform(
    seeds: Any, stream: int, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0
) -> Any:
    """Uniform draws in [low, high), (B, *shape) float32, with 24 random bits each."""
    bits = ops.right_shift(_words(seeds, stream, math.prod(shape)), _word(8))
    unit = ops.cast(bits, "float32") * 2.0**-24
    return ops.reshape(low + (high - low) * unit, (-1, *shape))


def normal(seeds: Any, stream: int, shape: tuple[int, ...] = ()) -> Any:
    """Draws from N(0, 1), (B, *shape) float32, by Box and Muller's method."""
    # 1 - u is never 0, whose logarithm is infinite.
    radius = ops.sqrt(-2 * ops.log(1 - uniform(seeds, 2 * stream, shape)))
    return radius * ops.cos(2 * math.pi * uniform(seeds, 2 * stream + 1, shape))


def log_uniform(seeds: Any, stream: int, low: float, high: float) -> Any:
    """Draws in [low, high) whose logarithm is uniform, (B,) float32; low > 0."""
    # At low = high = 1 the exponential of 0 is exactly 1.
    return ops.exp(uniform(seeds, stream, (), math.log(low), math.log(high)))


def chance(seeds: Any, stream: int, probability: float) -> Any:
    """True with a probability, (B,) bool; never at 0, always at 1."""
    return uniform(seeds, stream) < probability


def _words(seeds: Any, stream: int, count: int) -> Any:
    """(B, count) random uint32."""
    keys = derive(seeds, stream)
    position = ops.convert_to_tensor(np.arange(count, dtype=np.uint32))[None]
    return _hash(ops.bitwise_xor(_hash(position + keys[:, :1]), keys[:, 1:]))


def _hashed_pair(first: Any, second: Any) -> Any:
    mixed = _hash(second + _hash(first))
    return ops.stack([mixed, _hash(ops.bitwise_xor(mixed, _word(_GOLDEN)) + first)], axis=-1)


def _hash(word: Any) -> Any:
    """Mix the bits of uint32 words: the "lowbias32" integer hash, a bijection."""
    word = ops.bitwise_xor(word, ops.right_shift(word, _word(16))) * _word(0x7FEB352D)
    word = ops.bitwise_xor(word, ops.right_shift(word, _word(15))) * _word(0x846CA68B)
    return ops.bitwise_xor(word, ops.right_shift(word, _word(16)))


def _word(number: int) -> Any:
    return ops.convert_to_tensor(number & 0xFFFFFFFF, dtype="uint32")


def _uint32(numbers: Any) -> Any:
    return ops.cast(numbers, "uint32")

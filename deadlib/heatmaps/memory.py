"""What a map needs of memory; the factors are measured (decision 0016)."""

from __future__ import annotations

import math
from typing import Any

import keras

from deadlib.heatmaps.dense import DenseNetwork
from deadlib.heatmaps.setting import Setting

FLOAT_BYTES = 4

PROCESS_BYTES = 1000 * 2**20
"""Python, TensorFlow and the other libraries, before the first frame."""

WEIGHT_COPIES = 4
"""Of the weights: the network's, those of the dense network, in its graph, and as oneDNN wants
them."""

OVERHEAD = 2.0
"""Memory that layers take, compared with the feature maps that they read and write."""

INPUT_BYTES = 64
"""For each pixel and channel: as read, as float32, and its statistics in float64."""


def window_bytes(network: keras.Model) -> float:
    """Of one window more in a batch."""
    largest = max(
        _values(layer.output) + sum(_values(tensor) for tensor in _tensors(layer.input))
        for layer in network.layers
    )
    return FLOAT_BYTES * OVERHEAD * largest


def region_bytes(dense: DenseNetwork, setting: Setting) -> float:
    """Of one pixel more in a region, at the scale of the network."""
    down, right = setting.scale
    read = INPUT_BYTES * setting.channels * max(1.0, float(1 / (down * right)))
    return read + FLOAT_BYTES * OVERHEAD * dense.floats_per_pixel()


def too_little(needed: float, found: float) -> str:
    """What to say where one window does not fit."""
    missing = math.ceil((needed - found) / 2**20)
    return f"one window and its surroundings need {missing} MiB more; allow more memory"


def _tensors(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _values(tensor: Any) -> int:
    return math.prod(tensor.shape[1:])

"""One number that makes a network as sure as it is right.

Guo et al. 2017, "On calibration of modern neural networks", section 4: logits are divided by a
temperature before the softmax. Above 1 answers become less sure, below 1 surer; which class is the
most probable never changes. The temperature is the one with the least log loss, each group weighing
the same, so that a well with many cells does not decide for all others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST, LARGEST = 0.01, 100.0
"""Between these a temperature is looked for."""
_HALVINGS = 60
_SMALLEST = float(np.finfo(np.float64).tiny)


def softmax(logits: np.ndarray) -> Floats:
    """Probabilities (N, K) of logits (N, K); float64, so that a sure answer does not round to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cooled(probabilities: np.ndarray, temperature: float | np.ndarray) -> Floats:
    """Probabilities (N, K) as their logits divided by the temperature, one or (N,), give them."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), _SMALLEST))
    return softmax(logits / np.reshape(temperature, (-1, 1)))


def uncalibrated(probabilities: np.ndarray, temperature: float | np.ndarray) -> Floats:
    """What the network itself said, of calibrated probabilities (N, K): the inverse of `cooled`."""
    return cooled(probabilities, 1 / np.asarray(temperature, np.float64))


def group_weights(group_index: np.ndarray) -> Floats:
    """Weights (N,) that sum to 1, every group weighing the same, of group numbers (N,)."""
    _, place, counts = np.unique(group_index, return_inverse=True, return_counts=True)
    return np.asarray(1 / (counts[place] * len(counts)), np.float64)


def fit_temperature(logits: np.ndarray, class_index: np.ndarray, weights: np.ndarray) -> float:
    """The temperature in 0.01..100 with the least weighted log loss.

    logits (N, K), class_index (N,) in 0..K-1, weights (N,) >= 0. Where every answer is right it is
    1: the log loss would fall for ever with growing sureness, and nothing shows where to stop.
    """
    known = np.asarray(logits, np.float64)
    true = known[np.arange(len(known)), class_index]
    counted = weights > 0
    if np.all(true[counted] >= known[counted].max(axis=1)):
        return 1.0

    def slope(sureness: float) -> float:
        """Of the log loss, which is convex in the inverse of the temperature."""
        expected = (softmax(sureness * known) * known).sum(axis=1)
        return float(weights @ (expected - true))

    low, high = np.log(1 / LARGEST), np.log(1 / LEAST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if slope(float(np.exp(middle))) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))

"""Where over-fitting begins: from when on the validation loss only rises.

From there the network learns its training images by heart: the loss goes on falling on them, and
rises on images that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

FEWEST_ROUNDS = 8
"""Validations below which a curve says nothing."""

SMOOTHED_SHARE = 0.05
"""Deviation of the Gaussian mean, as a share of the length; at least one round."""

ABOVE_NOISE = 6.0
"""The end of the curve lies above its minimum by so many deviations of that difference, or the
curve may as well be flat: of many values the lowest is low by chance."""

SMALLEST_RISE = 0.05
"""The end of the curve lies above its minimum by this share of it at least."""


def over_fitting_begins(
    training: Sequence[float], validation: Sequence[float], places: Sequence[float]
) -> float | None:
    """The place, as an epoch, of the minimum from which on the validation loss rises for good.

    training, validation: losses of each validation, (N,); places: where, (N,). NaN is left out.
    None where there are too few, where the validation loss does not clearly rise behind its
    minimum, or where the training loss rises as well, so that it is no over-fitting.
    """
    trained, validated, where = (
        np.asarray(values, np.float64) for values in (training, validation, places)
    )
    known = np.isfinite(trained) & np.isfinite(validated)
    trained, validated, where = trained[known], validated[known], where[known]
    if len(where) < FEWEST_ROUNDS:
        return None
    width = max(1.0, SMOOTHED_SHARE * len(where))
    smoothed, smoothed_training = (
        gaussian_filter1d(values, width, mode="reflect") for values in (validated, trained)
    )
    lowest = int(smoothed.argmin())
    behind = smoothed[lowest + 1 :]
    if len(behind) < 2 * width:
        return None
    last = validated[-max(3, len(behind) // 4) :]
    rise = float(np.median(last)) - smoothed[lowest]
    # The variance of a Gaussian mean, and of a median, of independent values.
    noise = _noise(validated) * np.sqrt(0.28 / width + 1.57 / len(last))
    if rise < max(SMALLEST_RISE * smoothed[lowest], ABOVE_NOISE * noise):
        return None
    if smoothed_training[-1] > smoothed_training[lowest]:
        return None
    return float(where[lowest])


def _noise(values: NDArray[np.float64]) -> float:
    """Standard deviation about a smooth curve, by medians, so that a few spikes do not count."""
    # Second differences leave steep slopes out; of noise they have six times the variance.
    return 1.48 * float(np.median(np.abs(np.diff(values, 2)))) / np.sqrt(6)

"""A linear classifier that is taught on some groups and tested on the others.

Ridge regression on the indicators of the classes (Hoerl & Kennard 1970), which is linear in them:
a thousand permuted labels cost little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Single = NDArray[np.float32]

RIDGE = 0.05
"""Penalty of a weight, in variances of a feature."""
FARTHEST = 5.0
"""A value may lie so many deviations from the mean; what lies beyond is put there."""
MOST_FEATURES = 64
"""More are replaced by their first principal components, so that few examples suffice."""


@dataclass(frozen=True)
class Fold:
    """Tested rows and what turns targets of the taught ones into their scores."""

    taught: Indices
    tested: Indices
    features: Single
    """(taught, D), centred."""
    back: Single
    """(tested, D)."""


class Probe:
    """features (N, D), NaN where unknown; fold_of (R, N): the fold in which each is tested."""

    def __init__(self, features: NDArray[np.floating], fold_of: Indices) -> None:
        x = standardised(features)
        self.repeats, self.examples = fold_of.shape
        self._folds = [
            [_fold(x, repeat == fold) for fold in np.unique(repeat)] for repeat in fold_of
        ]

    def scores(self, targets: Indices, classes: int) -> Single:
        """(R, B, N, K) of targets (B, N): higher where the class is likelier. Comparable only
        within a fold."""
        many = len(targets)
        each = np.zeros((self.examples, many, classes), np.float32)
        np.put_along_axis(each, targets.T[:, :, None], 1, axis=2)
        indicators = each.reshape(self.examples, many * classes)
        found = np.empty((self.repeats, self.examples, many * classes), np.float32)
        for repeat, folds in enumerate(self._folds):
            for fold in folds:
                learnt = fold.features.T @ indicators[fold.taught]
                found[repeat, fold.tested] = fold.back @ learnt
        shape = (self.repeats, self.examples, many, classes)
        return found.reshape(shape).transpose(0, 2, 1, 3)


def standardised(features: NDArray[np.floating]) -> Single:
    """(N, D) with mean 0 and deviation 1, unknown values at the mean; at most 64 columns."""
    known = np.isfinite(features)
    counted = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, features, 0).astype(np.float64)
    mean = values.sum(axis=0) / counted
    away = np.where(known, values - mean, 0)
    deviation = np.sqrt((away**2).sum(axis=0) / counted)
    varies = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-300)
    x = np.clip(away[:, varies] / deviation[varies], -FARTHEST, FARTHEST)
    if x.shape[1] > MOST_FEATURES:
        _, vectors = np.linalg.eigh(x.T @ x)
        x = x @ vectors[:, -MOST_FEATURES:]
        # the first component is no more important than the others
        x = x / np.maximum(x.std(axis=0), 1e-12)
    return np.asarray(x, np.float32)


def _fold(x: Single, tested: NDArray[np.bool_]) -> Fold:
    taught = np.flatnonzero(~tested)
    mean = x[taught].mean(axis=0) if len(taught) else np.zeros(x.shape[1])
    features = (x[taught] - mean).astype(np.float64)
    gram = features.T @ features + RIDGE * max(len(taught), 1) * np.eye(x.shape[1])
    back = np.linalg.solve(gram, (x[tested] - mean).T.astype(np.float64)).T
    return Fold(
        taught, np.flatnonzero(tested), features.astype(np.float32), back.astype(np.float32)
    )

"""How unlike everything learnt is an image? By the distance of its embedding to those of training.

The distance is that to the k-th nearest of a choice of training examples, all embeddings brought to
unit length (Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors"). It is
told as a share of examples which were set apart, never of those learnt from: a network knows its
own training images too well, and everything new would seem far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

NEIGHBOURS = 5
AT_ONCE = 1024
SHORTEST = 1e-12
"""An embedding shorter than this has no direction, and is as far from all."""


@dataclass(frozen=True)
class Neighbours:
    """reference (M, D): embeddings of training examples, of unit length; neighbours: k; distances
    (C,): those of the examples set apart, rising; shares (C,): which share of them lies closer than
    each, in 0..1."""

    reference: Singles
    neighbours: int
    distances: Singles
    shares: Singles

    @classmethod
    def fit(cls, training: np.ndarray, apart: np.ndarray, weights: np.ndarray) -> Neighbours:
        """training (M, D), M > 0; apart (C, D), embeddings of examples that training did not see;
        weights (C,), summing to 1."""
        reference = unit_length(training).astype(np.float32)
        count = min(NEIGHBOURS, len(training))
        found = nearest(reference, apart, count)
        order = np.argsort(found, kind="stable")
        closer = np.cumsum(weights[order]) - weights[order]
        return cls(reference, count, found[order].astype(np.float32), closer.astype(np.float32))

    def distance(self, embedding: np.ndarray) -> Floats:
        """(N,) in 0..2 of embeddings (N, D): to the k-th nearest training example."""
        return nearest(self.reference, embedding, self.neighbours)

    def out_of_distribution(self, embedding: np.ndarray) -> Floats:
        """(N,) in 0..1 of embeddings (N, D): which share of the examples set apart lies closer to
        the training examples. Evenly spread for images like them; 1 beyond all of them."""
        return self.share_closer(self.distance(embedding))

    def share_closer(self, distance: np.ndarray) -> Floats:
        """Which share (N,) of the examples set apart lies closer than a distance (N,)."""
        return np.interp(distance, self.distances, self.shares, left=0.0, right=1.0)


def unit_length(embedding: np.ndarray) -> Floats:
    """Embeddings (N, D) divided by their length."""
    known = np.asarray(embedding, np.float64)
    return np.asarray(known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), SHORTEST))


def nearest(reference: Singles, embedding: np.ndarray, count: int) -> Floats:
    """The distance (N,) of embeddings (N, D), at unit length, to the `count`-th nearest of
    reference (M, D)."""
    known, others = unit_length(embedding), reference.astype(np.float64)
    of_others = np.square(others).sum(axis=1)
    found = [np.zeros(0)]
    for start in range(0, len(known), AT_ONCE):
        part = known[start : start + AT_ONCE]
        # doubles: near examples differ by the last digits of these sums
        squares = np.square(part).sum(axis=1)[:, None] + of_others - 2 * part @ others.T
        found.append(np.partition(squares, count - 1)[:, count - 1])
    return np.asarray(np.sqrt(np.maximum(np.concatenate(found), 0)))

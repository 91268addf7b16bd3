"""How well a score tells classes apart: the share of pairs of examples that it ranks rightly.

A pair is one example of a class and one of another. Which pairs count is up to the reader: all, or
only those of one stratum (of one plate, or taught and tested in one fold). With two classes the
share over all pairs is the area under the ROC curve (Mann & Whitney 1947). With more, every class
is set against the rest and classes count alike. 0.5 is guessing, ties count half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Indices = NDArray[np.intp]

BINS = 256
"""A permuted score is ranked by so many steps; finer ones change no p-value that matters."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of examples of two blocks, the first of a class and the second of another.

    right, of: (G, G), pairs ranked rightly and all, of blocks g and h; each class weighs the same.
    """

    right: NDArray[np.float64]
    of: NDArray[np.float64]

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.right + other.right, self.of + other.of)

    def share(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share ranked rightly (B,), each block weighted by (B, G); NaN without pairs."""
        right = np.einsum("bg,bg->b", weights @ self.right, weights)
        of = np.einsum("bg,bg->b", weights @ self.of, weights)
        return np.divide(right, of, out=np.full(len(right), np.nan), where=of > 0)


def pairs_of(
    scores: Floats, target: Indices, stratum: Indices, block: Indices, blocks: int
) -> Pairs:
    """The pairs of examples in the same stratum.

    scores (N, K), one column per class; target (N,) in 0..K-1; stratum (N,); block (N,) in
    0..blocks-1.
    """
    right = np.zeros((blocks, blocks))
    of = np.zeros((blocks, blocks))
    for k in _classes_told(scores.shape[1]):
        won, there = _class_pairs(scores[:, k], target == k, stratum, block, blocks)
        if total := there.sum():
            right += won / total
            of += there / total
    return Pairs(right, of)


def shares_right(
    scores: Floats, targets: Indices, stratum: Indices, strata: int
) -> NDArray[np.float64]:
    """The share of pairs ranked rightly, of many scores at once: (B,), NaN without pairs.

    scores (B, N, K); targets (B, N); stratum (N,) in 0..strata-1. Scores are ranked by 256 steps.
    """
    many, _, size = scores.shape
    shares: list[NDArray[np.float64]] = []
    for k in _classes_told(size):
        cells = _steps(scores[:, :, k]) + stratum * BINS + (targets == k) * (strata * BINS)
        found = np.empty(many)
        for b in range(many):
            counts = np.bincount(cells[b], minlength=2 * strata * BINS)
            rest, hits = counts.reshape(2, strata, BINS)
            below = np.cumsum(rest, axis=1) - rest / 2
            of = float(hits.sum(axis=1) @ rest.sum(axis=1))
            found[b] = float((hits * below).sum()) / of if of else np.nan
        shares.append(found)
    told = np.isfinite(shares)
    total = np.where(told, shares, 0.0).sum(axis=0)
    return np.divide(total, told.sum(axis=0), out=np.full(many, np.nan), where=told.any(axis=0))


def _classes_told(classes: int) -> range:
    """With two classes one column says it all."""
    return range(1, 2) if classes == 2 else range(classes)


def _class_pairs(
    score: Floats, positive: NDArray[np.bool_], stratum: Indices, block: Indices, blocks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    levels, rank = np.unique(score, return_inverse=True)
    key = stratum.astype(np.int64) * len(levels) + rank
    negative = np.flatnonzero(~positive)
    negative = negative[np.argsort(key[negative], kind="stable")]
    # how many negatives of each block stand before a place in this order
    before = np.zeros((len(negative) + 1, blocks), np.float32)
    before[np.arange(1, len(negative) + 1), block[negative]] = 1
    np.cumsum(before, axis=0, out=before)
    ordered = key[negative]
    first = stratum[positive].astype(np.int64) * len(levels)
    start, end = (np.searchsorted(ordered, edge) for edge in (first, first + len(levels)))
    low = np.searchsorted(ordered, key[positive], side="left")
    high = np.searchsorted(ordered, key[positive], side="right")
    won = (before[low] + before[high]) / 2 - before[start]
    member = np.zeros((blocks, int(positive.sum())), np.float32)
    member[block[positive], np.arange(member.shape[1])] = 1
    return (
        (member @ won).astype(np.float64),
        (member @ (before[end] - before[start])).astype(np.float64),
    )


def _steps(scores: Floats) -> Indices:
    """Scores (B, N) as steps 0..255, finest where most of them are."""
    away = scores.astype(np.float32) - scores.mean(axis=1, keepdims=True, dtype=np.float32)
    spread = np.sqrt(np.einsum("bn,bn->b", away, away) / away.shape[1])[:, None]
    away /= np.where(spread > 0, spread, 1)
    away /= 1 + np.abs(away)
    away += 1
    away *= BINS / 2 - 1e-3
    return away.astype(np.intp)

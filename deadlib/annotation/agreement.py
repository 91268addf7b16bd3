"""How far answers agree: pairs of annotators, and all of them at once.

`weights` are many vectors at once, (B, N) -> (B,), as the bootstrap needs it; a figure that is not
defined is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]


def agreement(first: Indices, second: Indices, weights: Floats) -> Floats:
    """Share of the items to which two annotators give the same answer. first, second: (N,)."""
    return np.asarray(weights @ (first == second) / weights.sum(axis=1))


def cohens_kappa(first: Indices, second: Indices, weights: Floats) -> Floats:
    """Agreement beyond chance of two annotators, 1 for all, 0 for what chance makes (Cohen 1960).

    first, second (N,): answers as numbers from 0 on.
    """
    width = int(max(first.max(initial=0), second.max(initial=0))) + 1
    total = weights.sum(axis=1)
    shares = [
        weights @ (answers[:, None] == np.arange(width)) / total[:, None]
        for answers in (first, second)
    ]
    return _beyond_chance(
        1 - agreement(first, second, weights), 1 - (shares[0] * shares[1]).sum(axis=1)
    )


def krippendorffs_alpha(counts: Floats, weights: Floats) -> Floats:
    """Agreement beyond chance of any number of annotators, who need not answer all items.

    counts (N, K): how many annotators gave each answer to each item; items with fewer than two
    count for nothing. For answers without order (Krippendorff 2011).
    """
    answers = counts.sum(axis=1)
    several = answers > 1
    differing = np.zeros(len(counts))
    differing[several] = (answers**2 - (counts**2).sum(axis=1))[several] / (answers[several] - 1)
    given = weights @ (counts * several[:, None])
    total = given.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (weights @ differing) / total
        by_chance = (total**2 - (given**2).sum(axis=1)) / (total * (total - 1))
    return _beyond_chance(found, by_chance)


def disagreement(counts: Floats) -> Floats:
    """Share of the pairs of answers to each item that differ: (N, K) -> (N,), 0..1.

    With two annotators 0 or 1. Every item needs at least two answers.
    """
    answers = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1)
    return np.asarray(1 - same / (answers * (answers - 1)))


def _beyond_chance(differing: Floats, by_chance: Floats) -> Floats:
    undefined = np.full(len(differing), np.nan)
    return 1 - np.divide(differing, by_chance, out=undefined, where=by_chance > 0)

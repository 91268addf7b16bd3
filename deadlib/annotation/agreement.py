"""How far answers agree: pairs of annotators, and all of them at once.

Each figure follows from weighted sums over items, as the bootstrap takes it: called with weights
(B, N) it gives (B, 1), NaN where it is not defined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deadlib.bootstrap import Sums

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]
# what rounding may leave of a chance of 0
LEAST_CHANCE = 1e-12


def mean(values: Floats) -> Sums:
    """The mean of the values (N,) of items."""
    columns = np.column_stack([np.ones(len(values)), values])
    return Sums(columns, lambda sums: _ratio(sums[:, 1], sums[:, 0])[:, None])


def agreement(first: Indices, second: Indices) -> Sums:
    """Share of the items to which two annotators give the same answer. first, second: (N,)."""
    return mean((first == second).astype(np.float64))


def cohens_kappa(first: Indices, second: Indices) -> Sums:
    """Agreement beyond chance of two annotators, 1 for all, 0 for what chance makes (Cohen 1960).

    first, second (N,): answers as numbers from 0 on.
    """
    width = int(max(first.max(initial=0), second.max(initial=0))) + 1
    given = [answers[:, None] == np.arange(width) for answers in (first, second)]
    columns = np.column_stack([np.ones(len(first)), first != second, *given]).astype(np.float64)

    def finish(sums: Floats) -> Floats:
        shares = _ratio(sums[:, 2:], sums[:, :1])
        by_chance = 1 - (shares[:, :width] * shares[:, width:]).sum(axis=1)
        return _beyond_chance(_ratio(sums[:, 1], sums[:, 0]), by_chance)

    return Sums(columns, finish)


def fleiss_kappa(counts: Floats) -> Sums:
    """Agreement beyond chance of any number of annotators (Fleiss 1971).

    counts (N, K): how many annotators gave each answer to each item, at least two in all. Where
    the items have different numbers of answers, every item counts the same (Gwet 2014, chapter 2).
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    columns = np.column_stack([np.ones(len(counts)), disagreement(counts), shares])

    def finish(sums: Floats) -> Floats:
        by_chance = 1 - (_ratio(sums[:, 2:], sums[:, :1]) ** 2).sum(axis=1)
        return _beyond_chance(_ratio(sums[:, 1], sums[:, 0]), by_chance)

    return Sums(columns, finish)


def krippendorffs_alpha(counts: Floats) -> Sums:
    """Agreement beyond chance of any number of annotators, who need not answer all items.

    counts (N, K): how many annotators gave each answer to each item; items with fewer than two
    count for nothing. For answers without order (Krippendorff 2011).
    """
    answers = counts.sum(axis=1)
    several = answers > 1
    differing = np.zeros(len(counts))
    differing[several] = (answers**2 - (counts**2).sum(axis=1))[several] / (answers[several] - 1)

    def finish(sums: Floats) -> Floats:
        given = sums[:, 1:]
        total = given.sum(axis=1)
        by_chance = _ratio(total**2 - (given**2).sum(axis=1), total * (total - 1))
        return _beyond_chance(_ratio(sums[:, 0], total), by_chance)

    return Sums(np.column_stack([differing, counts * several[:, None]]), finish)


def disagreement(counts: Floats) -> Floats:
    """Share of the pairs of answers to each item that differ: (N, K) -> (N,), 0..1.

    With two annotators 0 or 1. Every item needs at least two answers.
    """
    answers = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1)
    return np.asarray(1 - same / (answers * (answers - 1)))


def _beyond_chance(differing: Floats, by_chance: Floats) -> Floats:
    """(B,) -> (B, 1), NaN where all give one and the same answer."""
    chance = np.where(by_chance > LEAST_CHANCE, by_chance, np.nan)
    return np.asarray(1 - differing / chance)[:, None]


def _ratio(sums: Floats, total: Floats) -> Floats:
    """NaN where nothing was drawn."""
    return np.asarray(sums / np.where(total > 0, total, np.nan))

"""Which examples an epoch visits, and in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Order(Protocol):
    """The order of one epoch. Whatever gives places can take the place of `Shuffled`."""

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Which examples are visited, in turn, (M,) int64, as places in `rows`.

        rows: (N,) int64, the manifest rows of the split. Must follow from the order and the rows
        alone, as an epoch that was stopped is taken up again by asking once more.
        """


@dataclass(frozen=True)
class Shuffled:
    """Every example once; the same seed and epoch, the same order."""

    seed: int
    epoch: int

    def places(self, rows: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng((self.seed, self.epoch))
        return generator.permutation(len(rows)).astype(np.int64)


@dataclass(frozen=True)
class Chosen:
    """So many examples at most, always the same, in a mixed order.

    They are spread over the classes as the split is, but for rounding, and every class has one.
    """

    seed: int
    class_index: np.ndarray
    """(N,) int, of the split's examples."""
    examples: int

    def places(self, rows: np.ndarray) -> np.ndarray:
        mixed = np.random.default_rng((self.seed, _CHOICE)).permutation(len(rows))
        classes = self.class_index[mixed]
        share = np.zeros(len(rows))
        for found in np.unique(classes):
            of_class = np.flatnonzero(classes == found)
            share[of_class] = np.arange(len(of_class)) / len(of_class)
        first = np.argsort(share, kind="stable")[: self.examples]
        return mixed[np.sort(first)].astype(np.int64)


_CHOICE = 2**31
"""No epoch has this number, so that the choice is drawn apart from the orders of training."""


def even_batch(examples: int, largest: int) -> int:
    """The size of batches of at most `largest`, so that the last one is hardly smaller."""
    return math.ceil(examples / math.ceil(examples / largest))

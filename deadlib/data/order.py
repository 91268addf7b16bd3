"""Which examples an epoch visits, and in which order."""

from __future__ import annotations

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

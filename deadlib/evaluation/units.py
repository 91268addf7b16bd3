"""What is counted: single examples, or the means of groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadlib.metrics import Metric, average_by_group, measurable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """class_index (N,) in 0..K-1, probabilities (N, K), group_index (N,) in 0..G-1, none empty.

    calls_only: the probabilities are 0 and 1 and mean nothing but the answer.
    """

    class_index: NDArray[np.intp]
    probabilities: Floats
    group_index: NDArray[np.intp]
    calls_only: bool = False

    def __len__(self) -> int:
        return len(self.class_index)

    @property
    def groups(self) -> int:
        return int(self.group_index.max()) + 1

    @property
    def predicted_index(self) -> NDArray[np.intp]:
        return self.probabilities.argmax(axis=1)

    @property
    def metrics(self) -> dict[str, Metric]:
        """What can be measured on them."""
        return measurable(self.calls_only)

    def where(self, chosen: NDArray[np.bool_]) -> Units:
        """The units where `chosen` (N,) holds, their groups numbered anew."""
        _, group_index = np.unique(self.group_index[chosen], return_inverse=True)
        return Units(
            self.class_index[chosen], self.probabilities[chosen], group_index, self.calls_only
        )

    def groups_with(self, chosen: NDArray[np.bool_]) -> int:
        """How many groups have a unit where `chosen` (N,) holds."""
        return len(np.unique(self.group_index[chosen]))

    def by_group(self) -> Units:
        """One unit per group and class, its probabilities the mean over its examples."""
        classes = self.probabilities.shape[1]
        class_index, probabilities = average_by_group(
            self.group_index, self.class_index, self.probabilities
        )
        # in the order of average_by_group: by group, then class
        group_index = np.unique(self.group_index * classes + self.class_index) // classes
        return Units(class_index.astype(np.intp), probabilities, group_index)

"""Labels dealt anew, as chance would have dealt them to the groups that there are.

Images of one well look alike and share a label, so a permutation moves whole patterns of labels
from group to group; where a group holds several labels they are also mixed within it, unit by unit.
A unit is the largest thing below a group whose examples all have one label: a well of an
experiment, an image of a well, or a single cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from tfrecords_tools.split import IMAGE, LEVELS

Indices = NDArray[np.intp]


def joint(*indices: Indices) -> Indices:
    """One index (N,) in 0..G-1 for the combinations of several that occur."""
    return np.unique(np.stack(indices), axis=1, return_inverse=True)[1].reshape(-1).astype(np.intp)


def units_of(frame: pd.DataFrame, groups: Indices, target: Indices) -> Indices:
    """The units (N,) of examples: the group, or the coarsest level in it that has one target."""
    found = groups
    levels = [level for level in (*LEVELS, IMAGE) if level in frame and frame[level].notna().any()]
    for level in [None, *levels]:
        if level is not None:
            found = joint(found, pd.factorize(frame[level])[0].astype(np.intp))
        if len(np.unique(found)) == len(np.unique(joint(found, target))):
            return found
    return np.arange(len(frame))


class Dealer:
    """Deals the targets of units anew among the groups of a stratum.

    target, units, groups, strata: (N,) of examples. With strata, nothing moves from one to another.
    """

    def __init__(
        self, target: Indices, units: Indices, groups: Indices, strata: Indices | None = None
    ) -> None:
        strata = np.zeros(len(target), np.intp) if strata is None else strata
        cluster = joint(strata, groups)
        unit = joint(cluster, units)
        _, first, self._unit = np.unique(unit, return_index=True, return_inverse=True)
        # units in the order of their clusters, which `joint` keeps
        self._target = target[first]
        self._cluster = cluster[first]
        _, start, self._size = np.unique(self._cluster, return_index=True, return_counts=True)
        self._start = start
        self._stratum = strata[first][start]
        self._place = np.arange(len(first)) - start[self._cluster]

    def deal(self, rng: np.random.Generator) -> Indices:
        """Targets (N,) of one permutation."""
        mixed = np.lexsort((rng.random(len(self._target)), self._cluster))
        giver = np.empty(len(self._start), np.intp)
        giver[np.argsort(self._stratum, kind="stable")] = np.lexsort(
            (rng.random(len(self._start)), self._stratum)
        )
        source = giver[self._cluster]
        taken = self._start[source] + self._place % self._size[source]
        return np.asarray(self._target[mixed[taken]][self._unit])

    @property
    def chance_of_the_same(self) -> float:
        """How often a permutation gives every unit the target that it has: no p-value is smaller.

        Two clusters change places unseen where they hold as many units of each target; within one,
        so do units of one target. Four wells of one class and four of another: 1 in 70.
        """
        counts = np.zeros((len(self._size), int(self._target.max()) + 1), np.intp)
        np.add.at(counts, (self._cluster, self._target), 1)
        alike = np.unique(np.column_stack([self._stratum, counts]), axis=0, return_counts=True)[1]
        exchanged = gammaln(alike + 1).sum() - gammaln(np.bincount(self._stratum) + 1).sum()
        mixed = gammaln(counts + 1).sum() - gammaln(self._size + 1).sum()
        return float(np.exp(exchanged + mixed))


def folds_of(clusters: Indices, repeats: int, folds: int, rng: np.random.Generator) -> Indices:
    """Which fold each example is tested in, (repeats, N): whole clusters, drawn without labels."""
    size = int(clusters.max()) + 1
    drawn = [rng.permutation(size) % folds for _ in range(repeats)]
    return np.stack([fold[clusters] for fold in drawn]).astype(np.intp)

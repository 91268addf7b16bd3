"""Sets of classes that hold the true one as often as promised.

A class is in the set of an image where its probability reaches the least one at which the wanted
share of its images is caught: class by class (Mondrian conformal prediction, Vovk et al. 2005), so
that a rare class is covered as well as a frequent one.

Images of one well are alike, so they are not exchangeable with those of a new well; groups are.
Each group therefore weighs 1/(G+1), shared among its images, and the last share stands for the new
group (Lee, Barber & Willett 2023, "Distribution-free inference with hierarchical data"). The
promise then holds for an image of a group never seen, whatever the network and however few groups.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-9


def fewest_groups(coverage: float) -> int:
    """How many groups of a class a promise of `coverage` needs to say anything: 9 for 0.9."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def least_probabilities(
    probabilities: np.ndarray, class_index: np.ndarray, group_index: np.ndarray, coverage: float
) -> Floats:
    """The least probability (K,) at which each class is in the set of an image.

    probabilities (N, K), class_index (N,), group_index (N,); coverage in 0..1 (exclusive). It is 0,
    the class being in every set, where fewer than `fewest_groups` groups have examples of it.
    """
    known = np.asarray(probabilities, np.float64)
    return np.array(
        [
            _least(known[class_index == k, k], group_index[class_index == k], coverage)
            for k in range(known.shape[1])
        ]
    )


def _least(probability: Floats, group_index: np.ndarray, coverage: float) -> float:
    """The largest threshold that the wanted share of the groups' weight reaches."""
    if len(probability) == 0:
        return 0.0
    _, place, counts = np.unique(group_index, return_inverse=True, return_counts=True)
    order = np.argsort(-probability, kind="stable")
    caught = np.cumsum(1 / (counts[place[order]] * (len(counts) + 1)))
    enough = np.flatnonzero(caught >= coverage - _ROUNDING)
    return float(probability[order[enough[0]]]) if len(enough) else 0.0

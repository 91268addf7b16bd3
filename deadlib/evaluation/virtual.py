"""Accuracy over balanced virtual batches, the way DeadNet's was measured.

A virtual batch is a random set of equally many images of each class: none twice within a batch, the
same ones again in other batches. All answers of all batches are then taken as one sample of right
and wrong classifications, from which the BCa interval is drawn. That sample is much larger than the
number of images behind it, so the interval over groups of the same balanced accuracy stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Resampling, of_independent
from deadlib.errors import PredictionError
from deadlib.evaluation.units import Units

PER_CLASS = 10
# a resample of answers that are right or wrong is one binomial number, so many cost nothing
RESAMPLES = 100_000


@dataclass(frozen=True)
class VirtualBatches:
    """The answers of all batches together.

    classes: those that have images; images: how many different ones were drawn; accuracy: mean over
    the classifications, its interval as if each were independent.
    """

    batches: int
    per_class: int
    classes: tuple[str, ...]
    images: int
    accuracy: Estimate

    @property
    def classifications(self) -> int:
        return self.batches * self.per_class * len(self.classes)

    def to_json(self, balanced_accuracy: Estimate, groups: int, unit: str) -> dict[str, Any]:
        """With the balanced accuracy of the same images, whose interval is over `groups` units."""
        return {
            "batches": self.batches,
            "per_class": self.per_class,
            "classes": list(self.classes),
            "images": self.images,
            "by_classification": {
                **self.accuracy.to_json(),
                "n": self.classifications,
                "unit": "classification",
                "resamples": RESAMPLES,
            },
            "by_group": {**balanced_accuracy.to_json(), "n": groups, "unit": unit},
        }


def measure_virtual_batches(
    units: Units, classes: Sequence[str], resampling: Resampling, *, batches: int, per_class: int
) -> VirtualBatches:
    """Accuracy over `batches` virtual batches of `per_class` images of each class with images.

    Raises PredictionError where a class has fewer images than a batch takes, or only one has any.
    """
    if batches < 1 or per_class < 1:
        raise PredictionError(
            f"{batches} virtual batches of {per_class} images of each class hold nothing; "
            "ask for at least 1 of 1"
        )
    counts = np.bincount(units.class_index, minlength=len(classes))
    there = [name for name, count in zip(classes, counts, strict=True) if count]
    if len(there) < 2:
        raise PredictionError(
            f"a virtual batch needs images of at least two classes, found only {there[0]}: "
            "evaluate a table with another class too, or leave --virtual-batches out"
        )
    for name, count in zip(classes, counts, strict=True):
        if 0 < count < per_class:
            raise PredictionError(
                f"a virtual batch takes {per_class} images of each class, found {count} of {name}: "
                f"predict more images of {name}, or take fewer of each with "
                f"--per-class {counts[counts > 0].min()}"
            )
    rng = np.random.default_rng(resampling.seed)
    drawn = draw_batches(units.class_index, batches, per_class, rng)
    right = (units.predicted_index == units.class_index)[drawn]
    return VirtualBatches(
        batches=batches,
        per_class=per_class,
        classes=tuple(there),
        images=len(np.unique(drawn)),
        accuracy=of_independent(
            int(right.sum()), right.size, Resampling(RESAMPLES, resampling.seed, resampling.level)
        ),
    )


def draw_batches(
    class_index: NDArray[np.intp], batches: int, per_class: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Which images stand in each batch: (batches, per_class x classes that occur).

    Without replacement within a batch, independently between batches.
    """
    members = [np.flatnonzero(class_index == k) for k in np.unique(class_index)]
    return np.stack(
        [
            np.concatenate([rng.choice(of_class, per_class, replace=False) for of_class in members])
            for _ in range(batches)
        ]
    )

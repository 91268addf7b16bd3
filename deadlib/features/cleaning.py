"""Features made ready for a classifier, as CellDeathPred's baselines were: what is not known of
every row is left out, what says the same twice is said once, and all are brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cleaning:
    """Which features are kept, and which are not and why; names in the table's order."""

    kept: tuple[str, ...]
    unknown: tuple[str, ...]
    """Not a number in some row that has cells."""
    constant: tuple[str, ...]
    """The same in all training rows."""
    copies: tuple[str, ...]
    """Equal to an earlier feature in all training rows."""

    def to_json(self) -> dict[str, Any]:
        return {
            "kept": len(self.kept),
            "unknown": list(self.unknown),
            "constant": list(self.constant),
            "copies": list(self.copies),
        }


def cleaned(names: Sequence[str], values: Floats, training: Mask, empty: Mask) -> Cleaning:
    """Which of D features to keep.

    values: (N, D). training: (N,) the rows to learn from. empty: (N,) rows without a cell, whose
    features are unknown by nature and cost no column.
    """
    known = np.asarray(np.isfinite(values[~empty]).all(axis=0))
    taught = values[training & ~empty]
    varies = np.zeros(len(names), bool)
    if len(taught):
        varies = known & np.asarray(taught.max(axis=0) > taught.min(axis=0))
    seen: set[bytes] = set()
    kept: list[str] = []
    copies: list[str] = []
    for place in np.flatnonzero(varies).tolist():
        column = np.ascontiguousarray(taught[:, place] + 0.0).tobytes()
        (copies if column in seen else kept).append(names[place])
        seen.add(column)
    return Cleaning(
        tuple(kept),
        tuple(name for name, is_known in zip(names, known, strict=True) if not is_known),
        tuple(
            name for name, k, v in zip(names, known, varies, strict=True) if k and not v
        ),
        tuple(copies),
    )  # fmt: skip


def standardised(values: Floats, fitted_on: Mask) -> Floats:
    """(N, D) less the mean and divided by the deviation of the rows `fitted_on` (N,); a feature
    without a deviation there is 0, and so is what is not a number."""
    known = values[fitted_on]
    known = np.where(np.isfinite(known), known, np.nan)
    counted = np.isfinite(known).sum(axis=0)
    total = np.nansum(known, axis=0)
    mean = np.divide(total, counted, out=np.zeros(values.shape[1]), where=counted > 0)
    variance = np.nansum((known - mean) ** 2, axis=0) / np.maximum(counted, 1)
    deviation = np.sqrt(variance)
    scaled = np.divide(
        values - mean, deviation, out=np.zeros_like(values), where=deviation > 0
    )  # fmt: skip
    return np.where(np.isfinite(scaled), scaled, 0.0)

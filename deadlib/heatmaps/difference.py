"""How far the dense mode is from the exact one, measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadlib.heatmaps.frame import FrameMapper
from deadlib.heatmaps.regions import Frame


@dataclass(frozen=True)
class Difference:
    """Of the probabilities of all classes at the same windows, dense less exact."""

    windows: int
    """How many were compared."""
    mean: float
    """Mean of the absolute differences."""
    percentile_95: float
    largest: float
    correlation: float | None
    """Pearson's, class by class about its mean; None where a mode says the same at every window."""
    other_class: float
    """Share of the windows whose most probable class is another."""


def difference(
    dense: FrameMapper,
    exact: FrameMapper,
    frame: Frame,
    *,
    windows: int | None = 500,
    seed: int = 0,
) -> Difference:
    """Compare two mappers of one run and stride on so many windows of a frame, drawn at random by
    `seed`; None for all. `exact` looks at these alone. Raises as `FrameMapper.probabilities`."""
    grid = dense.grid((frame.shape[0], frame.shape[1]))
    places = np.indices((grid.rows, grid.columns)).reshape(2, -1).T
    if windows is not None and windows < len(places):
        chosen = np.random.default_rng(seed).choice(len(places), windows, replace=False)
        places = places[np.sort(chosen)]
    return compared(dense.at(frame, places), exact.at(frame, places))


def compared(dense: np.ndarray, exact: np.ndarray) -> Difference:
    """The difference of probabilities (N, classes) of the same N windows."""
    apart = np.abs(dense.astype(np.float64) - exact)
    first, second = (np.asarray(each, np.float64) - each.mean(axis=0) for each in (dense, exact))
    spread = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return Difference(
        windows=len(exact),
        mean=float(apart.mean()),
        percentile_95=float(np.percentile(apart, 95)),
        largest=float(apart.max()),
        correlation=float((first * second).sum() / spread) if spread else None,
        other_class=float((dense.argmax(axis=1) != exact.argmax(axis=1)).mean()),
    )

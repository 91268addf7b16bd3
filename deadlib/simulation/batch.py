"""Batch effects: how one plate differs from the next in each channel on its own.

Half of the variance belongs to the experiment, half to the plate: plates that were stained and
imaged on one day are more alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.design import Stream, stream
from deadlib.simulation.parameters import CHANNELS, PaintingParameters

BACKGROUND = 2.0
FOCUS_UM = 3.0
SLOPE = 0.5
BLEED = 0.15
SEEDING = 0.3


@dataclass(frozen=True)
class Batch:
    """One plate against the common one. Arrays have an entry, or a row, for each channel."""

    stain: NDArray[np.float64]
    """What the dye's brightness is multiplied by."""
    background: NDArray[np.float64]
    """What the background is multiplied by."""
    defocus_um: NDArray[np.float64]
    """The focus of the channel, on top of that of the field."""
    slope: NDArray[np.float64]
    """(channels, 2): tilt of the illumination along rows and columns."""
    bleed: NDArray[np.float64]
    """The share of the channel before it (of the last, for the first) that is seen in it."""
    seeding: float
    """What the number of cells is multiplied by."""


def batch_of(parameters: PaintingParameters, seed: int, plate: int) -> Batch:
    """The batch effect of a plate (0-based, counted through all experiments).

    Every quantity grows with `parameters.batch_effect`; at 0 the plate is the common one.
    """
    experiment = plate // parameters.plates
    shape = (len(CHANNELS), 7)
    shared = stream(seed, Stream.EXPERIMENT, experiment).standard_normal(shape)
    own = stream(seed, Stream.PLATE, plate, 2).standard_normal(shape)
    drawn = parameters.batch_effect * np.sqrt(0.5) * (shared + own)
    return Batch(
        stain=np.exp(drawn[:, 0]),
        background=np.exp(BACKGROUND * drawn[:, 1]),
        defocus_um=FOCUS_UM * drawn[:, 2],
        slope=SLOPE * drawn[:, 3:5],
        bleed=BLEED * np.abs(drawn[:, 5]),
        seeding=float(np.exp(SEEDING * drawn[0, 6])),
    )

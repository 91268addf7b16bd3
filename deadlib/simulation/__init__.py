"""A microscope on the command line: images of dying cells with known truth.

>>> from deadlib.simulation import simulate
>>> simulate("phase", "images", seed=1, positions=12)
"""

from deadlib.simulation.parameters import (
    MODALITIES,
    PaintingParameters,
    PhaseParameters,
    SimulationError,
    TransmittedParameters,
)
from deadlib.simulation.run import simulate

__all__ = [
    "MODALITIES",
    "PaintingParameters",
    "PhaseParameters",
    "SimulationError",
    "TransmittedParameters",
    "simulate",
]

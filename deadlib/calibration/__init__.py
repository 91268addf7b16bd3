"""How sure is sure? Honest probabilities, sets of classes, and what is unlike all seen before.

Pure functions on arrays, fitted on examples that training never saw.
"""

from deadlib.calibration.calibration import Calibration, fit_calibration, groups_of_classes
from deadlib.calibration.conformal import fewest_groups, least_probabilities
from deadlib.calibration.neighbours import Neighbours
from deadlib.calibration.temperature import (
    cooled,
    fit_temperature,
    group_weights,
    softmax,
    uncalibrated,
)

__all__ = [
    "Calibration",
    "Neighbours",
    "cooled",
    "fewest_groups",
    "fit_calibration",
    "fit_temperature",
    "group_weights",
    "groups_of_classes",
    "least_probabilities",
    "softmax",
    "uncalibrated",
]

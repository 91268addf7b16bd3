"""A run applied to images: the prediction table, and the calibration that it keeps to."""

from deadlib.inference.calibrate import calibrate_run
from deadlib.inference.table import predict, read_metadata

__all__ = ["calibrate_run", "predict", "read_metadata"]

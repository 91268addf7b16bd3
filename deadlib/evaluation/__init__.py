"""Predictions turned into an honest report. Reads only the prediction table."""

from deadlib.bootstrap import Estimate
from deadlib.evaluation.assess import Evaluation, assess
from deadlib.evaluation.report import Report, compose, evaluate, write_report

__all__ = [
    "Estimate",
    "Evaluation",
    "Report",
    "assess",
    "compose",
    "evaluate",
    "write_report",
]

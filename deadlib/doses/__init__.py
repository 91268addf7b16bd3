"""From predictions of wells to doses: curves, half-effect doses, turning points, hits."""

from deadlib.doses.curves import Curve, Place, Turn, curves_of, dose_table, turns_of
from deadlib.doses.hill import Fit, Hill, fit_hill
from deadlib.doses.hits import Hit, hits_of
from deadlib.doses.report import Doses, doses_of, write_report
from deadlib.doses.wells import CONTROLS, Columns, Wells, wells_of

__all__ = [
    "CONTROLS",
    "Columns",
    "Curve",
    "Doses",
    "Fit",
    "Hill",
    "Hit",
    "Place",
    "Turn",
    "Wells",
    "curves_of",
    "dose_table",
    "doses_of",
    "fit_hill",
    "hits_of",
    "turns_of",
    "wells_of",
    "write_report",
]

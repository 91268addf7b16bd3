"""What annotators say of images: how far they agree, and what their labels allow a model."""

from deadlib.annotation.adjudication import disputed, labels_decided
from deadlib.annotation.ambiguity import Implied, implied
from deadlib.annotation.concordance import Concordance, concordance_of
from deadlib.annotation.report import Page, results_page, write_report
from deadlib.annotation.results import Results, results_of

__all__ = [
    "Concordance",
    "Implied",
    "Page",
    "Results",
    "concordance_of",
    "disputed",
    "implied",
    "labels_decided",
    "results_of",
    "results_page",
    "write_report",
]

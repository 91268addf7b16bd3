"""What annotators say of images: how far they agree, and what their labels allow a model."""

from deadlib.annotation.ambiguity import Implied, implied
from deadlib.annotation.concordance import Concordance, concordance_of
from deadlib.annotation.report import write_report

__all__ = ["Concordance", "Implied", "concordance_of", "implied", "write_report"]

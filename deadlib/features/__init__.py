"""Classical baselines: cells measured one by one, and classifiers that need no network."""

from deadlib.features.classify import MODELS, Classified, classify
from deadlib.features.importing import import_features
from deadlib.features.measure import measure
from deadlib.features.table import FeatureTable, open_features

__all__ = [
    "MODELS",
    "Classified",
    "FeatureTable",
    "classify",
    "import_features",
    "measure",
    "open_features",
]

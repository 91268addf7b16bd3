"""Networks: one file per family, chosen by name in `MODELS`."""

from deadlib.models.batch_statistics import at_test
from deadlib.models.build import MODELS, build_network, embedding_network, last_convolution
from deadlib.models.weights import load_initial_weights

__all__ = [
    "MODELS",
    "at_test",
    "build_network",
    "embedding_network",
    "last_convolution",
    "load_initial_weights",
]

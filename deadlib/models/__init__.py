"""Networks: one file per family, chosen by name in `MODELS`."""

from deadlib.models.batch_statistics import at_test
from deadlib.models.build import MODELS, build_network, last_convolution
from deadlib.models.fused import for_prediction
from deadlib.models.halves import answering_network, embedded, embedding_network, halves
from deadlib.models.learning import learning
from deadlib.models.weights import load_initial_weights

__all__ = [
    "MODELS",
    "answering_network",
    "at_test",
    "build_network",
    "embedded",
    "embedding_network",
    "for_prediction",
    "halves",
    "last_convolution",
    "learning",
    "load_initial_weights",
]

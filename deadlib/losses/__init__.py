"""What is minimised: the error of the classes, and where embeddings lie to each other."""

from deadlib.losses.classification import Loss, build_loss, class_weights
from deadlib.losses.metric import (
    PROXIES,
    ProxyAnchorLoss,
    SupervisedContrastiveLoss,
    TripletLoss,
    Weighted,
    build_metric_loss,
)

__all__ = [
    "PROXIES",
    "Loss",
    "ProxyAnchorLoss",
    "SupervisedContrastiveLoss",
    "TripletLoss",
    "Weighted",
    "build_loss",
    "build_metric_loss",
    "class_weights",
]

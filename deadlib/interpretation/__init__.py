"""What did the network look at? Grad-CAM heat maps laid over the images."""

from deadlib.interpretation.explain import explain

__all__ = ["explain"]

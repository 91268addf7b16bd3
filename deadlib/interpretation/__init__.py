"""Where did the network look? Heat maps laid over the images.

The public names are loaded when they are first used: `names` alone needs no TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadlib.interpretation.class_model import class_models
    from deadlib.interpretation.frames import explain_frames
    from deadlib.interpretation.images import explain

__all__ = ["class_models", "explain", "explain_frames"]

_HOMES = {"class_models": "class_model", "explain": "images", "explain_frames": "frames"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

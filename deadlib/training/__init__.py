"""Training: `train` turns a recipe into a run directory.

TensorFlow is imported when `train` is first asked for, so the checks of a recipe against a dataset
can be had without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadlib.training.fit import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name == "train":
        from deadlib.training.fit import train

        return train
    raise AttributeError(f"module 'deadlib.training' has no attribute {name!r}")

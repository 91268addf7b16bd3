"""Unit range: the one scale of intensities that everything after reading works in."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_range(images: Any) -> Any:
    """Images of any shape as float32; integers are divided by the largest of their type.

    Takes and gives a NumPy array or a tensor; float32 comes back as it is. NumPy and TensorFlow
    give equal bits. Not to be compiled by XLA, which multiplies by the reciprocal and rounds
    otherwise.
    """
    kind = np.dtype(getattr(images.dtype, "name", images.dtype))
    if isinstance(images, np.ndarray):
        floats: Any = images.astype(np.float32, copy=False)
    else:
        from keras import ops

        floats = ops.cast(images, "float32")
    return floats if kind.kind == "f" else floats / np.float32(np.iinfo(kind).max)

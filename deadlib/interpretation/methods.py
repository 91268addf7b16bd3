"""The ways to ask a network where it looked, by name; all give maps of one shape and meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from deadlib.errors import InputError
from deadlib.interpretation import gradcam, vis
from deadlib.interpretation.names import METHODS as NAMES

HeatMaps = Callable[[keras.Model, np.ndarray, Sequence[int], str], np.ndarray]
"""(network, images (B, H, W, C), class_index (B,), layer) → (B, h, w) float32 >= 0."""

METHODS: dict[str, HeatMaps] = {
    "gradcam": gradcam.heat_maps,
    "gradcam++": vis.grad_cam_plus_plus,
    "scorecam": vis.score_cam,
    "smoothgrad": vis.smooth_grad,
}


def heat_maps(
    network: keras.Model,
    images: np.ndarray,
    class_index: Sequence[int],
    layer: str,
    method: str = "gradcam",
) -> np.ndarray:
    """Evidence for a class at each place of an image, by the method of that name.

    images: (B, H, W, C) float32, preprocessed; class_index: (B,), the class asked about; layer:
    the feature map that is looked at, where the method looks at one.
    Returns (B, h, w) float32 >= 0, all 0 where nothing speaks for the class; h and w are those of
    the layer or of the image, as the method has it. Raises InputError on an unknown method, and
    where the layer does not exist or gives no feature map.
    """
    check_method(method)
    return METHODS[method](network, images, class_index, layer)


def check_method(method: str) -> None:
    """Raise InputError on a method that does not exist."""
    if method not in NAMES:
        raise InputError(f"--method {method}: unknown; expected one of {', '.join(NAMES)}")

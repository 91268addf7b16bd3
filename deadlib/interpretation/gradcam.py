"""Grad-CAM: which places of the image speak for a class.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization
(2017), section 3: the feature maps of the last convolution, weighted by the mean gradient of the
class's score before the softmax, summed, negative evidence cut off. Computed by tf-keras-vis.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from deadlib.errors import InputError
from deadlib.recipe import InputSection

BORDER_FRACTION = 0.1


def heat_maps(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> np.ndarray:
    """Evidence for a class at each place of a layer's feature map.

    images: (B, H, W, C) float32, preprocessed; class_index: (B,), the class asked about.
    Returns (B, h, w) float32 >= 0 in units of the score; all 0 where nothing speaks for the class.
    Raises InputError where the layer does not exist or gives no feature map.
    """
    _check_layer(network, layer)
    with warnings.catch_warnings():
        # tf-keras-vis hands a tensor where Keras 3 keeps a list of one: the same input.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        heat = Gradcam(network, clone=False)(
            CategoricalScore([int(index) for index in class_index]),
            images,
            penultimate_layer=layer,
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
        )
    return np.asarray(heat, np.float32)


def place(heat: np.ndarray, shape: tuple[int, int], section: InputSection) -> np.ndarray:
    """Lay a heat map (h, w) over an image of `shape` (H, W): bilinear, (H, W) float32.

    With fit=crop the network saw the central window alone, and the rest of the image gets 0.
    """
    if section.fit == "resize":
        return enlarge(heat, shape)
    top, left, rows, columns = seen_window(shape, section)
    placed = np.zeros(shape, np.float32)
    placed[top : top + rows, left : left + columns] = enlarge(heat, (rows, columns))
    return placed


def seen_window(shape: tuple[int, int], section: InputSection) -> tuple[int, int, int, int]:
    """Top, left, rows and columns, in pixels, of what the network sees of an image (H, W)."""
    if section.fit == "resize":
        return (0, 0, *shape)
    rows, columns = section.size_px
    return ((shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns)


def border_share(heat: np.ndarray) -> float:
    """Share of the heat (H, W) in the outer tenth of each side; 0.36 for even heat, NaN for none.

    A network that reads cells should stay near or below that: a scale bar, a well's rim or a
    vignette lies further out.
    """
    rows, columns = (max(1, round(side * BORDER_FRACTION)) for side in heat.shape)
    total = float(heat.sum())
    if total == 0:
        return float("nan")
    return 1 - float(heat[rows:-rows, columns:-columns].sum()) / total


def half_heat_area(heat: np.ndarray) -> float:
    """Smallest share of the area that holds half of the heat (H, W); 0.5 for even heat."""
    total = float(heat.sum(dtype=np.float64))
    if total == 0:
        return float("nan")
    cumulated = np.cumsum(np.sort(heat, axis=None)[::-1], dtype=np.float64)
    return float(np.searchsorted(cumulated, total / 2) + 1) / heat.size


def enlarge(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map (h, w) at another size (H, W), bilinear."""
    enlarged = tf.image.resize(heat[..., None], shape, antialias=True)
    return np.asarray(enlarged[..., 0], np.float32)


def _check_layer(network: keras.Model, layer: str) -> None:
    maps = [each.name for each in network.layers if len(getattr(each.output, "shape", ())) == 4]
    if layer not in maps:
        raise InputError(
            f"--layer {layer}: {network.name} has no feature map of that name; the last ones are "
            f"{', '.join(maps[-6:])}"
        )

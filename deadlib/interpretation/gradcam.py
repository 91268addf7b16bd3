"""Grad-CAM: which places of the image speak for a class.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization
(2017), section 3: the feature maps of the last convolution, weighted by the mean gradient of the
class's score before the softmax, summed, negative evidence cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from deadlib.errors import InputError
from deadlib.models import gradcam


def heat_maps(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> np.ndarray:
    """Evidence for a class at each place of a layer's feature map, by the image's own weights.

    images: (B, H, W, C) float32, preprocessed; class_index: (B,), the class asked about.
    Returns (B, h, w) float32 >= 0 in units of the score; all 0 where nothing speaks for the class.
    Raises InputError where the layer does not exist or gives no feature map.
    """
    maps, weights = maps_and_weights(network, images, class_index, layer)
    return evidence(maps, weights[:, None])[..., 0]


def maps_and_weights(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> tuple[np.ndarray, np.ndarray]:
    """The feature maps of a layer, and how much the class's score rises with each of them.

    images: (B, H, W, C) float32, preprocessed; class_index: (B,), the class asked about.
    Returns (B, h, w, K) float32 and, as (B, K) float32, the weights alpha of DeadNet's equation 1:
    the mean over a map's places of the gradient of the score before the softmax.
    Raises InputError where the layer does not exist or gives no feature map.
    """
    check_layer(network, layer)
    maps, weights = gradcam.maps_and_weights(
        gradcam.with_maps(network, layer),
        tf.convert_to_tensor(images, tf.float32),
        tf.constant(np.asarray(class_index, np.int32)),
    )
    return np.asarray(maps), np.asarray(weights)


def feature_maps(network: keras.Model, images: np.ndarray, layer: str) -> np.ndarray:
    """The feature maps (B, h, w, K) float32 of a layer. Raises as `maps_and_weights`."""
    check_layer(network, layer)
    model = gradcam.with_maps(network, layer)
    maps, _ = model(tf.convert_to_tensor(images, tf.float32), training=False)
    return np.asarray(tf.cast(maps, tf.float32))


def evidence(maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Equation 2 for several classes at once: weighted feature maps, summed, cut off below 0.

    maps: (B, h, w, K); weights: (B, classes, K), or (1, classes, K) for the same in all images.
    Returns (B, h, w, classes) float32 in units of the score.
    """
    return np.maximum(maps @ np.swapaxes(weights, 1, 2)[:, None], 0, dtype=np.float32)


def check_layer(network: keras.Model, layer: str) -> None:
    maps = [each.name for each in network.layers if len(getattr(each.output, "shape", ())) == 4]
    if layer not in maps:
        raise InputError(
            f"--layer {layer}: {network.name} has no feature map of that name; the last ones are "
            f"{', '.join(maps[-6:])}"
        )

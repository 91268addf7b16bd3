"""Maps by tf-keras-vis: Grad-CAM++, Score-CAM and SmoothGrad.

Chattopadhay et al., Grad-CAM++ (2018): Grad-CAM with a weight for each place, kinder to several
cells in one image. Wang et al., Score-CAM (2020): no gradients; the image is shown through each
feature map, and the map counts as much as the class is then believed. Smilkov et al., SmoothGrad
(2017): how much the score changes with each pixel, averaged over noisy copies of the image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deadlib.interpretation.gradcam import check_layer

SCORE_CAM_MAPS = 256
"""Of layers with more feature maps those that vary most are taken, for time and memory."""
NOISY_COPIES = 16
NOISE = 0.2
"""Standard deviation of the noise, in units of the image's range."""

BATCH = 32


class Compiled:
    """A network as tf-keras-vis asks for it, its answers from a compiled function, silently."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._answer = tf.function(lambda images: network(images, training=False))

    def __call__(self, images: Any, training: bool = False) -> Any:
        return self._answer(images[0] if isinstance(images, list) else images)

    def predict(self, images: Any, batch_size: int) -> np.ndarray:
        parts = tf.data.Dataset.from_tensor_slices(images[0]).batch(batch_size)
        return np.concatenate([np.asarray(self._answer(part)) for part in parts])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def in_float32(network: keras.Model) -> keras.Model:
    """The network, or under mixed precision, which tf-keras-vis does not take, a float32 copy."""
    if all(layer.compute_dtype == "float32" for layer in network.layers):
        return network

    def clone(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of tf-keras-vis on its own use of Keras and SciPy."""
    with warnings.catch_warnings():
        # It hands a tensor where Keras 3 keeps a list of one: the same input.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def grad_cam_plus_plus(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> np.ndarray:
    """Grad-CAM++ of a layer; a `methods.HeatMaps`, in units of the score."""
    check_layer(network, layer)
    score = _score(class_index)
    with quiet():
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus

        # exp(score) only scales the map; of a score of 0 it cannot overflow.
        heat = GradcamPlusPlus(in_float32(network), clone=False)(
            lambda logits: score(logits) - tf.stop_gradient(score(logits)),
            images,
            penultimate_layer=layer,
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
        )
    return np.asarray(heat, np.float32)


def score_cam(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> np.ndarray:
    """Score-CAM of a layer; a `methods.HeatMaps`, feature maps weighted by probabilities.

    Costs one look of the network for each feature map, at most `SCORE_CAM_MAPS`, and image.
    """
    check_layer(network, layer)
    maps = min(network.get_layer(layer).output.shape[-1], SCORE_CAM_MAPS)
    compiled = Compiled(in_float32(network))
    heat = []
    with quiet():
        from tf_keras_vis.scorecam import Scorecam

        for image, index in zip(images, class_index, strict=True):
            heat.append(
                Scorecam(compiled, clone=False)(
                    _score([index]),
                    image[None],
                    penultimate_layer=layer,
                    seek_penultimate_conv_layer=False,
                    batch_size=BATCH,
                    max_N=maps,
                    expand_cam=False,
                    normalize_cam=False,
                )
            )
    return np.concatenate(heat).astype(np.float32)


def smooth_grad(
    network: keras.Model, images: np.ndarray, class_index: Sequence[int], layer: str
) -> np.ndarray:
    """SmoothGrad; a `methods.HeatMaps` of the image's size, whatever the layer.

    The size of the score's gradient at each pixel, the largest of the channels. The noise is the
    same in every call.
    """
    with quiet(), _seeded(0):
        from tf_keras_vis.saliency import Saliency

        heat = Saliency(Compiled(network), clone=False)(
            _score(class_index),
            images,
            smooth_samples=NOISY_COPIES,
            smooth_noise=NOISE,
            normalize_map=False,
        )
    return np.asarray(heat, np.float32)


def _score(class_index: Sequence[int]) -> Callable[[Any], Any]:
    """The scores (B,) of one class for each image, or of one class for all."""
    classes = np.asarray(class_index, np.int32)

    def score(logits: Any) -> Any:
        return tf.gather(logits, tf.broadcast_to(classes, tf.shape(logits)[:1]), batch_dims=1)

    return score


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, from which tf-keras-vis draws, seeded; left as it was."""
    former = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(former)

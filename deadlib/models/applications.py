"""The networks that come with Keras, with any number of channels and without their top."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from deadlib.models.parts import pooled_embedding, require_size
from deadlib.recipe import ModelSection

SMALLEST_PX = 32
APPLICATIONS: dict[str, Callable[..., Any]] = {
    "densenet121": keras.applications.DenseNet121,
    "efficientnetb0": keras.applications.EfficientNetB0,
}
STEMS = {"densenet121": "conv1_conv", "efficientnetb0": "stem_conv"}
# EfficientNet begins with these and expects intensities of 0 to 255; our images are normalised.
RESCALING = (keras.layers.Rescaling, keras.layers.Normalization)


def application(name: str) -> Callable[[Any, ModelSection], Any]:
    """The family of `name`, one of APPLICATIONS.

    It takes images (B, H, W, C), at least 32 px a side, and returns what the head makes of the
    last feature map, of 1024 channels for DenseNet-121 and 1280 for EfficientNet-B0.
    """
    return partial(_embedding, name)


def _without_rescaling(network: Any, image: Any) -> Any:
    """A copy on `image`, with new weights, less the layers that would normalise it once more."""

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if isinstance(layer, RESCALING) else layer(*arguments, **options)

    return keras.models.clone_model(network, input_tensors=[image], call_function=call)


def _with_biased_stem(network: Any, image: Any) -> Any:
    """A copy on `image`, with new weights, whose stem has a bias."""

    def clone(layer: Any) -> Any:
        changed = {"use_bias": True} if layer.name == STEMS["densenet121"] else {}
        return type(layer).from_config({**layer.get_config(), **changed})

    return keras.models.clone_model(network, input_tensors=[image], clone_function=clone)


def _embedding(name: str, image: Any, model: ModelSection) -> Any:
    require_size(image, SMALLEST_PX, name)
    network = APPLICATIONS[name](include_top=False, weights=None, input_tensor=image)
    if name == "efficientnetb0":
        network = _without_rescaling(network, image)
    elif model.stem == "random":
        network = _with_biased_stem(network, image)
    return pooled_embedding(network.output, model)

"""The weights that training starts from: ImageNet's or those of an earlier run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deadlib.errors import RecipeError
from deadlib.models.applications import APPLICATIONS, RESCALING
from deadlib.models.applications import STEMS as APPLICATION_STEMS
from deadlib.models.parts import LOGITS
from deadlib.models.resnet import BOTTLENECKED
from deadlib.recipe import ModelSection

IMAGENET = {
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    **APPLICATIONS,
}
"""The networks of keras.applications that we have, whose ImageNet weights Keras downloads."""

STEMS = {"resnet50": "conv1_conv", "resnet101": "conv1_conv", **APPLICATION_STEMS}
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])
"""Of red, green and blue, in unit range; data.preprocess has them for images."""


def load_initial_weights(network: keras.Model, model: ModelSection) -> None:
    """Give `network` the weights that model.weights names: random, imagenet or a file.

    imagenet: the body, for the networks of keras.applications. The stem is converted to images
    standardised per channel, and to their number as model.stem has it (see `inflate`). A file: the
    model.keras of a network of the same shape; the logits are left out where the number of classes
    differs.

    Raises RecipeError where there are no such weights or they do not fit.
    """
    if model.weights == "random":
        return
    if model.weights == "imagenet":
        _check_stride(model)
        copy_imagenet_weights(_imagenet_network(model.name), network, model.name, model.stem)
    else:
        _copy_file(Path(model.weights), network)


def inflate(kernel: np.ndarray, channels: int, stem: str = "scaled_mean") -> np.ndarray:
    """A stem for RGB turned into one for `channels` channels: (h, w, 3, F) to (h, w, channels, F).

    scaled_mean: three channels are left as they are; of any other number each gets the mean of the
    three kernels times 3 / channels, so an image whose channels are all alike gives what a grey RGB
    image gave. extra_mean: the first three channels get the three kernels (one or two channels the
    first of them), each further one their mean. mean: every channel gets the mean, three as well.
    """
    mean = kernel.mean(axis=2, keepdims=True)
    if stem == "extra_mean":
        extra = np.repeat(mean, max(0, channels - 3), axis=2)
        return np.concatenate([kernel[:, :, :channels], extra], axis=2)
    if stem == "mean":
        return np.repeat(mean, channels, axis=2)
    if channels == 3:
        return kernel
    return np.repeat(mean * (3 / channels), channels, axis=2)


def standardised_stem(kernel: np.ndarray, name: str) -> np.ndarray:
    """The stem of the Keras application `name` for images standardised as ImageNet's, RGB.

    Keras' ResNets take BGR in 0 to 255 less its mean; the others are standardised already.
    """
    if not name.startswith("resnet"):
        return kernel
    return kernel[:, :, ::-1] * (255 * IMAGENET_DEVIATION)[:, None]


def copy_imagenet_weights(
    source: keras.Model, network: keras.Model, name: str, stem: str = "scaled_mean"
) -> None:
    """Copy the weights of `source`, the Keras application `name` for RGB, layer by layer.

    The stem is changed to take standardised images, and as many channels as `network` does; with
    stem: random it is left as it is. Keras' ResNets have biases where ours have none: they go into
    the mean of the batch normalisation that follows.
    """
    for layer in source.layers:
        weights = layer.get_weights()
        is_stem = layer.name == STEMS[name]
        if not weights or isinstance(layer, RESCALING) or (is_stem and stem == "random"):
            continue
        if is_stem:
            channels = network.input.shape[-1]
            weights = [inflate(standardised_stem(weights[0], name), channels, stem), *weights[1:]]
        ours = network.get_layer(_our_name(layer.name, name))
        if name in BOTTLENECKED:
            weights = _without_bias(weights, layer, ours, source)
        ours.set_weights(weights)


def _without_bias(weights: list[Any], layer: Any, ours: Any, source: keras.Model) -> list[Any]:
    """Weights of a layer of Keras' ResNets for ours, which also differ in epsilon."""
    if isinstance(layer, keras.layers.Conv2D):
        return weights[:1]
    gamma, beta, mean, variance = weights
    bias = source.get_layer(layer.name.removesuffix("bn") + "conv").bias.numpy()
    return [gamma, beta, mean - bias, variance + (layer.epsilon - ours.epsilon)]


def _our_name(theirs: str, network: str) -> str:
    """What the layer `theirs` of keras.applications is called in our network."""
    if network not in BOTTLENECKED:
        return theirs
    kind = {"conv": "convolution", "bn": "norm"}[theirs.rsplit("_", 1)[1]]
    found = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_\w+", theirs)
    if found is None:
        return f"stem_{kind}"
    stage, block, number = found.groups()
    place = "shortcut" if number == "0" else number
    return f"stage{int(stage) - 1}_block{block}_{place}_{kind}"


def _check_stride(model: ModelSection) -> None:
    if model.name in BOTTLENECKED and model.stride_in != "1x1":
        raise RecipeError(
            f"model.stride_in: the ImageNet weights of {model.name} were trained with blocks that "
            f"halve the size in their first convolution, found {model.stride_in}; set "
            "model.stride_in: 1x1, or choose model.weights: random"
        )


def _imagenet_network(name: str) -> keras.Model:
    if name not in IMAGENET:
        raise RecipeError(
            f"model.weights: there are no ImageNet weights for {name}; choose model.weights: "
            f"random, or one of the models that have them: {', '.join(IMAGENET)}"
        )
    image = keras.Input((224, 224, 3))
    try:
        return IMAGENET[name](include_top=False, weights="imagenet", input_tensor=image)
    except Exception as error:  # Keras raises a bare Exception for a failed download
        raise RecipeError(
            f"model.weights: the ImageNet weights of {name} could not be downloaded ({error}); "
            "connect once, or copy the file into ~/.keras/models (KERAS_HOME/models where "
            "that is set), or choose model.weights: random"
        ) from error


def _copy_file(path: Path, network: keras.Model) -> None:
    source = _read(path)
    ours, theirs = _weighted_layers(network), _weighted_layers(source)
    skipped = LOGITS if _shapes(ours.get(LOGITS)) != _shapes(theirs.get(LOGITS)) else None
    for name in ours.keys() | theirs.keys():
        if name != skipped and _shapes(ours.get(name)) != _shapes(theirs.get(name)):
            raise RecipeError(
                f"model.weights: {path} is of another network: layer {name} has weights "
                f"{_shapes(theirs.get(name))}, the recipe's {network.name} needs "
                f"{_shapes(ours.get(name))}; model, input.size_px and channels must be the same"
            )
    for name in ours.keys() - {skipped}:
        ours[name].set_weights(theirs[name].get_weights())


def _read(path: Path) -> keras.Model:
    if not path.is_file():
        raise RecipeError(
            f"model.weights: {path} not found; expected random, imagenet or the path of a "
            "model.keras that a run has written"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # zip, HDF5 and Keras each have errors of their own
        raise RecipeError(f"model.weights: {path} cannot be read as a Keras model ({error})") from (
            error
        )


def _weighted_layers(network: keras.Model) -> dict[str, Any]:
    return {layer.name: layer for layer in network.layers if layer.weights}


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [] if layer is None else [tuple(weight.shape) for weight in layer.weights]

"""From the model section of a recipe to a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from deadlib.errors import RecipeError
from deadlib.models.applications import APPLICATIONS, application
from deadlib.models.deadnet import caffe_xavier, deadnet
from deadlib.models.parts import LOGITS, classified, he_normal
from deadlib.models.resnet import BLOCKS, BOTTLENECKED, resnet
from deadlib.models.small_cnn import small_cnn
from deadlib.recipe import ModelSection

# A family takes the image tensor and the section, and returns what the logits are computed from;
# one of its layers is called "embedding".
Family = Callable[[Any, ModelSection], Any]

MODELS: dict[str, Family] = {
    "small_cnn": small_cnn,
    "deadnet": deadnet,
    **{name: resnet(name) for name in BLOCKS},
    **{name: application(name) for name in APPLICATIONS},
}

# Options of some models only: given to another one they would silently do nothing.
_OPTIONS = {
    "pooling": ("deadnet",),
    "dense_batch_norm": ("deadnet",),
    "width": ("small_cnn",),
    "blocks": ("small_cnn",),
    "stride_in": BOTTLENECKED,
    "head": tuple(name for name in MODELS if name != "deadnet"),
    "embedder": tuple(name for name in MODELS if name != "deadnet"),
    "dropout": tuple(name for name in MODELS if name != "deadnet"),
}


def build_network(
    model: ModelSection,
    *,
    size_px: tuple[int, int],
    channels: int,
    classes: int,
) -> keras.Model:
    """A network with random weights; `load_initial_weights` gives it others.

    Input "image": (B, *size_px, channels) float32, preprocessed. Output "logits": (B, classes)
    float32, also under a mixed precision policy. Layer "embedding": (B, D) float32. The graph is
    flat: no model inside the model; all layers are Keras' own.

    Raises RecipeError where the image is too small, or an option is not one of this model.
    """
    _refuse_foreign_options(model)
    image = keras.Input((*size_px, channels), name="image", dtype="float32")
    features = classified(MODELS[model.name](image, model), model)
    initial = he_normal() if model.head == "concat" else caffe_xavier()
    logits = keras.layers.Dense(classes, kernel_initializer=initial, dtype="float32", name=LOGITS)(
        features
    )
    return keras.Model(image, logits, name=model.name)


def last_convolution(network: keras.Model) -> str:
    """The layer that gives the last feature map, after its activation: where Grad-CAM looks."""
    passing = keras.layers.MaxPooling2D | keras.layers.Dropout
    for layer in reversed(network.layers):
        if len(layer.output.shape) == 4 and not isinstance(layer, passing):
            return layer.name
    raise ValueError(f"{network.name} has no feature map")


def _refuse_foreign_options(model: ModelSection) -> None:
    if model.embedder and model.head == "concat":
        raise RecipeError(
            f"model.embedder: {list(model.embedder)} stands with model.head: average; head: concat "
            "has dense layers of its own: leave one of them out"
        )
    has_stem = model.weights == "imagenet" or model.name == "densenet121"
    if model.stem != ModelSection.model_fields["stem"].default and not has_stem:
        raise RecipeError(
            f"model.stem: {model.stem} says what becomes of the first convolution of "
            f"model.weights: imagenet, found {model.weights}; leave it out"
        )
    for option, owners in _OPTIONS.items():
        default = ModelSection.model_fields[option].default
        found = getattr(model, option)
        if found != default and model.name not in owners:
            raise RecipeError(
                f"model.{option}: {found} does nothing for {model.name}; "
                f"it is an option of {', '.join(owners)}: remove it or change model.name"
            )

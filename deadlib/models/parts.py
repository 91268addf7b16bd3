"""What the families share: the head, and the check of the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from deadlib.errors import RecipeError
from deadlib.recipe import ModelSection

EMBEDDING = "embedding"
LOGITS = "logits"
HEAD = "head_"
"""How the layers begin that stand between the feature map and the logits, beside the embedding."""

CONCAT_UNITS = 512


def he_normal() -> Any:
    """He et al. 2015, equation 10: normal, of variance 2 / fan_in, not truncated."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_in", distribution="untruncated_normal")


def pooled_embedding(features: Any, model: ModelSection) -> Any:
    """What the logits are computed from, of a feature map (B, H, W, D), as model.head has it.

    average: the mean over the image, (B, D) float32, then the layers of model.embedder, then
    dropout. concat: largest value and mean over the image, then two dense layers with batch
    normalisation, the second of which are the logits; (B, 512) float32 (fastai 1.0's head:
    `create_head` with `concat_pool`).
    """
    if model.head == "concat":
        embedding = _concat_head(features, model.dropout)
    else:
        name = f"{HEAD}mean" if model.embedder else EMBEDDING
        mean = layers.GlobalAveragePooling2D(name=name, dtype="float32")(features)
        embedding = _embedded(mean, model.embedder)
    return layers.Dropout(model.dropout, name="dropout", dtype="float32")(embedding)


def classified(embedding: Any, model: ModelSection) -> Any:
    """What the last layer sees of what comes from the embedding (B, D): the hidden layers of
    model.classifier, each dense, batch normalisation and ReLU, float32."""
    for number, units in enumerate(model.classifier, start=1):
        name = f"{HEAD}classifier{number}"
        embedding = _dense(embedding, units, f"{name}_dense")
        embedding = _norm(embedding, f"{name}_norm", dtype="float32")
        embedding = layers.ReLU(name=f"{name}_relu", dtype="float32")(embedding)
    return embedding


def require_size(image: Any, smallest_px: int, name: str) -> None:
    """Raise RecipeError where the image is too small for the network `name`."""
    rows, columns = image.shape[1:3]
    if min(rows, columns) < smallest_px:
        raise RecipeError(
            f"input.size_px: {rows} x {columns} is too small for {name}; "
            f"give at least {smallest_px} x {smallest_px}, or choose another model.name"
        )


def _embedded(mean: Any, units: Sequence[int]) -> Any:
    """The embedding of the mean over the image (B, D), float32, in CellDeathPred's orders: one
    dense layer is followed by batch normalisation; of several, each but the last by ReLU and batch
    normalisation, the last by nothing."""
    if not units:
        return mean
    if len(units) == 1:
        return _norm(_dense(mean, units[0], f"{HEAD}embedder1_dense"), EMBEDDING, dtype="float32")
    *hidden, last = units
    for number, wide in enumerate(hidden, start=1):
        name = f"{HEAD}embedder{number}"
        mean = _dense(mean, wide, f"{name}_dense")
        mean = layers.ReLU(name=f"{name}_relu", dtype="float32")(mean)
        mean = _norm(mean, f"{name}_norm", dtype="float32")
    return _dense(mean, last, EMBEDDING)


def _dense(values: Any, units: int, name: str) -> Any:
    initial = he_normal()
    return layers.Dense(units, kernel_initializer=initial, name=name, dtype="float32")(values)


def _concat_head(features: Any, dropout: float) -> Any:
    largest = layers.GlobalMaxPooling2D(name=f"{HEAD}largest")(features)
    mean = layers.GlobalAveragePooling2D(name=f"{HEAD}mean")(features)
    joined = layers.Concatenate(name=f"{HEAD}pooled")([largest, mean])
    joined = _norm(joined, f"{HEAD}norm")
    joined = layers.Dropout(dropout / 2, name=f"{HEAD}dropout")(joined)
    dense = layers.Dense(CONCAT_UNITS, kernel_initializer=he_normal(), name=f"{HEAD}dense")(joined)
    return _norm(layers.ReLU(name=f"{HEAD}relu")(dense), EMBEDDING, dtype="float32")


def _norm(values: Any, name: str, **options: Any) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **options)(values)

"""Batch normalisation at test: by the moving means of the training, or by the batch itself."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deadlib.recipe import ModelSection


class OfTheBatch(keras.layers.Layer):
    """What `norm` does in training, whatever the mode, but for its moving means, which stay.

    Inputs (B, ..., C) of any B; over all replicas where `norm` is synchronised. The variance
    divides by the number of values, as in training.
    """

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        super().__init__(name=norm.name, dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs: Any, mask: Any = None) -> Any:
        norm = self.norm
        values = ops.cast(inputs, "float32")
        axes = list(range(len(inputs.shape) - 1))
        mean, variance = ops.moments(values, axes=axes, synchronized=norm.synchronized)
        found = ops.batch_normalization(
            values, mean, variance, -1, norm.beta, norm.gamma, norm.epsilon
        )
        return ops.cast(found, self.compute_dtype)


def at_test(network: keras.Model, model: ModelSection) -> keras.Model:
    """The network for validation and prediction, as model.bn_at_test has it; weights are shared.

    With `batch` every answer depends on the other images of its batch (use it in no other mode
    than inference: dropout is still the caller's to turn off).
    """
    if model.bn_at_test == "moving":
        return network

    def kept_or_of_the_batch(layer: Any) -> Any:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        return OfTheBatch(layer) if is_norm else layer

    return keras.models.clone_model(network, clone_function=kept_or_of_the_batch)

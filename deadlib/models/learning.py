"""A network as it learns: batch normalisation frozen, over all replicas, or in one kernel.

Networks are built of Keras' own layers, and so they are saved; the one that learns is a copy in
which some of the same layers compute otherwise, or faster (`learning`).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from deadlib.errors import RecipeError
from deadlib.models.groups import GROUPS, group_of, group_patterns
from deadlib.recipe import ModelSection


class FrozenNorm(keras.layers.BatchNormalization):
    """Goes by its moving means in training too, and leaves them; gamma and beta learn.

    Unlike `trainable = False` of Keras, which stops these as well.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


class FusedNorm(keras.layers.BatchNormalization):
    """Keras' batch normalisation of images in training, in one kernel instead of a dozen.

    Inputs (B, H, W, C) float32, channels last. Moving variances are of the variance that divides by
    the number of values, as Keras' are.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        values = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], variance.dtype)
        for moving, found in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * ((values - 1) / values)),
        ):
            moving.assign(moving * self.momentum + found * (1 - self.momentum))
        return outputs


class FusedSwish(keras.layers.Activation):
    """x sigmoid(x) of float32 values, whose slope XLA computes in one pass instead of seven."""

    def call(self, inputs: Any) -> Any:
        return _swish(inputs)


def _slope(values: Any, upstream: Any) -> Any:
    share = tf.sigmoid(values)
    return upstream * (share * (1 + values * (1 - share)))


# Of flat arrays, so that it is traced once for all shapes.
_FLAT = tf.TensorSpec([None], tf.float32)
_compiled_slope = tf.function(_slope, [_FLAT, _FLAT], jit_compile=True, autograph=False)


def _swish_and_slope(values: Any) -> tuple[Any, Any]:
    def slope(upstream: Any) -> Any:
        flat = _compiled_slope(tf.reshape(values, [-1]), tf.reshape(upstream, [-1]))
        return tf.reshape(flat, tf.shape(values))

    return values * tf.sigmoid(values), slope


_swish = tf.custom_gradient(_swish_and_slope)


def learning(
    network: keras.Model,
    model: ModelSection,
    *,
    frozen: bool = False,
    synchronised: bool = False,
    compiled: bool = True,
) -> keras.Model:
    """A copy of `network`, with new weights, as it is trained; names and order are kept.

    frozen: batch normalisation of the body goes by the statistics it has. synchronised: that which
    is not frozen takes its statistics over all replicas of a distribution strategy. compiled: XLA
    may be used.

    Raises RecipeError where there are no statistics to freeze, or others are asked for at test.
    """
    if frozen:
        _refuse_without_statistics(model)
    patterns = group_patterns(model)

    def clone(layer: Any) -> Any:
        options = layer.get_config()
        if compiled and _is_swish(layer):
            return FusedSwish.from_config(options)
        if not isinstance(layer, keras.layers.BatchNormalization):
            return type(layer).from_config(options)
        if frozen and GROUPS[group_of(f"{layer.name}/gamma", patterns)] != "head":
            return FrozenNorm.from_config(options)
        if synchronised:
            return type(layer).from_config({**options, "synchronized": True})
        return (FusedNorm if _fuses(layer) else type(layer)).from_config(options)

    return keras.models.clone_model(network, clone_function=clone)


def _fuses(norm: keras.layers.BatchNormalization) -> bool:
    """Whether the fused kernel computes what `norm` does."""
    is_map = len(norm.input.shape) == 4 and norm.axis in (-1, 3)
    return is_map and norm.compute_dtype == "float32" and bool(norm.scale and norm.center)


def _is_swish(layer: Any) -> bool:
    is_activation = type(layer) is keras.layers.Activation
    return (
        is_activation
        and layer.activation is keras.activations.silu
        and layer.compute_dtype == "float32"
    )


def _refuse_without_statistics(model: ModelSection) -> None:
    if model.weights == "random":
        raise RecipeError(
            "freeze.batch_norm: keeps the statistics that model.weights came with, found "
            "model.weights: random, which has none; give model.weights: imagenet or the "
            "model.keras of a run, or set freeze.batch_norm: false"
        )
    if model.bn_at_test == "batch":
        raise RecipeError(
            "freeze.batch_norm: trains with the statistics of other images, and model.bn_at_test: "
            "batch tests with those of the images shown; set one of them back"
        )

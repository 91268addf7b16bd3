"""A network for prediction alone, with batch normalisation folded into the convolutions before it.

With the statistics of the training a normalisation is a scale and a shift per channel, which a
kernel and a bias do as well (Jacob et al. 2018, arXiv:1712.05877, equation 14): a pass over every
feature map less, and the convolution's bias is added while it is in the cache.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from deadlib.models.batch_statistics import at_test
from deadlib.recipe import ModelSection

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)


def for_prediction(network: keras.Model, model: ModelSection) -> keras.Model:
    """The network for prediction, as model.bn_at_test has it; its weights may be a copy."""
    return folded(network) if model.bn_at_test == "moving" else at_test(network, model)


def folded(network: keras.Model) -> keras.Model:
    """A network that answers as `network` does, to rounding, with less to compute.

    Folded is each batch normalisation whose only input is a convolution without an activation,
    which nothing else reads. Other layers are shared with `network`; its weights are left alone.
    """
    pairs = _pairs(network)
    norms = {norm.name for norm in pairs.values()}

    def clone(layer: Any) -> Any:
        if layer.name not in pairs:
            return layer
        return type(layer).from_config({**layer.get_config(), "use_bias": True})

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if layer.name in norms else layer(*arguments, **options)

    found = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for name, norm in pairs.items():
        found.get_layer(name).set_weights(_folded_weights(network.get_layer(name), norm))
    return found


def _pairs(network: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """The normalisation that is folded into a convolution, by the name of that convolution."""
    ours = {id(operation) for operation in network.operations}
    inner = {id(tensor) for tensor in network.outputs}
    found = {}
    for layer in network.layers:
        if type(layer) not in CONVOLUTIONS or layer.activation is not keras.activations.linear:
            continue
        nodes = [node for node in layer._outbound_nodes if id(node.operation) in ours]
        readers = list({id(node.operation): node.operation for node in nodes}.values())
        if (
            len(readers) == 1
            and isinstance(readers[0], layers.BatchNormalization)
            and readers[0].axis in (-1, 3)
            and id(layer.output) not in inner
        ):
            found[layer.name] = readers[0]
    return found


def _folded_weights(convolution: Any, norm: Any) -> list[np.ndarray]:
    """Kernel and bias that do what `convolution` and then `norm` do."""
    kernel, *biases = (weight.astype(np.float64) for weight in convolution.get_weights())
    arrays = {weight.name: np.asarray(weight, np.float64) for weight in norm.weights}
    scale = arrays.get("gamma", 1.0) / np.sqrt(arrays["moving_variance"] + norm.epsilon)
    bias = biases[0] if biases else 0.0
    shift = arrays.get("beta", 0.0) + (bias - arrays["moving_mean"]) * scale
    if isinstance(convolution, layers.DepthwiseConv2D):  # (h, w, C, multiplier), C slowest
        return [kernel * scale.reshape(kernel.shape[2:]), shift]
    return [kernel * scale, shift]

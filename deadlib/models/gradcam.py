"""Grad-CAM as graph operations: for the maps of `deadlib.interpretation` and for served networks.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization
(2017), section 3: the feature maps of the last convolution, weighted by the mean gradient of the
class's score before the softmax, summed, negative evidence cut off.
"""

from __future__ import annotations

import keras
import tensorflow as tf


def with_maps(network: keras.Model, layer: str) -> keras.Model:
    """The same layers and weights, giving [feature maps (B, h, w, K) of a layer, logits]."""
    return keras.Model(network.input, [network.get_layer(layer).output, network.output])


def maps_and_weights(
    model: keras.Model, images: tf.Tensor, class_index: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The feature maps, and how much the score of a class rises with each of them.

    model: as `with_maps` gives it; images (B, H, W, C) float32, preprocessed; class_index (B,)
    int32, where it is negative the most probable class. Returns (B, h, w, K) and (B, K) float32,
    the mean over a map's places of the gradient of the score before the softmax.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        maps, logits = model(images, training=False)
        likeliest = tf.argmax(logits, axis=1, output_type=tf.int32)
        chosen = tf.where(class_index < 0, likeliest, class_index)
        score = tf.gather(logits, chosen, batch_dims=1)
    gradient = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.cast(maps, tf.float32), tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2))


def heat(maps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Maps (B, h, w, K) weighted by (B, K), summed, cut off below 0: (B, h, w) float32."""
    return tf.nn.relu(tf.einsum("bhwk,bk->bhw", maps, weights))

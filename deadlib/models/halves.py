"""A network in two halves: from the image to the embedding, and from there to the logits."""

from __future__ import annotations

from typing import Any

import keras

from deadlib.crops import mean_of_crops, one_by_one
from deadlib.models.parts import EMBEDDING


def halves(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """(embed, classify), of the same layers and weights: image (B, H, W, C) to embedding (B, D)
    float32, and embedding to logits (B, K) float32."""
    embedding = network.get_layer(EMBEDDING).output
    return keras.Model(network.input, embedding), keras.Model(embedding, network.output)


def embedded(embed: keras.Model, images: Any, *, training: bool) -> Any:
    """Embeddings (B, D) of images (B, H, W, C), or of crops (B, N, H, W, C) the mean over them."""
    return mean_of_crops(embed(one_by_one(images), training=training), images)


def embedding_network(network: keras.Model, crops: int = 1) -> keras.Model:
    """The same layers and weights, giving [logits (B, K), embedding (B, D)], float32.

    With several crops it takes (B, crops, H, W, C), and the logits are those of their mean
    embedding.
    """
    if crops == 1:
        return keras.Model(network.input, [network.output, network.get_layer(EMBEDDING).output])
    return answering_network(*halves(network), crops)


def answering_network(embed: keras.Model, classify: keras.Model, crops: int = 1) -> keras.Model:
    """Two halves as one network for prediction, as `embedding_network` gives it."""
    one = embed.input.shape[1:]
    images = keras.Input(one if crops == 1 else (crops, *one), name="image", dtype="float32")
    embedding = embedded(embed, images, training=False)
    return keras.Model(images, [classify(embedding, training=False), embedding])

"""A small network for crops of single cells, 32 to 96 px, that trains on a CPU in minutes."""

from __future__ import annotations

from typing import Any

from keras import layers

from deadlib.models.parts import pooled_embedding, require_size
from deadlib.recipe import ModelSection


def small_cnn(image: Any, model: ModelSection) -> Any:
    """Blocks of two 3 x 3 convolutions and a pooling; each block doubles the filters.

    image: (B, H, W, C), at least 2^blocks px a side. Returns what the head makes of the last
    feature map, of width x 2^(blocks - 1) channels. Raises RecipeError where the image is too
    small.
    """
    require_size(image, 2**model.blocks, f"small_cnn with {model.blocks} blocks")
    features = image
    for block in range(1, model.blocks + 1):
        filters = model.width * 2 ** (block - 1)
        for convolution in (1, 2):
            features = _convolution(features, filters, f"block{block}_{convolution}")
        features = layers.MaxPooling2D(2, name=f"block{block}_pool")(features)
    return pooled_embedding(features, model)


def _convolution(features: Any, filters: int, name: str) -> Any:
    features = layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_convolution",
    )(features)
    # Trainings here last hundreds of steps, not hundreds of thousands: statistics follow quickly.
    features = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(features)
    return layers.ReLU(name=f"{name}_relu")(features)

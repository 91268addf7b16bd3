"""ResNet-34 (He et al. 2016, arXiv:1512.03385), which Keras does not have.

Layers, padding and batch normalisation as in torchvision: 21,284,672 learnable parameters without
the head, for three channels.
"""

from __future__ import annotations

from typing import Any

from keras import initializers, layers

from deadlib.models.parts import pooled_embedding, require_size
from deadlib.recipe import ModelSection

BLOCKS = (3, 4, 6, 3)
FILTERS = (64, 128, 256, 512)
SMALLEST_PX = 32


def resnet34(image: Any, model: ModelSection) -> Any:
    """The embedding, after dropout: (B, 512) float32.

    image: (B, H, W, C), at least 32 px a side. Raises RecipeError where it is smaller.
    """
    require_size(image, SMALLEST_PX, "resnet34")
    features = _convolution(image, 64, 7, 2, "stem")
    features = layers.ReLU(name="stem_relu")(features)
    features = layers.ZeroPadding2D(1, name="stem_pool_pad")(features)
    features = layers.MaxPooling2D(3, strides=2, name="stem_pool")(features)
    for stage, (blocks, filters) in enumerate(zip(BLOCKS, FILTERS, strict=True), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            features = _block(features, filters, stride, f"stage{stage}_block{block}")
    return pooled_embedding(features, model.dropout)


def _block(features: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = features
    if stride > 1:
        shortcut = _convolution(features, filters, 1, stride, f"{name}_shortcut")
    features = _convolution(features, filters, 3, stride, f"{name}_1")
    features = layers.ReLU(name=f"{name}_1_relu")(features)
    features = _convolution(features, filters, 3, 1, f"{name}_2")
    features = layers.Add(name=f"{name}_add")([shortcut, features])
    return layers.ReLU(name=f"{name}_relu")(features)


def _convolution(features: Any, filters: int, size: int, stride: int, name: str) -> Any:
    """Convolution and batch normalisation; padded alike on all sides, whatever the stride."""
    if size > 1:
        features = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(features)
    features = layers.Conv2D(
        filters,
        size,
        strides=stride,
        use_bias=False,
        kernel_initializer=initializers.VarianceScaling(2.0, mode="fan_out"),
        name=f"{name}_convolution",
    )(features)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(features)

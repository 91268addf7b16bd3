"""Residual networks (He et al. 2016, arXiv:1512.03385) with the layers of torchvision.

Padding is alike on all sides, convolutions have no bias, and batch normalisation follows the
training within some ten steps. Learnable parameters without the head, for three channels:
21,284,672 (ResNet-34), 23,508,032 (ResNet-50), 42,500,160 (ResNet-101).

Where a block of the deeper two halves the size there are two readings: in its first convolution,
1 x 1 (the paper, and the ImageNet weights that Keras has), or in the second, 3 x 3 (torchvision and
what stands on it). Both have the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from keras import initializers, layers

from deadlib.models.parts import pooled_embedding, require_size
from deadlib.recipe import ModelSection

FILTERS = (64, 128, 256, 512)
SMALLEST_PX = 32
WIDENING = 4
"""A bottleneck block gives so many times the filters that it computes with."""

BLOCKS = {"resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
BOTTLENECKED = ("resnet50", "resnet101")


def resnet(name: str) -> Callable[[Any, ModelSection], Any]:
    """The family of `name`, one of BLOCKS.

    It takes images (B, H, W, C), at least 32 px a side, and returns what the head makes of the
    last feature map, of 512 channels, or 2048 with bottlenecks. Raises RecipeError where the image
    is smaller.
    """
    return partial(_features, name)


def _features(name: str, image: Any, model: ModelSection) -> Any:
    require_size(image, SMALLEST_PX, name)
    features = _convolution(image, 64, 7, 2, "stem")
    features = layers.ReLU(name="stem_relu")(features)
    features = layers.ZeroPadding2D(1, name="stem_pool_pad")(features)
    features = layers.MaxPooling2D(3, strides=2, name="stem_pool")(features)
    for stage, (blocks, filters) in enumerate(zip(BLOCKS[name], FILTERS, strict=True), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            place = f"stage{stage}_block{block}"
            if name in BOTTLENECKED:
                features = _bottleneck(features, filters, stride, model.stride_in, place)
            else:
                features = _basic(features, filters, stride, place)
    return pooled_embedding(features, model)


def _basic(features: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = features
    if stride > 1:
        shortcut = _convolution(features, filters, 1, stride, f"{name}_shortcut")
    features = _convolution(features, filters, 3, stride, f"{name}_1")
    features = layers.ReLU(name=f"{name}_1_relu")(features)
    features = _convolution(features, filters, 3, 1, f"{name}_2")
    features = layers.Add(name=f"{name}_add")([shortcut, features])
    return layers.ReLU(name=f"{name}_relu")(features)


def _bottleneck(features: Any, filters: int, stride: int, stride_in: str, name: str) -> Any:
    shortcut = features
    if features.shape[-1] != WIDENING * filters:
        shortcut = _convolution(features, WIDENING * filters, 1, stride, f"{name}_shortcut")
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    features = _convolution(features, filters, 1, first, f"{name}_1")
    features = layers.ReLU(name=f"{name}_1_relu")(features)
    features = _convolution(features, filters, 3, second, f"{name}_2")
    features = layers.ReLU(name=f"{name}_2_relu")(features)
    features = _convolution(features, WIDENING * filters, 1, 1, f"{name}_3")
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

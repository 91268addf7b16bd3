"""DeadNet: eight convolutions and three dense layers for 220 x 220 phase-contrast crops.

The published files and the paper disagree twice, so both readings can be built: `pooling` rounds
odd sizes up (what Caffe does with the files) or down (the sizes in the paper's table), and
`dense_batch_norm` adds the batch normalisation of the dense layers that only the paper has.
Learnable parameters for 220 x 220 x 1 and two classes: 13,404,594 (ceil), 11,635,122 (floor);
with `dense_batch_norm` 13,406,642 and 11,637,170.
"""

from __future__ import annotations

from typing import Any

from keras import initializers, layers

from deadlib.models.parts import EMBEDDING, require_size
from deadlib.recipe import ModelSection

FILTERS = (16, 32, 64, 128)
DENSE_UNITS = 512
DROPOUT = 0.5
SMALLEST_PX = 24


def deadnet(image: Any, model: ModelSection) -> Any:
    """The embedding, after dropout: (B, 512) float32.

    image: (B, H, W, C), at least 24 px a side; the first convolution, 9 x 9, is not padded.
    Raises RecipeError where the image is too small.
    """
    require_size(image, SMALLEST_PX, "deadnet")
    padding = {"ceil": "same", "floor": "valid"}[model.pooling]
    features = image
    for block, filters in enumerate(FILTERS, start=1):
        for number in (1, 2):
            features = _convolution(features, filters, block, number)
        features = layers.MaxPooling2D(2, padding=padding, name=f"pool{block}")(features)
    features = layers.Flatten(name="flatten")(features)
    features = _dense(features, 1, model.dense_batch_norm)
    return _dense(features, 2, model.dense_batch_norm)


def caffe_xavier() -> Any:
    """Caffe's "xavier": uniform in ±sqrt(3 / fan_in), unlike Keras' GlorotUniform."""
    return initializers.VarianceScaling(1.0, mode="fan_in", distribution="uniform")


def _convolution(features: Any, filters: int, block: int, number: int) -> Any:
    first = block == number == 1
    features = layers.Conv2D(
        filters,
        9 if first else 3,
        padding="valid" if first else "same",
        kernel_initializer=caffe_xavier(),
        name=f"conv{block}_{number}",
    )(features)
    features = _batch_norm(features, f"conv{block}_{number}")
    return layers.ReLU(name=f"conv{block}_{number}_relu")(features)


def _dense(features: Any, number: int, batch_norm: bool) -> Any:
    features = layers.Dense(DENSE_UNITS, kernel_initializer=caffe_xavier(), name=f"fc{number}")(
        features
    )
    if batch_norm:
        features = _batch_norm(features, f"fc{number}")
    if number == 2:
        features = layers.ReLU(name=EMBEDDING, dtype="float32")(features)
        return layers.Dropout(DROPOUT, name="fc2_dropout", dtype="float32")(features)
    features = layers.ReLU(name="fc1_relu")(features)
    return layers.Dropout(DROPOUT, name="fc1_dropout")(features)


def _batch_norm(features: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.95, epsilon=1e-5, name=f"{name}_norm")(features)

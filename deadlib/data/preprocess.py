"""What a stored image goes through before the network: fitted to size, then normalised.

The same code runs in training, in prediction and inside the exported SavedModel. Images come in
unit range, as `tfrecords_tools.records.decode_image` gives them: integer types divided by their
largest value, float32 unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from deadlib.crops import FIVE, five_crops, too_small
from deadlib.data.equalise import equalise
from deadlib.data.plates import PLATE
from deadlib.data.unit import unit_range
from deadlib.errors import RecipeError
from deadlib.recipe import WHOLE, InputSection

SMALLEST_DEVIATION = 1e-6
"""Below the step of a 16-bit camera (1.5e-5): an image with no contrast becomes zeros, no other."""

USUAL_CONTRAST = 0.2
"""Deviation over mean of an image that half_contrast brings to unit variance."""

FITTED = ("dataset", *PLATE)
"""The ways of input.normalise that need statistics fitted on the training split."""

GIVEN = (*FITTED, "imagenet")
"""The ways of input.normalise by the same mean and deviation for all images."""

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet, in unit range, as torchvision and fastai have them."""

STORED_PER_DEVIATION = 4000
STORED_ZERO, STORED_LARGEST = 32767, 65535
"""Of per_image_16bit: what a stored integer is, 32767 + 4000 deviations. DeadNet's network takes
(integer - 32767) x 0.00025."""

LARGEST_DEVIATION = 3.0
"""What half_contrast leaves at most, so that a background near or below zero does no harm."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel over the training split, in unit range."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def to_json(self) -> dict[str, list[float]]:
        return {"mean": list(self.mean), "deviation": list(self.deviation)}


def fit_statistics(batches: Iterable[np.ndarray]) -> Statistics:
    """Mean and deviation of each channel in one pass over (B, H, W, C) float batches.

    Partial results are merged in float64 by the pairwise update of Chan, Golub and LeVeque
    (1983), so that a small spread on a high background is not lost. Raises ValueError on no batch.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for batch in batches:
        values = np.asarray(batch, np.float64).reshape(-1, batch.shape[-1])
        added, its_mean = len(values), values.mean(axis=0)
        its_squares = np.square(values - its_mean).sum(axis=0)
        total, shift = count + added, its_mean - mean
        squares = squares + its_squares + np.square(shift) * (count * added / total)
        mean = mean + shift * (added / total)
        count = total
    if count == 0:
        raise ValueError("statistics need at least one image")
    deviation = np.sqrt(squares / count)
    return Statistics(
        mean=tuple(float(value) for value in mean),
        deviation=tuple(float(value) for value in deviation),
    )


def imagenet_statistics(channels: int) -> Statistics:
    """ImageNet's for three channels, which are taken for red, green and blue; the mean of the three
    for each of another number of channels."""
    if channels == len(IMAGENET_MEAN):
        return Statistics(IMAGENET_MEAN, IMAGENET_DEVIATION)
    mean, deviation = float(np.mean(IMAGENET_MEAN)), float(np.mean(IMAGENET_DEVIATION))
    return Statistics((mean,) * channels, (deviation,) * channels)


def fit_size(image: tf.Tensor, section: InputSection) -> tf.Tensor:
    """Fit one image (H, W, C) float32 to the recipe's size, as a graph operation.

    With input.equalise its histogram is made even first, over the whole image. fit=resize gives
    (rows, columns, C), bilinear with antialiasing; fit=crop leaves the image as it is, because
    training crops at random and everything else in the middle (`Preprocess`).
    """
    if section.equalise:
        image = equalise(image)
    if section.fit == "crop":
        return image
    rows, columns = section.size_px
    shape = tf.shape(image)
    fitted = tf.cond(
        (shape[0] == rows) & (shape[1] == columns),
        lambda: image,
        lambda: tf.image.resize(image, (rows, columns), antialias=True),
    )
    return tf.ensure_shape(fitted, (rows, columns, image.shape[-1]))


def centre_crop(images: Any, size_px: Sequence[int]) -> Any:
    """The central window of (B, H, W, C) images. Raises InputError where they are smaller."""
    height, width = images.shape[1:3]
    rows, columns = size_px
    if height < rows or width < columns:
        raise too_small((height, width), size_px)
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns, :]


@keras.saving.register_keras_serializable("deadlib")
class Preprocess(keras.layers.Layer):
    """Central crop (fit=crop) and normalisation: (B, H, W, C) → float32.

    `crops` gives all windows that the network sees instead, where the recipe asks for five.
    The crop comes first, but with `per_image_16bit` last: that normalises whole images.

    Images are float32 in unit range, or integers, which are brought to it. With `plate` and
    `plate_robust` they come moved to the scale of the training plates, whose mean and deviation
    these are (`plates.Correction`).
    Always computes in float32, also under mixed precision.
    """

    def __init__(
        self,
        size_px: Sequence[int],
        fit: str,
        normalisation: str,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
        crops: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.size_px = (int(size_px[0]), int(size_px[1]))
        self.fit = fit
        self.normalisation = normalisation
        self.number_of_crops = crops
        self.mean = None if mean is None else [float(value) for value in mean]
        self.deviation = None if deviation is None else [float(value) for value in deviation]
        if normalisation in GIVEN and (self.mean is None or self.deviation is None):
            raise ValueError(f"normalise: {normalisation} needs a mean and a deviation")

    def call(self, images: Any) -> Any:
        if self.crops_last:
            return centre_crop(self.normalise(unit_range(images)), self.size_px)
        if self.fit == "crop":
            images = centre_crop(images, self.size_px)
        return self.normalise(unit_range(images))

    def crops(self, images: Any) -> Any:
        """What the network sees of (B, H, W, C) images: with input.crops: 5 five windows of each,
        (B, 5, *size_px, C), otherwise what `call` gives."""
        if self.number_of_crops != FIVE:
            return self(images)
        images = unit_range(images)
        if self.crops_last:
            return five_crops(self.normalise(images), self.size_px)
        return self.normalise(five_crops(images, self.size_px))

    @property
    def crops_last(self) -> bool:
        """Whether the window is cut from the normalised image, and not normalised itself."""
        return self.fit == "crop" and self.normalisation == WHOLE

    def normalise(self, images: Any) -> Any:
        """Normalise (B, ..., H, W, C) images of any size; training calls it before or after its own
        crop, as `crops_last` says."""
        images = ops.cast(images, "float32")
        if self.normalisation == "none":
            return images
        if self.normalisation in GIVEN:
            deviation = np.maximum(np.asarray(self.deviation, np.float32), SMALLEST_DEVIATION)
            return (images - np.asarray(self.mean, np.float32)) / deviation
        mean = ops.mean(images, axis=(-3, -2), keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(images - mean), axis=(-3, -2), keepdims=True))
        return self.relative(images, mean, deviation)

    def relative(self, images: Any, mean: Any, deviation: Any) -> Any:
        """per_image and half_contrast by a given mean and deviation, of shapes that broadcast."""
        centred = images - mean
        scale = ops.maximum(deviation, SMALLEST_DEVIATION)
        if self.normalisation == "half_contrast":
            usual = ops.maximum(USUAL_CONTRAST * mean, scale / LARGEST_DEVIATION**2)
            scale = ops.sqrt(scale * usual)
        if self.normalisation == WHOLE:
            stored = ops.round(STORED_ZERO + STORED_PER_DEVIATION * (centred / scale))
            stored = ops.clip(stored, 0, STORED_LARGEST)
            return (stored - STORED_ZERO) / STORED_PER_DEVIATION
        return centred / scale

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        if self.fit == "crop":
            height, width = self.size_px
        return (batch, height, width, channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size_px": list(self.size_px),
            "fit": self.fit,
            "normalisation": self.normalisation,
            "mean": self.mean,
            "deviation": self.deviation,
            "crops": self.number_of_crops,
        }


def preprocess_for(section: InputSection, dataset: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of a run: its recipe's input section and its dataset.json.

    Raises RecipeError where the statistics that `normalise: dataset` needs are not there.
    """
    statistics = dataset.get("statistics") or {}
    if section.normalise in FITTED and not statistics:
        raise RecipeError(
            f"input.normalise: {section.normalise} needs the statistics of the training split, and "
            "dataset.json of the run has none; train the run again"
        )
    if section.normalise == "imagenet":
        statistics = imagenet_statistics(len(dataset["channels"])).to_json()
    return Preprocess(
        section.size_px,
        section.fit,
        section.normalise,
        mean=statistics.get("mean"),
        deviation=statistics.get("deviation"),
        crops=section.crops,
        name="preprocess",
    )

"""Augmentations that change intensities: other cameras, lamps, focus and media."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from pydantic import Field

from deadlib.augment.base import Augmentation, CommonSettings, PositiveRange, Range, per_pixel
from deadlib.augment.randomness import log_uniform, normal, uniform


class Blur(Augmentation):
    """Gaussian blur: focus drift, softer optics."""

    class Settings(CommonSettings):
        sigma_px: Range = Field((0.0, 1.5), description="deviation of the Gaussian; uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        low, high = self.settings.sigma_px
        return gaussian_blur(images, uniform(seeds, 1, (), low, high), high)


class Sharpen(Augmentation):
    """Unsharp mask: crisper optics, and cameras that sharpen."""

    class Settings(CommonSettings):
        amount: Range = Field((0.0, 1.0), description="share of the detail that is added; uniform")
        sigma_px: float = Field(1.0, gt=0, description="detail is what a blur so wide removes")

    def change(self, images: Any, seeds: Any) -> Any:
        sigma = self.settings.sigma_px
        detail = images - gaussian_blur(images, ops.full((1,), sigma), sigma)
        return images + per_pixel(uniform(seeds, 1, (), *self.settings.amount)) * detail


class Contrast(Augmentation):
    """Stretch intensities about each image's mean; all channels alike."""

    class Settings(CommonSettings):
        factor: PositiveRange = Field((0.8, 1.25), description="above 1 stretches; log-uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        factor = per_pixel(log_uniform(seeds, 1, *self.settings.factor))
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        return mean + (images - mean) * factor


class Brightness(Augmentation):
    """Add a constant to each image; all channels alike."""

    class Settings(CommonSettings):
        amplitude: float = Field(
            0.5, ge=0, description="largest change, in standard deviations of the image"
        )

    def change(self, images: Any, seeds: Any) -> Any:
        amplitude = self.settings.amplitude
        shift = per_pixel(uniform(seeds, 1, (), -amplitude, amplitude))
        return images + shift * ops.std(images, axis=(1, 2, 3), keepdims=True)


class Gamma(Augmentation):
    """A power of intensities between each channel's minimum and maximum, which stay."""

    class Settings(CommonSettings):
        exponent: PositiveRange = Field((0.7, 1.4), description="below 1 brightens; log-uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        exponent = per_pixel(log_uniform(seeds, 1, *self.settings.exponent))
        low = ops.min(images, axis=(1, 2), keepdims=True)
        span = ops.max(images, axis=(1, 2), keepdims=True) - low
        unit = (images - low) / ops.where(span > 0, span, ops.ones_like(span))
        return low + span * ops.power(unit, exponent)


class Saturate(Augmentation):
    """Compress what lies far from each channel's mean: cameras near their limits, tone curves."""

    class Settings(CommonSettings):
        limit: PositiveRange = Field(
            (1.0, 4.0),
            description="largest distance from the mean that is left, in standard deviations of "
            "the channel; log-uniform",
        )

    def change(self, images: Any, seeds: Any) -> Any:
        limit = per_pixel(log_uniform(seeds, 1, *self.settings.limit))
        mean = ops.mean(images, axis=(1, 2), keepdims=True)
        span = limit * (ops.std(images, axis=(1, 2), keepdims=True) + keras.config.epsilon())
        return mean + span * ops.tanh((images - mean) / span)


class BackgroundGradient(Augmentation):
    """Add a random smooth surface, planar and quadratic: uneven light, thick or tilted media."""

    class Settings(CommonSettings):
        amplitude: Range = Field(
            (0.0, 0.5),
            description="deviation of the surface in standard deviations of the channel; uniform",
        )

    def change(self, images: Any, seeds: Any) -> Any:
        shapes = _surfaces(*images.shape[1:3])
        surface = ops.tensordot(normal(seeds, 1, (len(shapes),)), ops.convert_to_tensor(shapes), 1)
        surface = surface / ops.std(surface, axis=(1, 2), keepdims=True)
        amplitude = per_pixel(uniform(seeds, 1, (), *self.settings.amplitude))
        return images + amplitude * ops.std(images, axis=(1, 2), keepdims=True) * surface[..., None]


class Noise(Augmentation):
    """Add Gaussian noise, independent for every pixel and channel, to the normalised image."""

    stage = "after"

    class Settings(CommonSettings):
        sigma: Range = Field(
            (0.0, 0.2), description="deviation, in units of the normalised image; uniform"
        )

    def change(self, images: Any, seeds: Any) -> Any:
        sigma = per_pixel(uniform(seeds, 1, (), *self.settings.sigma))
        return images + sigma * normal(seeds, 1, images.shape[1:])


class GainOffset(Augmentation):
    """Multiply each channel of each normalised image by N(1, gain) and add N(0, offset)."""

    stage = "after"

    class Settings(CommonSettings):
        gain_deviation: float = Field(0.1, ge=0, description="of the factor about 1")
        offset_deviation: float = Field(0.1, ge=0, description="of the sum about 0")

    def change(self, images: Any, seeds: Any) -> Any:
        shape = (1, 1, images.shape[-1])
        gain = 1 + self.settings.gain_deviation * normal(seeds, 1, shape)
        return images * gain + self.settings.offset_deviation * normal(seeds, 2, shape)


def gaussian_blur(images: Any, sigma_px: Any, largest_px: float) -> Any:
    """Blur each image by its own sigma (B,), none above largest_px; edges are reflected.

    The Gaussian is cut at 3 x largest_px. A sigma of 0 leaves an image as it is.
    """
    for axis in (1, 2):
        radius = min(math.ceil(3 * largest_px), images.shape[axis] - 1)
        taps = np.arange(-radius, radius + 1, dtype=np.float32)
        # A sigma of 0.01 px is a weight of exactly 1 for the pixel itself.
        scaled = ops.divide(taps, ops.maximum(sigma_px, 0.01)[:, None])
        weights = ops.softmax(-ops.square(scaled) / 2, axis=-1)
        images = _weighted_sum(images, weights, radius, axis)
    return images


def _weighted_sum(images: Any, weights: Any, radius: int, axis: int) -> Any:
    """Correlate along one axis with weights (B, 2 radius + 1)."""
    size = images.shape[axis]
    padding = [(radius, radius) if dimension == axis else (0, 0) for dimension in range(4)]
    padded = ops.pad(images, padding, mode="reflect")
    total = ops.zeros_like(images)
    for tap in range(2 * radius + 1):
        window = slice(tap, tap + size)
        shifted = padded[:, window] if axis == 1 else padded[:, :, window]
        total = total + per_pixel(weights[:, tap]) * shifted
    return total


def _surfaces(height_px: int, width_px: int) -> np.ndarray:
    """Plane and parabola shapes with mean 0 and deviation 1: (5, H, W) float32."""
    y, x = np.meshgrid(np.linspace(-1, 1, height_px), np.linspace(-1, 1, width_px), indexing="ij")
    shapes = np.stack([y, x, y * x, y**2, x**2])
    shapes -= shapes.mean(axis=(1, 2), keepdims=True)
    return (shapes / shapes.std(axis=(1, 2), keepdims=True)).astype(np.float32)

"""Augmentations that change intensities: other cameras, lamps, focus and media."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import keras
import numpy as np
from keras import ops
from pydantic import AfterValidator, Field

from deadlib.augment.base import Augmentation, CommonSettings, PositiveRange, Range, per_pixel
from deadlib.augment.randomness import log_uniform, normal, uniform


def _below_1(value: tuple[float, float]) -> tuple[float, float]:
    if value[1] >= 1:
        raise ValueError("must lie below 1")
    return value


Share = Annotated[PositiveRange, AfterValidator(_below_1)]
"""[low, high], larger than 0 and below 1."""


class Blur(Augmentation):
    """Gaussian blur: focus drift, softer optics."""

    class Settings(CommonSettings):
        sigma_px: Range = Field((0.0, 1.5), description="deviation of the Gaussian; uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        low, high = self.settings.sigma_px
        return gaussian_blur(images, uniform(seeds, 1, (), low, high), high)


class Defocus(Augmentation):
    """Blur by a uniform disc: a lens out of focus, by geometrical optics.

    The disc is the pupil's shadow on the camera: its radius is the distance out of focus x NA x
    magnification / pixel size. Pixels on its rim count by the share that it covers. Diffraction,
    which rounds the disc where it is small, is left to `blur`.
    """

    class Settings(CommonSettings):
        radius_px: Range = Field((0.0, 3.0), description="of the disc; uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        low, high = self.settings.radius_px
        return disc_blur(images, uniform(seeds, 1, (), low, high), high)


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


class Lighting(Augmentation):
    """Contrast and brightness that never leave 0-1: sigmoid(scale x logit(x) + logit(change)).

    fastai's `contrast` and `brightness` (Howard and Gugger 2020, Information 11:108), for
    intensities in 0-1; one step does both, and two steps draw for each by itself.
    """

    class Settings(CommonSettings):
        scale: PositiveRange = Field((0.9, 1 / 0.9), description="above 1 stretches; log-uniform")
        change: Share = Field((0.45, 0.55), description="above 0.5 brightens; uniform")

    def change(self, images: Any, seeds: Any) -> Any:
        scale = per_pixel(log_uniform(seeds, 1, *self.settings.scale))
        change = per_pixel(uniform(seeds, 2, (), *self.settings.change))
        return ops.sigmoid(scale * _logit(images) + _logit(change))


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


class CameraNoise(Augmentation):
    """Shot noise and read noise, as of a camera that caught less light.

    The Poissonian-Gaussian model of Foi et al. 2008 (IEEE Trans. Image Process. 17:1737), its
    Poisson part by a Gaussian of the same variance: a pixel of n photons gets noise of variance
    n + read_noise^2 photons^2. It adds to the noise that the image has; nothing is clipped.
    """

    class Settings(CommonSettings):
        photons: PositiveRange = Field(
            (500.0, 20000.0), description="caught by a pixel at full scale; log-uniform"
        )
        read_noise: Range = Field((0.0, 5.0), description="deviation, in photons; uniform")
        full_scale: float = Field(
            1.0,
            gt=0,
            description="the intensity, in unit range, of a full pixel: 1, or 0.0625 for a 12-bit "
            "camera whose values stand in 16-bit files",
        )

    def change(self, images: Any, seeds: Any) -> Any:
        step = self.settings.full_scale / log_uniform(seeds, 1, *self.settings.photons)
        step = per_pixel(step)
        read = per_pixel(uniform(seeds, 2, (), *self.settings.read_noise))
        variance = ops.maximum(images / step, 0.0) + ops.square(read)
        return images + step * ops.sqrt(variance) * normal(seeds, 2, images.shape[1:])


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
    """Multiply each channel of each image by N(1, gain) and add N(0, offset)."""

    class Settings(CommonSettings):
        intensities: Literal["normalised", "stored"] = Field(
            "normalised", description="those after normalisation, or before it, in unit range"
        )
        gain_deviation: float = Field(0.1, ge=0, description="of the factor about 1")
        offset_deviation: float = Field(0.1, ge=0, description="of the sum about 0")

    @property
    def stage(self) -> Literal["before", "after"]:  # type: ignore[override]
        return "after" if self.settings.intensities == "normalised" else "before"

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


def disc_blur(images: Any, radius_px: Any, largest_px: float) -> Any:
    """Blur each image by a disc of its own radius (B,), none above largest_px; edges are reflected.

    No disc is separable. Its Fourier transform is a product of two small cosine matrices with the
    disc, and the blur a multiplication by it: the time does not grow with the radius.
    """
    height, width = images.shape[1:3]
    margins = [min(math.ceil(largest_px), size - 1) for size in (height, width)]
    down, across = (np.arange(-margin, margin + 1, dtype=np.float32) for margin in margins)
    distance = np.sqrt(down[:, None] ** 2 + across**2)
    disc = ops.clip(radius_px[:, None, None] + 0.5 - distance, 0.0, 1.0)
    disc = disc / ops.sum(disc, axis=(1, 2), keepdims=True)
    padding = [(0, 0), *((margin, margin) for margin in margins), (0, 0)]
    padded = ops.transpose(ops.pad(images, padding, mode="reflect"), (0, 3, 1, 2))
    rows, columns = padded.shape[2:]
    response = ops.matmul(ops.matmul(_cosines(rows, down), disc), _cosines(columns, across).T)
    real, imaginary = ops.fft2((padded, ops.zeros_like(padded)))
    response = response[:, None]
    blurred, _ = ops.ifft2((real * response, imaginary * response))
    blurred = blurred[:, :, margins[0] : rows - margins[0], margins[1] : columns - margins[1]]
    return ops.transpose(blurred, (0, 2, 3, 1))


def _cosines(size: int, taps: np.ndarray) -> np.ndarray:
    """Of every frequency of `size` samples at each tap: (size, taps) float32."""
    angle = 2 * np.pi * np.outer(np.arange(size), taps.astype(np.float64)) / size
    return np.cos(angle).astype(np.float32)


def _logit(share: Any) -> Any:
    share = ops.clip(share, 1e-7, 1 - 1e-7)
    return ops.log(share) - ops.log1p(-share)


def _surfaces(height_px: int, width_px: int) -> np.ndarray:
    """Plane and parabola shapes with mean 0 and deviation 1: (5, H, W) float32."""
    y, x = np.meshgrid(np.linspace(-1, 1, height_px), np.linspace(-1, 1, width_px), indexing="ij")
    shapes = np.stack([y, x, y * x, y**2, x**2])
    shapes -= shapes.mean(axis=(1, 2), keepdims=True)
    return (shapes / shapes.std(axis=(1, 2), keepdims=True)).astype(np.float32)

"""Augmentations that mix an image with another of its batch, and their labels alike.

Who is mixed with whom follows from the seeds of the examples, not from where they stand: examples
are put in a random order, and each takes in the next. Over several devices partners are found
among the examples of the same device, and no image is sent to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from keras import ops
from pydantic import Field
from scipy import stats

from deadlib.augment.base import CommonSettings, per_pixel, validated
from deadlib.augment.randomness import chance, derive, uniform

GATE, ORDER, SHARE, ROW, COLUMN = range(5)
"""The streams that a mixing draws from."""

_KNOTS = 4096


class Mixing:
    """Call it with normalised images (B, H, W, C) float32, targets (B, K) float32 that sum to 1,
    and seeds (B, 2) uint32, one per example; it returns images and targets of the same shapes.

    Raises RecipeError for settings that do not exist or are out of range.
    """

    Settings: ClassVar[type[CommonSettings]] = CommonSettings
    settings: Any

    def __init__(self, **settings: Any) -> None:
        self.settings = validated(self.Settings, settings, where=type(self).__name__)

    def __call__(self, images: Any, targets: Any, seeds: Any) -> tuple[Any, Any]:
        partner = partners(seeds)
        mixed = chance(seeds, GATE, self.settings.probability)
        kept = self.kept(images.shape[1:3], seeds)
        kept = ops.where(per_pixel(mixed), kept, ops.ones_like(kept))
        images = kept * images + (1 - kept) * ops.take(images, partner, axis=0)
        share = ops.mean(kept, axis=(1, 2, 3))[:, None]
        return images, share * targets + (1 - share) * ops.take(targets, partner, axis=0)

    def kept(self, size_px: tuple[int, int], seeds: Any) -> Any:
        """How much of the image itself is left at each pixel: (B, H or 1, W or 1, 1) in 0-1."""
        raise NotImplementedError


class Mixup(Mixing):
    """Blend each normalised image with another of its batch, and their labels in the same shares.

    Zhang et al. 2018 (arXiv:1710.09412); the share is drawn for each image by itself.
    """

    class Settings(CommonSettings):
        alpha: float = Field(
            0.2, gt=0, description="the share is drawn from Beta(alpha, alpha): small, faint mixing"
        )

    def kept(self, size_px: tuple[int, int], seeds: Any) -> Any:
        return per_pixel(beta(seeds, SHARE, self.settings.alpha))


class Cutmix(Mixing):
    """Paste a rectangle of another image of the batch, and mix the labels by the areas.

    Yun et al. 2019 (arXiv:1905.04899): the rectangle has the image's shape, its area is drawn, its
    centre lies anywhere, and what stands out is cut off.
    """

    class Settings(CommonSettings):
        probability: float = Field(0.5, ge=0, le=1, description="share of the images that change")
        alpha: float = Field(
            1.0, gt=0, description="the area left is drawn from Beta(alpha, alpha): 1 is uniform"
        )

    def kept(self, size_px: tuple[int, int], seeds: Any) -> Any:
        side = ops.sqrt(1 - beta(seeds, SHARE, self.settings.alpha))
        inside = [
            _span(size, side, uniform(seeds, stream))
            for size, stream in zip(size_px, (ROW, COLUMN), strict=True)
        ]
        return 1 - (inside[0][:, :, None] * inside[1][:, None, :])[..., None]


MIXINGS: dict[str, type[Mixing]] = {"mixup": Mixup, "cutmix": Cutmix}


def mix(layers: Sequence[Mixing], images: Any, targets: Any, seeds: Any) -> tuple[Any, Any]:
    """Mixings in order, each with seeds of its own."""
    for position, layer in enumerate(layers):
        images, targets = layer(images, targets, derive(seeds, position))
    return images, targets


def partners(seeds: Any) -> Any:
    """For each of (B, 2) seeds the place of another: (B,) int32, each place once."""
    order = ops.cast(ops.argsort(uniform(seeds, ORDER)), "int32")
    place = ops.argsort(order)
    return ops.take(ops.roll(order, -1), place)


def beta(seeds: Any, stream: int, alpha: float) -> Any:
    """Draws from Beta(alpha, alpha), (B,) float32, by the inverse of its distribution function."""
    quantiles = ops.convert_to_tensor(_beta_quantiles(alpha))
    position = _KNOTS * uniform(seeds, stream)
    below = ops.floor(position)
    index = ops.cast(below, "int32")
    low, high = ops.take(quantiles, index), ops.take(quantiles, index + 1)
    return low + (position - below) * (high - low)


@lru_cache(maxsize=8)
def _beta_quantiles(alpha: float) -> np.ndarray:
    return stats.beta.ppf(np.linspace(0, 1, _KNOTS + 1), alpha, alpha).astype(np.float32)


def _span(size: int, side: Any, centre: Any) -> Any:
    """Which of `size` pixels lie in a window: (B, size) of 0 and 1; side and centre (B,) in 0-1."""
    length = ops.floor(side * size)
    start = ops.floor(centre * size) - ops.floor(length / 2)
    place = np.arange(size, dtype=np.float32)[None]
    inside = (place >= start[:, None]) & (place < (start + length)[:, None])
    return ops.cast(inside, "float32")

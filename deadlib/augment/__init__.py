"""Seeded, batched augmentation of images, on any Keras backend."""

from deadlib.augment.base import Augmentation
from deadlib.augment.build import AUGMENTATIONS, build_augmenter

__all__ = ["AUGMENTATIONS", "Augmentation", "build_augmenter"]

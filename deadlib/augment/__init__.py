"""Seeded, batched augmentation of images, on any Keras backend."""

from deadlib.augment.base import Augmentation
from deadlib.augment.build import AUGMENTATIONS, build_augmenter, build_mixer
from deadlib.augment.mixing import MIXINGS, Mixing
from deadlib.augment.spline import control_grid, thin_plate_spline_warp

__all__ = [
    "AUGMENTATIONS",
    "MIXINGS",
    "Augmentation",
    "Mixing",
    "build_augmenter",
    "build_mixer",
    "control_grid",
    "thin_plate_spline_warp",
]

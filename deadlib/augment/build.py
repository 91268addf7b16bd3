"""From the augment section of a recipe to one function on batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from keras import ops

from deadlib.augment.base import Augmentation, validated
from deadlib.augment.geometry import (
    Flip,
    Geometric,
    QuarterTurn,
    RandomCrop,
    Rotate,
    Shift,
    Zoom,
    move,
)
from deadlib.augment.intensity import (
    BackgroundGradient,
    Blur,
    Brightness,
    Contrast,
    GainOffset,
    Gamma,
    Noise,
    Saturate,
    Sharpen,
)
from deadlib.augment.randomness import derive, per_image
from deadlib.augment.spline import ThinPlateSpline
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection, nearest

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "flip": Flip,
    "quarter_turn": QuarterTurn,
    "rotate": Rotate,
    "zoom": Zoom,
    "shift": Shift,
    "thin_plate_spline": ThinPlateSpline,
    "blur": Blur,
    "sharpen": Sharpen,
    "contrast": Contrast,
    "brightness": Brightness,
    "gamma": Gamma,
    "saturate": Saturate,
    "background_gradient": BackgroundGradient,
    "noise": Noise,
    "gain_offset": GainOffset,
}


def build_augmenter(
    steps: Sequence[AugmentStep], *, input: InputSection, normalise: Callable[[Any], Any]
) -> Callable[[Any, Any], Any]:
    """All that happens to a batch in training, between reading and the network.

    The function takes images (B, H, W, C) float32 in unit range and a seed, (2,) integers or
    (B, 2) for a seed of each image; it returns (B, *input.size_px, C) float32. In order: the
    random crop where input.fit is crop, the steps that belong before normalisation, `normalise`,
    the steps that belong after it. Geometric steps that follow each other are composed into a
    single reading of the images.

    Raises RecipeError for unknown names and settings and for steps that do not fit the size; and
    on the first call where images are smaller than the crop.
    """
    layers = [_layer(position, step) for position, step in enumerate(steps, start=1)]
    for layer in layers:
        layer.check_size(input.size_px)
    before = [layer for layer in layers if layer.stage == "before"]
    after = [layer for layer in layers if layer.stage == "after"]
    if input.fit == "crop":
        before.insert(0, RandomCrop(size_px=input.size_px))

    def augment(images: Any, seed: Any) -> Any:
        seeds = per_image(seed, ops.shape(images)[0])
        images = _apply(before, images, seeds)
        return _apply(after, normalise(images), derive(seeds, len(before)))

    return augment


def _layer(position: int, step: AugmentStep) -> Augmentation:
    where = f"augment, step {position} ({step.name})"
    if step.name not in AUGMENTATIONS:
        raise RecipeError(f"{where}: unknown; {nearest(step.name, list(AUGMENTATIONS))}")
    kind = AUGMENTATIONS[step.name]
    return kind(**validated(kind.Settings, step.parameters, where).model_dump())


def _apply(layers: Sequence[Augmentation], images: Any, seeds: Any) -> Any:
    """Layers in order, each with seeds of its own; runs of geometric ones in one reading."""
    seeded = [(layer, derive(seeds, position)) for position, layer in enumerate(layers)]
    for geometric, run in groupby(seeded, key=lambda pair: isinstance(pair[0], Geometric)):
        if geometric:
            images = _moved(images, list(run))
        else:
            for layer, layer_seeds in run:
                images = layer(images, layer_seeds)
    return images


def _moved(images: Any, steps: list[Any]) -> Any:
    crops = [step.settings.size_px for step, _ in steps if isinstance(step, RandomCrop)]
    return move(images, steps, *crops)

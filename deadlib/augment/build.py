"""From the augment section of a recipe to one function on batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, takewhile
from typing import Any

from keras import ops

from deadlib.augment.base import Augmentation, validated
from deadlib.augment.dihedral import Dihedral, ZoomAnywhere
from deadlib.augment.geometry import (
    Flip,
    Geometric,
    QuarterTurn,
    RandomCrop,
    Rotate,
    Shear,
    Shift,
    Zoom,
    move,
)
from deadlib.augment.intensity import (
    BackgroundGradient,
    Blur,
    Brightness,
    CameraNoise,
    Contrast,
    Defocus,
    GainOffset,
    Gamma,
    Lighting,
    Noise,
    Saturate,
    Sharpen,
)
from deadlib.augment.mixing import MIXINGS, Mixing, mix
from deadlib.augment.randomness import derive, per_image
from deadlib.augment.sampling import Interpolation
from deadlib.augment.spline import ThinPlateSpline
from deadlib.crops import five_crops, one_by_one
from deadlib.errors import RecipeError
from deadlib.recipe import AugmentStep, InputSection, nearest

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "flip": Flip,
    "quarter_turn": QuarterTurn,
    "dihedral": Dihedral,
    "rotate": Rotate,
    "zoom": Zoom,
    "zoom_anywhere": ZoomAnywhere,
    "shear": Shear,
    "shift": Shift,
    "thin_plate_spline": ThinPlateSpline,
    "blur": Blur,
    "defocus": Defocus,
    "sharpen": Sharpen,
    "contrast": Contrast,
    "brightness": Brightness,
    "lighting": Lighting,
    "gamma": Gamma,
    "saturate": Saturate,
    "background_gradient": BackgroundGradient,
    "camera_noise": CameraNoise,
    "noise": Noise,
    "gain_offset": GainOffset,
}


CROP_STREAM = 0x63726F
MIXING_STREAM = 0x6D6978
"""Apart from the streams of the other steps, which are their places in the list."""


def build_augmenter(
    steps: Sequence[AugmentStep], *, input: InputSection, normalise: Callable[[Any], Any]
) -> Callable[[Any, Any], Any]:
    """All that happens to a batch in training, between reading and the network.

    The function takes images (B, H, W, C) float32 in unit range and a seed, (2,) integers or
    (B, 2) for a seed of each image; it returns (B, *input.size_px, C) float32, and with
    input.crops: 5 (B, 5, *input.size_px, C), each crop changed by itself. In order: the
    random crop where input.fit is crop, the steps that belong before normalisation, `normalise`,
    the steps that belong after it. With normalise: per_image_16bit the crop comes last. Geometric
    steps that follow each other are composed into a single reading of the images. Steps that mix
    images are left to `build_mixer`.

    Raises RecipeError for unknown names and settings and for steps that do not fit the size; and
    on the first call where images are smaller than the crop.
    """
    layers = [layer for layer in _layers(steps) if isinstance(layer, Augmentation)]
    _refuse_mixing_of_crops(steps, input)
    if not input.crops_last:
        for layer in layers:
            layer.check_size(input.size_px)
    before = [layer for layer in layers if layer.stage == "before"]
    after = [layer for layer in layers if layer.stage == "after"]
    if input.fit == "crop" and input.crops == 1:
        crop = RandomCrop(size_px=input.size_px)
        after.append(crop) if input.crops_last else before.insert(0, crop)

    def augment(images: Any, seed: Any) -> Any:
        seeds = per_image(seed, ops.shape(images)[0])
        images = _apply(before, images, seeds, input.interpolation)
        return _apply(after, normalise(images), derive(seeds, len(before)), input.interpolation)

    if input.crops == 1:
        return augment
    if input.crops_last:
        return lambda images, seed: five_crops(augment(images, seed), input.size_px)
    return lambda images, seed: _of_crops(augment, five_crops(images, input.size_px), seed)


def _refuse_mixing_of_crops(steps: Sequence[AugmentStep], input: InputSection) -> None:
    for position, step in enumerate(steps, start=1):
        if step.name in MIXINGS and input.crops > 1:
            raise RecipeError(
                f"augment, step {position} ({step.name}): mixes single images, and input.crops: "
                f"{input.crops} gives every example several windows; leave one of the two out"
            )


def _of_crops(augment: Callable[[Any, Any], Any], crops: Any, seed: Any) -> Any:
    """Every crop of (B, N, H, W, C) changed by a seed of its own."""
    batch, number = ops.shape(crops)[0], crops.shape[1]
    seeds = per_image(seed, batch)
    own = ops.stack([derive(seeds, CROP_STREAM + place) for place in range(number)], axis=1)
    changed = augment(one_by_one(crops), ops.reshape(own, (-1, 2)))
    return ops.reshape(changed, (-1, *crops.shape[1:]))


def build_mixer(
    steps: Sequence[AugmentStep],
) -> Callable[[Any, Any, Any], tuple[Any, Any]] | None:
    """The steps that mix the images of a batch, which come last; None where there are none.

    The function takes images (B, H, W, C) float32 as `build_augmenter` returns them, targets
    (B, K) float32 and seeds (B, 2), and returns images and targets. Raises as `build_augmenter`.
    """
    layers = [layer for layer in _layers(steps) if isinstance(layer, Mixing)]
    if not layers:
        return None
    return lambda images, targets, seeds: mix(
        layers, images, targets, derive(per_image(seeds, None), MIXING_STREAM)
    )


def check_steps(
    steps: Sequence[AugmentStep], input: InputSection, image_px: tuple[int, int]
) -> None:
    """Raise RecipeError for steps that cannot be built, or not for the windows of `input` in
    images of image_px: early, before anything is read."""
    size_px = image_px if input.crops_last else input.size_px
    layers = [layer for layer in _layers(steps) if isinstance(layer, Augmentation)]
    before = [layer for layer in layers if layer.stage == "before"]
    reading = list(takewhile(lambda layer: isinstance(layer, Geometric), before))
    for layer in layers:
        layer.check_size(size_px, image_px if layer in reading else size_px)


def is_foreign(step: AugmentStep) -> bool:
    """Whether a step is a layer of KerasCV, which XLA cannot always compile."""
    return step.name.startswith("keras_cv.")


def _layers(steps: Sequence[AugmentStep]) -> list[Augmentation | Mixing]:
    return [_layer(position, step) for position, step in enumerate(steps, start=1)]


def _layer(position: int, step: AugmentStep) -> Augmentation | Mixing:
    where = f"augment, step {position} ({step.name})"
    if is_foreign(step):
        from deadlib.augment.keras_cv import keras_cv_layer

        return keras_cv_layer(where, step.name, step.parameters)
    known: dict[str, type[Augmentation] | type[Mixing]] = {**AUGMENTATIONS, **MIXINGS}
    if step.name not in known:
        raise RecipeError(f"{where}: unknown; {nearest(step.name, list(known))}")
    kind = known[step.name]
    return kind(**validated(kind.Settings, step.parameters, where).model_dump())


def _apply(
    layers: Sequence[Augmentation], images: Any, seeds: Any, interpolation: Interpolation
) -> Any:
    """Layers in order, each with seeds of its own; runs of geometric ones in one reading."""
    seeded = [(layer, derive(seeds, position)) for position, layer in enumerate(layers)]
    for geometric, run in groupby(seeded, key=lambda pair: isinstance(pair[0], Geometric)):
        if geometric:
            images = move(images, list(run), interpolation)
        else:
            for layer, layer_seeds in run:
                images = layer(images, layer_seeds)
    return images

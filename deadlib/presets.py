"""Augmentation by name: the recipes of published systems, and our own for unknown microscopes.

A preset is a list of steps. Where it stands in a recipe, in place of the list or of a step, its
steps take its place, so that the recipe of a run shows what was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A list of augmentations, where it is from, and how far it is the same."""

    source: str
    steps: tuple[Mapping[str, Any], ...]
    input: Mapping[str, Any]
    """What the recipe's input section says in the published system."""
    differences: tuple[str, ...]


_DRAWN = (
    "Copies are not stored but drawn anew in each epoch. The system stores a number of copies of "
    "each image for each step and does not say whether the image itself is one of them; here it is "
    "the first, so {shares}"
)
_WINDOW = (
    "The system standardises windows of 256 px, stores them as 16-bit integers (4000 to the "
    "standard deviation) and draws 220 px from them. So does `normalise: per_image_16bit` with "
    "images converted to 256 px; only noise is added after the rounding. With `per_image` the 220 "
    "px are drawn first, standardised, and never rounded or clipped."
)

PRESETS: dict[str, Preset] = {
    "deadnet_a": Preset(
        source="DeadNet, data set A (healthy and sick fields in phase contrast)",
        steps=(
            {
                "name": "thin_plate_spline",
                "probability": 2 / 3,
                "spacing_px": 128.0,
                "deviation_px": 10.0,
            },
            {"name": "dihedral"},
            {"name": "blur", "probability": 1 / 2, "sigma_px": [1.1, 1.5]},
        ),
        input={"size_px": [220, 220], "fit": "crop", "normalise": "per_image_16bit"},
        differences=(
            _DRAWN.format(
                shares="of 3 warps 2/3 of the images are warped and of 2 blurs 1/2 are blurred."
            ),
            "The warp is the published one where whole frames are converted: control points stand "
            "on the frame. Of a frame that is cut when converting, each piece has control points "
            "of its own and is filled by reflection where the frame would go on.",
            "The system cuts a frame into windows every 128 px and shows all of them; here an "
            "epoch shows one window of each frame, anywhere in it.",
            "The system blurs the frame before it is cut; here the window is blurred, so that its "
            "outermost 5 px blend with their mirror image instead of what lies beyond.",
            "Neighbouring frames that share a label are a matter of which frames are converted.",
            _WINDOW,
        ),
    ),
    "deadnet_b": Preset(
        source="DeadNet, data set B (windows annotated by experts)",
        steps=(
            {"name": "dihedral"},
            {"name": "blur", "probability": 2 / 3, "sigma_px": [1.1, 1.5]},
            {"name": "noise", "probability": 2 / 3, "sigma": 0.5},
        ),
        input={"size_px": [220, 220], "fit": "crop", "normalise": "per_image_16bit"},
        differences=(
            _DRAWN.format(
                shares="of 3 blurs and of 3 noises 2/3 of the images are blurred and noisy."
            ),
            "The 10 frames of an annotated sequence are a matter of which frames are converted.",
            "The released files mirror images left to right once more, which changes nothing "
            "about the 8 views, and do so in validation too; here validation is never random.",
            _WINDOW,
        ),
    ),
    "celldeath": Preset(
        source="celldeath (treated and untreated cells in transmitted light)",
        steps=(
            {"name": "dihedral"},
            {"name": "rotate", "probability": 0.75, "degrees": 10.0},
            {"name": "zoom_anywhere", "probability": 0.75, "factor": [1.0, 1.1]},
            {"name": "lighting", "probability": 0.75, "scale": [0.9, 1 / 0.9], "change": 0.5},
            {"name": "lighting", "probability": 0.75, "scale": 1.0, "change": [0.45, 0.55]},
        ),
        input={"size_px": [480, 640], "fit": "resize", "normalise": "dataset"},
        differences=(
            "Images are normalised by the mean and deviation of the training split; the system "
            "takes those of one augmented batch, or ImageNet's (`normalise: imagenet`).",
            "What lies outside is mirrored about the outermost pixels' centres; in the system "
            "about their rims.",
        ),
    ),
    "celldeathpred": Preset(
        source="CellDeathPred (apoptosis, ferroptosis and healthy cells in cell painting)",
        steps=(
            {"name": "dihedral"},
            {
                "name": "gain_offset",
                "intensities": "stored",
                "gain_deviation": 0.1,
                "offset_deviation": 0.1,
            },
        ),
        input={
            "size_px": [512, 512],
            "fit": "crop",
            "crops": 5,
            "equalise": True,
            "normalise": "dataset",
        },
        differences=(
            "The system draws its transforms in validation and test too, so that its answers "
            "differ from run to run; here only in training. `deadlib-predict --views 8` averages "
            "over the same 8 views without chance.",
            "Equalised images are standardised by the mean and deviation of the training split; "
            "the system has constants: 0.578, 0.533, 0.509, 0.599 and 0.204, 0.249, 0.281, 0.186.",
            "What the paper calls Gaussian noise is a gain and an offset of each channel, and its "
            "quarter turn a transposition, in the system and here.",
        ),
    ),
    "robust": Preset(
        source="deadlib's own, for cameras, lamps and focus that training has not seen",
        steps=(
            {"name": "flip"},
            {"name": "rotate", "degrees": 180.0},
            {"name": "zoom", "factor": [0.67, 1.5]},
            {"name": "shift", "distance_px": 3.0},
            {"name": "blur", "probability": 0.5, "sigma_px": [0.0, 2.0]},
            {"name": "sharpen", "probability": 0.4, "amount": [0.0, 3.0], "sigma_px": 1.5},
            {"name": "gamma", "probability": 0.5, "exponent": [0.4, 2.5]},
            {"name": "saturate", "probability": 0.5, "limit": [0.5, 4.5]},
            {"name": "contrast", "probability": 0.7, "factor": [0.5, 2.0]},
            {"name": "background_gradient", "probability": 0.5, "amplitude": [0.0, 0.8]},
            {"name": "noise", "probability": 0.5, "sigma": [0.0, 0.5]},
        ),
        input={"size_px": [32, 32], "fit": "resize", "normalise": "half_contrast"},
        differences=(
            "Its distances in pixels suit cells of about 20 px; for larger ones give the steps "
            "of your own scale in place of shift, blur and sharpen.",
        ),
    ),
}


def expanded(steps: Any) -> Any:
    """Steps of a recipe with the names of presets replaced by their steps.

    steps: the name of a preset, or a list of steps and such names; anything else comes back as it
    is. Raises ValueError, for pydantic to place, for a name that is no preset.
    """
    if isinstance(steps, str):
        steps = [steps]
    if not isinstance(steps, list | tuple):
        return steps
    found: list[Any] = []
    for step in steps:
        found += _preset(step).steps if isinstance(step, str) else [step]
    return found


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ValueError(f"{name} is no preset (known: {known}); a single step is {{name: {name}}}")
    return PRESETS[name]

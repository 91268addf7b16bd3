"""docs/augmentation.md, made from the augmentations themselves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import yaml

from deadlib.augment.base import Augmentation
from deadlib.augment.build import AUGMENTATIONS
from deadlib.augment.mixing import MIXINGS, Mixing
from deadlib.presets import PRESETS, Preset

_INTRODUCTION = """# Augmentations

A recipe lists them in the order in which they act; each image of a batch draws for itself.

```yaml
augment:
  - name: flip
  - {name: rotate, degrees: 180}
  - {name: blur, probability: 0.5, sigma_px: [0, 1.5]}
```

What is drawn follows from the recipe's seed, the step and the example alone, on any number of
devices. Geometric steps that follow each other (flip, quarter_turn, rotate, zoom, shear, shift,
thin_plate_spline, and the random crop of `input.fit: crop`) are composed into one map of
coordinates and read the image once, bilinearly or, with `input.interpolation: bicubic`, by cubic
convolution; what lies outside is mirrored. Steps marked *after* act on the normalised image,
whatever their place in the list. With `input.normalise: per_image_16bit` whole images go through
all of it, and the random crop comes last.

`mixup` and `cutmix` come last, whatever their place: they mix the normalised images of a batch,
over several devices those of the same device, and their labels alike. The loss is then the mean
over the classes of a mixed image by their shares, class weights included, and the training accuracy
counts the class with the largest share.

`training.augment_on: host` has the processor augment while the device computes; images are the
same. `deadlib-inspect RECIPE --augmentations` draws what every step does to an image.

A name stands for a list of steps, [below](#presets): `augment: robust`, or as one entry of a list.

`keras_cv.` before a name takes an augmentation layer of KerasCV, with the layer's own parameters:
`{name: keras_cv.RandomHue, factor: 0.1}`; it needs `pip install "deadlib[keras-cv]"`. Layers see
images one by one in unit range, before normalisation; `value_range` is [0, 1] unless given. They
must keep the size of images, and many need three channels. What they draw from their generators
and factors follows from the seed of each example, as with our own steps; `AugMix` and
`RandAugment` draw in other ways as well: seeded, yet other after `--resume`. XLA does not compile
them, so a recipe with one augments more slowly.

Every step also takes `probability`, the share of the images that it changes. Where a setting is a
range, one number stands for both ends.
"""

_PRESETS = """## Presets

The augmentations of published systems by the name of the system, and one of our own. They are the
steps as published but for what is said below each; shares of 1/3 and the like are rounded here.
"""

_WARP = """## The warp as a function

`deadlib.augment.thin_plate_spline_warp` warps images by displacements of your own, as
`tfa.image.sparse_image_warp` of tensorflow-addons did, on every Keras backend:

```python
import numpy as np

from deadlib.augment import control_grid, thin_plate_spline_warp

images = np.random.rand(20, 256, 256, 1).astype("float32")
grid = control_grid((256, 256), 128)  # rows and columns 0, 128, 256: (3, 3, 2)
displacements = np.random.normal(0, 10, (20, *grid.shape)).astype("float32")  # px
warped = thin_plate_spline_warp(images, displacements, 128)
```

The value at x is taken from x + f(x), f the thin-plate spline through the displacements, and from
the nearest pixel where that lies outside the image. It is
`sparse_image_warp(images, grid + displacements, grid)`, control points flattened. The first call
for a shape compiles it.
"""


def reference_text() -> str:
    """The whole page: every augmentation, its settings, defaults and meaning."""
    parts = [_INTRODUCTION]
    kinds: dict[str, type[Augmentation] | type[Mixing]] = {**AUGMENTATIONS, **MIXINGS}
    for name, kind in kinds.items():
        said = inspect.getdoc(kind) or ""
        place = " *(after normalisation)*" if getattr(kind(), "stage", "") == "after" else ""
        parts.append(f"## {name}\n\n{said}{place}\n")
        fields = kind.Settings.model_fields.items()
        rows = [
            f"| `{key}` | `{_shown(field.default)}` | {field.description} |"
            for key, field in fields
            if key != "probability" or field.default != 1.0
        ]
        if rows:
            parts.append(
                "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])
            )
            parts.append("")
    parts.append(_PRESETS)
    parts += [_preset_text(name, preset) for name, preset in PRESETS.items()]
    parts.append(_WARP)
    return "\n".join(parts).rstrip() + "\n"


def _preset_text(name: str, preset: Preset) -> str:
    differences = "\n".join(f"- {difference}" for difference in preset.differences)
    steps = "\n".join(f"  - {_in_yaml(step)}" for step in preset.steps)
    return (
        f"### {name}\n\n{preset.source}. It goes with `input: {_in_yaml(preset.input)}`.\n\n"
        f"```yaml\naugment:\n{steps}\n```\n\n{differences}\n"
    )


def _in_yaml(mapping: Mapping[str, Any]) -> str:
    plain = {key: _rounded(value) for key, value in mapping.items()}
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6).strip()


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def _shown(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default

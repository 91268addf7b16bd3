"""docs/augmentation.md, made from the augmentations themselves."""

from __future__ import annotations

import inspect

from deadlib.augment.build import AUGMENTATIONS

_INTRODUCTION = """# Augmentations

A recipe lists them in the order in which they act; each image of a batch draws for itself.

```yaml
augment:
  - name: flip
  - {name: rotate, degrees: 180}
  - {name: blur, probability: 0.5, sigma_px: [0, 1.5]}
```

What is drawn follows from the recipe's seed, the step and the example alone, on any number of
devices. Geometric steps that follow each other (flip, quarter_turn, rotate, zoom, shift,
thin_plate_spline, and the random crop of `input.fit: crop`) are composed into one map of
coordinates and read the image once, bilinearly; what lies outside is mirrored. Steps marked
*after* act on the normalised image, whatever their place in the list.

Every step also takes `probability`, the share of the images that it changes. Where a setting is a
range, one number stands for both ends.
"""


def reference_text() -> str:
    """The whole page: every augmentation, its settings, defaults and meaning."""
    parts = [_INTRODUCTION]
    for name, kind in AUGMENTATIONS.items():
        said = inspect.getdoc(kind) or ""
        place = "" if kind.stage == "before" else " *(after normalisation)*"
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
    return "\n".join(parts).rstrip() + "\n"


def _shown(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default

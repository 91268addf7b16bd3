"""What deadlib.json of an export says: what goes in, what comes out, and how it came about."""

from __future__ import annotations

from typing import Any

from deadlib._version import __version__
from deadlib.errors import InputError
from deadlib.runs import Run, library_versions
from deadlib.serving.golden import TOLERANCE, Golden
from deadlib.serving.signature import (
    ENCODED_SIGNATURE,
    FLOAT_SIGNATURE,
    GRADCAM_OF_CLASS_SIGNATURE,
    GRADCAM_SIGNATURE,
    PLATE_SIGNATURES,
)
from deadlib.windows import normalised_with, training_window

OUT_OF_DISTRIBUTION_ABOVE = 0.99
"""Where an image is called unlike all that was learnt: one known image of a hundred is."""

_SHADING = "; divided by the shading of the plate, which the SavedModel cannot know"


def description(run: Run, origin: str, golden: Golden, found: dict[str, float]) -> dict[str, Any]:
    """All of deadlib.json. found: how far each signature's answers lie from those of the run."""
    channels = ", ".join(run.channels)
    _, h, w = golden.answers["evidence"].shape
    rows, columns = run.recipe.input.size_px
    size = "of any size" if run.recipe.input.fit == "resize" else f"at least {rows} x {columns} px"
    inputs = {
        FLOAT_SIGNATURE: {
            "image": f"(B, H, W, {len(run.channels)}) float32, {size}, channels {channels}; "
            "intensities in 0-1: 8-bit values divided by 255, 16-bit ones by 65535, floats as "
            f"they are{_SHADING if run.recipe.input.illumination else ''}"
        },
        ENCODED_SIGNATURE: {
            "image_bytes": f"(B,) string, each a PNG (8 or 16 bit), JPEG or BMP file, {size}, "
            f"channels {channels}"
        },
    }
    inputs[GRADCAM_SIGNATURE] = inputs[FLOAT_SIGNATURE]
    inputs[GRADCAM_OF_CLASS_SIGNATURE] = {
        **inputs[FLOAT_SIGNATURE],
        "class_index": f"(B,) int32, 0 to {len(run.classes) - 1}: the class asked about, counted "
        f"in the order {', '.join(run.classes)}",
    }
    for name, own in PLATE_SIGNATURES.items():
        inputs[own] = inputs[name] | _plate_inputs(run)
    outputs = {
        "class_name": "(B,) string, the most probable class",
        "class_names": f"(B, {len(run.classes)}) string, all classes in the order of probability",
        "probability": f"(B, {len(run.classes)}) float32, summing to 1"
        + ("" if run.calibration is None else ", calibrated"),
        **_calibrated_outputs(run),
        "embedding": f"(B, {golden.answers['embedding'].shape[1]}) float32",
        "evidence": f"(B, {h}, {w}) float32 >= 0, of gradcam alone: where in the image, or in its "
        "central window, something speaks for the class, in units of the score",
    }
    return {
        "deadlib": __version__,
        "classes": run.classes,
        "channels": run.channels,
        "window_px": _window_px(run),
        "normalised_with_px": list(normalised_with(run)),
        "pixel_size_um": run.dataset.get("pixel_size_um"),
        "modality": run.dataset.get("modality"),
        "calibrated": run.calibration is not None,
        "out_of_distribution_above": OUT_OF_DISTRIBUTION_ABOVE if run.calibration else None,
        "input": run.recipe.input.model_dump(mode="json"),
        "signatures": {name: inputs[name] for name in inputs if name in found},
        "outputs": outputs,
        "run": str(run.folder.resolve()),
        "recipe": run.recipe.model_dump(mode="json"),
        "versions": run.versions,
        "exported_with": library_versions(),
        "dataset": {"name": run.dataset["name"], "fingerprint": run.dataset["fingerprint"]},
        "calibration": run.calibration.to_json() if run.calibration else None,
        "check": {
            "images": origin,
            "examples": len(golden.images),
            "largest_difference": found,
            "tolerance": TOLERANCE,
        },
    }


def _window_px(run: Run) -> list[int] | None:
    """What the network sees of an image, in its pixels; None where sizes were mixed."""
    try:
        return list(training_window(run))
    except InputError:
        return None


def _calibrated_outputs(run: Run) -> dict[str, str]:
    if run.calibration is None:
        return {}
    return {
        "prediction_set": f"(B, {len(run.classes)}) bool, the classes that it may be; the true one "
        f"is among them for {100 * run.calibration.coverage:g} % of images; not just one: unsure",
        "out_of_distribution": "(B,) float32 in 0-1, the share of known images that are more like "
        "the training images than this one; "
        f"above {OUT_OF_DISTRIBUTION_ABOVE}: like nothing learnt",
    }


def _plate_inputs(run: Run) -> dict[str, str]:
    """What the statistics of a plate are, for those who send them."""
    robust = run.recipe.input.normalise == "plate_robust"
    shape = f"(B, {len(run.channels)}) float32, per image and channel, of the pixels in 0-1 of"
    wells = " ".join(run.dataset["settings"].get("normalise_to", [])) or "all"
    centre, scale = (
        ("the median", "(99th - 1st percentile) / 4.6527")
        if robust
        else ("the mean", "the deviation")
    )
    return {
        "centre": f"{shape} the plate ({wells} wells): {centre}",
        "scale": f"{shape} the plate ({wells} wells): {scale}",
    }

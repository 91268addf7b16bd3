"""From a run to `OUT/<version>/`, checked against the run's own network before it counts.

OUT/1/saved_model.pb, variables/     what TensorFlow Serving and TensorFlow load
OUT/1/assets.extra/deadlib.json      classes, channels, signatures, origin, result of the check
OUT/1/assets.extra/golden.npz        stored examples and the answers expected for them
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from deadlib._version import __version__
from deadlib.calibration import Calibration, softmax
from deadlib.data.plates import PLATE, moved
from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.data.view import open_viewed
from deadlib.errors import ExportError
from deadlib.inputs import (
    ProgressCallback,
    RunInput,
    channel_positions,
    spread_over_labels,
)
from deadlib.models import embedding_network
from deadlib.outputs import write_errors, written_whole
from deadlib.runs import RECIPE, Run
from deadlib.serving.signature import (
    ENCODED_CHANNELS,
    ENCODED_SIGNATURE,
    FLOAT_SIGNATURE,
    PLATE_INPUTS,
    PLATE_SIGNATURES,
    ServedNetwork,
)
from tfrecords_tools.errors import ToolsError

TOLERANCE = 1e-4
GOLDEN_EXAMPLES = 8
CHECKED_ON = "/CPU:0"
"""GPUs round convolutions differently for each size of a batch, by more than the tolerance."""

EXTRA = "assets.extra"
DESCRIPTION = "deadlib.json"
GOLDEN = "golden.npz"

_SHADING = "; divided by the shading of the plate, which the SavedModel cannot know"


@dataclass(frozen=True)
class Golden:
    """Images and what the run's own network answers for them."""

    origin: str
    names: list[str]
    images: list[np.ndarray]
    """(H, W, C) as stored, or as float32 without shading; sizes may differ."""
    answers: dict[str, np.ndarray]
    """probability (N, K), embedding (N, D) and, of a calibrated run, prediction_set (N, K) and
    out_of_distribution (N,), for images by themselves."""
    plates: dict[str, np.ndarray]
    """Where images are compared with their plates: centre and scale (N, C) of these, and the
    same answers as then expected."""
    calibration: Calibration | None = None

    @cached_property
    def files(self) -> list[bytes]:
        """The images as PNG files; empty where PNG cannot hold them."""
        for image in self.images:
            if image.dtype.kind == "f" or image.shape[-1] not in ENCODED_CHANNELS:
                return []
        return [tf.io.encode_png(image).numpy() for image in self.images]


def export(
    run: Run | str | Path, out: str | Path, *, progress: ProgressCallback | None = None
) -> Path:
    """Write the run's network as the next version below `out` and return that folder.

    The SavedModel takes float images (`serving_default`) and, for 1, 3 or 4 channels, the bytes of
    PNG, JPEG or BMP files (`encoded`); for a run with input.normalise: plate both also with the
    statistics of the plate (`plate`, `encoded_plate`). It gives class_name (B,), class_names
    (B, K), probability (B, K) and embedding (B, D); of a calibrated run the probability is
    calibrated, and there are prediction_set (B, K) bool and out_of_distribution (B,). See
    docs/serve.md.

    It is loaded again and asked about stored examples of the run's dataset (about seeded noise
    where that is gone). Raises ExportError where an answer differs by more than 1e-4 from that of
    the network itself; then, and after an interruption, no version is left. Raises it, too, where
    `out` holds files but no version, and WriteError where the disk refuses.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out = Path(out)
    _refuse_foreign(out)
    _refuse_batch_statistics(run)
    _refuse_views(run)
    with tf.device(CHECKED_ON):
        golden = _golden(run)
    _report(progress, 1)
    # Loaded anew: a SavedModel remembers on which device its variables stood.
    served = _served(run)
    version = out / str(_next_version(out))
    with written_whole(version) as partial:
        with _disk_errors():
            tf.saved_model.save(served, str(partial), signatures=served.signatures())
        _report(progress, 2)
        with tf.device(CHECKED_ON):
            differences = verify(partial, golden)
        _refuse_differences(run, differences)
        _write_extra(partial / EXTRA, run, golden, differences)
    _report(progress, 3)
    return version


def _refuse_batch_statistics(run: Run) -> None:
    """A server answers for single images, as this run was not validated to do."""
    if run.recipe.model.bn_at_test == "batch":
        raise ExportError(
            f"{run.folder}: its answers depend on the other images of a batch (model.bn_at_test: "
            "batch), so it cannot be served; write bn_at_test: moving into "
            f"{run.folder / RECIPE}, predict and evaluate once more, and export if that suffices"
        )


def _refuse_views(run: Run) -> None:
    """A server looks at each image once."""
    if run.calibration and run.calibration.about["views"] != 1:
        raise ExportError(
            f"{run.folder}: was calibrated for --views {run.calibration.about['views']}, but a "
            f"server looks at each image once; calibrate it again: deadlib-calibrate {run.folder}"
        )


@contextmanager
def _disk_errors() -> Iterator[None]:
    """TensorFlow has errors of its own for what the disk refuses; make them Python's."""
    try:
        yield
    except tf.errors.OpError as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError) or "No space" in error.message
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise OSError(error.message) from None


def _refuse_foreign(out: Path) -> None:
    """Raise ExportError where `out` holds files, but no version; hidden files do not count."""
    if not out.is_dir():
        return
    with write_errors(out):
        found = [path for path in out.iterdir() if not path.name.startswith(".")]
    if found and not any(path.name.isdecimal() and path.is_dir() for path in found):
        raise ExportError(
            f"{out}: holds files but no exported version (a folder named 1, 2, ...), expected a "
            "new or empty folder, or one of earlier exports; give another folder"
        )


def verify(folder: Path, golden: Golden) -> dict[str, float]:
    """The largest difference of each signature's answers from the golden ones.

    Differences of the embedding are relative to its largest value, where that is above 1. A set of
    classes is right (0) where a probability within the tolerance gives it, else wrong (1).
    """
    signatures = tf.saved_model.load(str(folder)).signatures
    images = [tf.constant(unit_range(image)[None]) for image in golden.images]
    found = {}
    for plain, on_plate in PLATE_SIGNATURES.items():
        for name, expected in ((plain, golden.answers), (on_plate, golden.plates)):
            if name not in signatures:
                continue
            plates = {key: tf.constant(expected[key]) for key in PLATE_INPUTS if key in expected}
            ask = signatures[name]
            if plain == FLOAT_SIGNATURE:
                single = [
                    {key: plates[key][i : i + 1] for key in plates} for i in range(len(images))
                ]
                answers = [ask(image=i, **p) for i, p in zip(images, single, strict=True)]
            elif golden.files:
                answers = [ask(image_bytes=tf.constant(golden.files), **plates)]
            else:
                continue
            found[name] = _difference(answers, expected, golden.calibration)
    return found


def _served(run: Run) -> ServedNetwork:
    return ServedNetwork(
        embedding_network(run.network(), run.recipe.input.crops),
        preprocess_for(run.recipe.input, run.dataset),
        run.recipe.input,
        classes=run.classes,
        channels=run.channels,
        integers=not run.recipe.input.illumination
        and "float32" not in run.dataset["card"]["dtypes"],
        calibration=run.calibration,
    )


def _golden(run: Run) -> Golden:
    origin, names, images, plates = _stored_images(run)
    section = run.recipe.input
    fitted = [np.asarray(fit_size(unit_range(image), section))[None] for image in images]
    answers = _answers(run, fitted)
    if plates:
        reference = run.dataset["statistics"]
        ends = [np.float32(reference[name]) for name in ("mean", "deviation")]
        on_plates = [
            np.asarray(moved(image, centre[None], scale[None], *ends))
            for image, centre, scale in zip(fitted, plates["centre"], plates["scale"], strict=True)
        ]
        plates |= _answers(run, on_plates)
    return Golden(origin, names, images, answers, plates, run.calibration)


def _answers(run: Run, fitted: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What is served for images (1, H, W, C) fitted to size, by the network and NumPy."""
    network = embedding_network(run.network(), run.recipe.input.crops)
    preprocess = preprocess_for(run.recipe.input, run.dataset)
    # One at a time: with fit=crop the stored sizes may differ.
    answers = [network.predict_on_batch(np.asarray(preprocess.crops(image))) for image in fitted]
    logits = np.concatenate([np.asarray(answer[0]) for answer in answers])
    embedding = np.concatenate([np.asarray(answer[1]) for answer in answers])
    found = {"embedding": embedding}
    if run.calibration is None:
        return found | {"probability": softmax(logits).astype(np.float32)}
    probability = run.calibration.probabilities(logits)
    return found | {
        "probability": probability.astype(np.float32),
        "prediction_set": run.calibration.prediction_sets(probability),
        "out_of_distribution": run.calibration.out_of_distribution(embedding).astype(np.float32),
    }


def _stored_images(
    run: Run,
) -> tuple[str, list[str], list[np.ndarray], dict[str, np.ndarray]]:
    """Where they are from, their ids, images (H, W, C) in the network's order of channels, and the
    centre and scale (N, C) of their plates where the run needs them."""
    path = run.dataset["path"]
    try:
        dataset = open_viewed(run.recipe, path)
    except ToolsError:
        return _noise(run, f"seeded noise: {path} is not there any more")
    if dataset.fingerprint != run.dataset["fingerprint"]:
        return _noise(run, f"seeded noise: {path} is not the dataset that the run was trained on")
    given = RunInput(run, dataset, channel_positions(run, dataset))
    examples = dataset.manifest.reset_index(drop=True)
    held_back = examples[examples["split"] == "test"]
    chosen = spread_over_labels(examples if held_back.empty else held_back, GOLDEN_EXAMPLES, seed=0)
    rows = chosen.index.to_numpy()
    images = [given.image(int(row)) for row in rows]
    correction, plates = given.correction, {}
    if correction is not None and run.recipe.input.illumination:
        images = [
            np.asarray(correction.flattened(unit_range(image)[None], row[None]))[0]
            for image, row in zip(images, rows, strict=True)
        ]
    if correction is not None and run.recipe.input.normalise in PLATE:
        key = correction.key[rows]
        plates = {"centre": correction.centre[key], "scale": correction.scale[key]}
    return str(path), list(chosen["example_id"]), images, plates


def _noise(run: Run, origin: str) -> tuple[str, list[str], list[np.ndarray], dict[str, np.ndarray]]:
    shape = run.dataset.get("image_shape") or run.recipe.input.size_px
    generator = np.random.default_rng(0)
    size = (GOLDEN_EXAMPLES, shape[0], shape[1], len(run.channels))
    images = list(generator.integers(0, 256, size, dtype=np.uint8))
    plates = {}
    if run.recipe.input.normalise in PLATE:
        # White noise in 0-1 has a mean of 1/2 and a deviation of the root of 1/12.
        values = {"centre": 0.5, "scale": 0.2887}
        plates = {
            name: np.full((GOLDEN_EXAMPLES, len(run.channels)), value, np.float32)
            for name, value in values.items()
        }
    return origin, [f"noise {number}" for number in range(GOLDEN_EXAMPLES)], images, plates


def _difference(
    answers: list[dict[str, tf.Tensor]],
    expected: dict[str, np.ndarray],
    calibration: Calibration | None,
) -> float:
    probabilities = np.concatenate([answer["probability"].numpy() for answer in answers])
    embedding = np.concatenate([answer["embedding"].numpy() for answer in answers])
    scale = max(1.0, float(np.abs(expected["embedding"]).max()))
    found = [
        float(np.abs(probabilities - expected["probability"]).max()),
        float(np.abs(embedding - expected["embedding"]).max()) / scale,
    ]
    if calibration is not None:
        told = {
            name: np.concatenate([answer[name].numpy() for answer in answers])
            for name in ("prediction_set", "out_of_distribution")
        }
        found += [
            _set_difference(told["prediction_set"], expected["probability"], calibration),
            _share_difference(told["out_of_distribution"], expected["embedding"], calibration),
        ]
    return max(found)


def _set_difference(found: np.ndarray, probability: np.ndarray, calibration: Calibration) -> float:
    """0 where each set (N, K) is that of probabilities within the tolerance, else 1."""
    least = calibration.prediction_sets(probability - TOLERANCE)
    most = calibration.prediction_sets(probability + TOLERANCE)
    return float(np.any((found & ~most) | (~found & least)))


def _share_difference(found: np.ndarray, embedding: np.ndarray, calibration: Calibration) -> float:
    """How far a share (N,) lies from those of distances within the tolerance, as the share may
    rise in steps."""
    known = calibration.neighbours
    distance = known.distance(embedding)
    low, high = (known.share_closer(distance + side * TOLERANCE) for side in (-1, 1))
    return float(np.max(np.maximum(low - found, found - high), initial=0.0))


def _refuse_differences(run: Run, differences: dict[str, float]) -> None:
    for signature, difference in differences.items():
        # Written so that NaN is refused too.
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{run.folder}: the exported signature {signature} differs from the network by "
                f"{difference:.1e}, expected at most {TOLERANCE:.0e}; nothing was exported; "
                "please report it with the run's versions.json and recipe.yaml"
            )


def _write_extra(folder: Path, run: Run, golden: Golden, differences: dict[str, float]) -> None:
    folder.mkdir()
    arrays: dict[str, Any] = {f"image_{i}": image for i, image in enumerate(golden.images)}
    arrays |= {f"file_{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(golden.files)}
    arrays |= {"example_id": np.array(golden.names), **golden.answers}
    arrays |= {f"plate_{name}": values for name, values in golden.plates.items()}
    np.savez_compressed(folder / GOLDEN, **arrays)
    described = json.dumps(_description(run, golden, differences), indent=2)
    (folder / DESCRIPTION).write_text(described + "\n", encoding="utf-8")


def _description(run: Run, golden: Golden, differences: dict[str, float]) -> dict[str, Any]:
    channels = ", ".join(run.channels)
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
    for name, own in PLATE_SIGNATURES.items():
        inputs[own] = inputs[name] | _plate_inputs(run)
    outputs = {
        "class_name": "(B,) string, the most probable class",
        "class_names": f"(B, {len(run.classes)}) string, all classes in the order of probability",
        "probability": f"(B, {len(run.classes)}) float32, summing to 1"
        + ("" if run.calibration is None else ", calibrated"),
        **_calibrated_outputs(run),
        "embedding": f"(B, {golden.answers['embedding'].shape[1]}) float32",
    }
    return {
        "deadlib": __version__,
        "classes": run.classes,
        "channels": run.channels,
        "input": run.recipe.input.model_dump(mode="json"),
        "signatures": {name: inputs[name] for name in inputs if name in differences},
        "outputs": outputs,
        "run": str(run.folder.resolve()),
        "recipe": run.recipe.model_dump(mode="json"),
        "versions": run.versions,
        "dataset": {"name": run.dataset["name"], "fingerprint": run.dataset["fingerprint"]},
        "calibration": run.calibration.to_json() if run.calibration else None,
        "check": {
            "images": golden.origin,
            "examples": len(golden.images),
            "largest_difference": differences,
            "tolerance": TOLERANCE,
        },
    }


def _calibrated_outputs(run: Run) -> dict[str, str]:
    if run.calibration is None:
        return {}
    return {
        "prediction_set": f"(B, {len(run.classes)}) bool, the classes that it may be; the true one "
        f"is among them for {100 * run.calibration.coverage:g} % of images; not just one: unsure",
        "out_of_distribution": "(B,) float32 in 0-1, the share of known images that are more like "
        "the training images than this one; above 0.99: like nothing learnt",
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


def _next_version(out: Path) -> int:
    if not out.is_dir():
        return 1
    found = [int(path.name) for path in out.iterdir() if path.name.isdecimal()]
    return max(found, default=0) + 1


def _report(progress: ProgressCallback | None, done: int) -> None:
    if progress is not None:
        progress("export", done, 3)

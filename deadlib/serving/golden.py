"""Stored images with the answers expected for them, and how far a served model is from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from deadlib.calibration import Calibration
from deadlib.data.unit import unit_range
from deadlib.serving.signature import (
    ENCODED_CHANNELS,
    ENCODED_SIGNATURE,
    GRADCAM_OF_CLASS_SIGNATURE,
    PLATE_INPUTS,
    PLATE_SIGNATURES,
)

GOLDEN = "golden.npz"
TOLERANCE = 1e-4
TIED = 10 * TOLERANCE
"""Probabilities that lie closer than this may change places by rounding."""

_IMAGE, _FILE, _PLATE, _NAMES = "image_", "file_", "plate_", "example_id"


@dataclass(frozen=True)
class Golden:
    """Images and what the run's own network answers for them."""

    names: list[str]
    images: list[np.ndarray]
    """(H, W, C) as stored, or as float32 without shading; sizes may differ."""
    answers: dict[str, np.ndarray]
    """probability (N, K), embedding (N, D), evidence (N, h, w) for the most probable class and, of
    a calibrated run, prediction_set (N, K) and out_of_distribution (N,), for images by
    themselves."""
    plates: dict[str, np.ndarray]
    """Where images are compared with their plates: centre and scale (N, C) of these, and the
    same answers as then expected."""
    calibration: Calibration | None = None
    """Of the run; without it sets and distances, which follow from the rest, are not compared."""

    @cached_property
    def files(self) -> list[bytes]:
        """The images as PNG files; empty where PNG cannot hold them."""
        for image in self.images:
            if image.dtype.kind == "f" or image.shape[-1] not in ENCODED_CHANNELS:
                return []
        return [tf.io.encode_png(image).numpy() for image in self.images]

    def inputs(self, signature: str) -> list[dict[str, tf.Tensor]]:
        """What to ask a signature: a request for each image, or one for all files, as their sizes
        may differ; none where files cannot hold the images."""
        on_plate = signature in PLATE_SIGNATURES.values()
        expected = self.plates if on_plate else self.answers
        if on_plate:
            signature = next(name for name, own in PLATE_SIGNATURES.items() if own == signature)
        if signature == ENCODED_SIGNATURE:
            every = slice(None)
            asked = [(every, {"image_bytes": tf.constant(self.files)})] if self.files else []
        else:
            asked = [
                (slice(number, number + 1), {"image": tf.constant(unit_range(image)[None])})
                for number, image in enumerate(self.images)
            ]
        for which, request in asked:
            if signature == GRADCAM_OF_CLASS_SIGNATURE:
                likeliest = expected["probability"][which].argmax(axis=1)
                request["class_index"] = tf.constant(likeliest.astype(np.int32))
            if on_plate:
                request |= {key: tf.constant(expected[key][which]) for key in PLATE_INPUTS}
        return [request for _, request in asked]

    def write(self, path: Path) -> None:
        """As an .npz file: image_0 ..., file_0 ..., example_id, the answers, and plate_* beside."""
        arrays: dict[str, Any] = {f"{_IMAGE}{i}": image for i, image in enumerate(self.images)}
        arrays |= {
            f"{_FILE}{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(self.files)
        }
        arrays |= {_NAMES: np.array(self.names), **self.answers}
        arrays |= {f"{_PLATE}{name}": values for name, values in self.plates.items()}
        np.savez_compressed(path, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Golden:
        """What `write` wrote. Raises OSError and ValueError."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        names = [str(name) for name in arrays.pop(_NAMES)]
        images = [arrays.pop(f"{_IMAGE}{number}") for number in range(len(names))]
        found: dict[str, dict[str, np.ndarray]] = {"": {}, _PLATE: {}}
        for name, values in arrays.items():
            if name.startswith(_PLATE):
                found[_PLATE][name.removeprefix(_PLATE)] = values
            elif not name.startswith(_FILE):
                found[""][name] = values
        return cls(names, images, found[""], found[_PLATE])


def differences(
    signatures: Mapping[str, Any], golden: Golden, asked: tuple[str, ...] | None = None
) -> dict[str, float]:
    """The largest difference of each signature's answers from the golden ones.

    Those of the embedding and of the evidence are relative to its largest value, where that is
    above 1. A set of classes is right (0) where a probability within the tolerance gives it, else
    wrong (1). asked: only these signatures.
    """
    found = {}
    for name, ask in signatures.items():
        if asked is not None and name not in asked:
            continue
        requests = golden.inputs(name)
        if requests:
            expected = golden.plates if name in PLATE_SIGNATURES.values() else golden.answers
            found[name] = _difference(
                [ask(**request) for request in requests], expected, golden.calibration
            )
    return found


def _difference(
    answers: list[dict[str, tf.Tensor]],
    expected: dict[str, np.ndarray],
    calibration: Calibration | None,
) -> float:
    told = {
        name: np.concatenate([answer[name].numpy() for answer in answers]) for name in answers[0]
    }
    if "evidence" in told:
        return _evidence_difference(told["evidence"], expected)
    found = [
        float(np.abs(told["probability"] - expected["probability"]).max()),
        _relative(told["embedding"], expected["embedding"]),
    ]
    if calibration is not None:
        found += [
            _set_difference(told["prediction_set"], expected["probability"], calibration),
            _share_difference(told["out_of_distribution"], expected["embedding"], calibration),
        ]
    return float(np.max(found))


def _evidence_difference(found: np.ndarray, expected: dict[str, np.ndarray]) -> float:
    """Of images whose most probable class is beyond doubt."""
    first, second = np.sort(expected["probability"], axis=1)[:, :-3:-1].T
    sure = first - second > TIED
    return _relative(found[sure], expected["evidence"][sure]) if sure.any() else 0.0


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))


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

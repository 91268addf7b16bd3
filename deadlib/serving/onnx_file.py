"""The network with its preprocessing as an ONNX file, for programs that know no TensorFlow.

It answers float images as `serving_default` does: probability and embedding. What images are unlike
all that was learnt, and where the evidence lies, only the SavedModel tells.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from deadlib.data.preprocess import preprocess_for
from deadlib.data.unit import unit_range
from deadlib.errors import ExportError
from deadlib.models import embedding_network
from deadlib.runs import Run
from deadlib.serving.golden import TOLERANCE, Golden

ONNX = "model.onnx"
OPSET = 18
LONGEST_REASON = 300


def write_onnx(folder: Path, run: Run, golden: Golden) -> float:
    """Write model.onnx, and return how far its answers lie from those of the run at most.

    Raises ExportError where tf2onnx or onnxruntime is missing, cannot convert the network, or where
    an answer differs from the run's by more than 1e-4; then no file is left.
    """
    if run.recipe.input.equalise:
        raise ExportError(
            f"{run.folder}: cannot be written as ONNX, which has no operations to make a histogram "
            "even (input.equalise); export without ONNX"
        )
    tf2onnx, onnx, onnxruntime = _libraries()
    path = folder / ONNX
    channels = len(run.channels)
    image = tf.TensorSpec((None, None, None, channels), tf.float32, name="image")
    try:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(_answering(run), input_signature=[image], autograph=False),
            input_signature=[image],
            opset=OPSET,
        )
        told = {"classes": json.dumps(run.classes), "channels": json.dumps(run.channels)}
        onnx.helper.set_model_props(proto, told)
        onnx.save(proto, str(path))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        difference = _difference(session, golden)
    except Exception as error:  # of three libraries, each with its own
        path.unlink(missing_ok=True)
        raise ExportError(
            f"{run.folder}: cannot be written as ONNX ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:LONGEST_REASON]}); export without ONNX"
        ) from error
    if not difference <= TOLERANCE:
        path.unlink()
        raise ExportError(
            f"{run.folder}: as ONNX it differs from the network by {difference:.1e}, expected at "
            f"most {TOLERANCE:.0e}; nothing was exported; export without ONNX"
        )
    return difference


def resized(images: tf.Tensor, size_px: tuple[int, int]) -> tf.Tensor:
    """Images (B, H, W, C) at another size, as tf.image.resize does it, bilinear with antialiasing,
    by operations that ONNX has."""
    rows, columns = (
        _weights(tf.shape(images)[axis], size) for axis, size in zip((1, 2), size_px, strict=True)
    )
    return tf.einsum("rh,bhwc,sw->brsc", rows, images, columns)


def _middle(images: tf.Tensor, size_px: tuple[int, int]) -> tf.Tensor:
    """The central window of images whose size is not known yet."""
    rows, columns = size_px
    found = tf.shape(images)
    top, left = (found[1] - rows) // 2, (found[2] - columns) // 2
    window = images[:, top : top + rows, left : left + columns]
    return tf.ensure_shape(window, (None, rows, columns, None))


def _weights(before: tf.Tensor, after: int) -> tf.Tensor:
    """(after, before): how much each former pixel counts in each new one, a triangle that is as
    wide as a new pixel, but at least as a former one."""
    step = tf.cast(before, tf.float32) / after
    centre = (tf.range(after, dtype=tf.float32) + 0.5) * step
    place = tf.cast(tf.range(before), tf.float32) + 0.5
    apart = tf.abs(place[None] - centre[:, None]) / tf.maximum(step, 1.0)
    weights = tf.maximum(1.0 - apart, 0.0)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _answering(run: Run) -> Any:
    section = run.recipe.input
    network = embedding_network(run.network(), section.crops)
    preprocess = preprocess_for(section, run.dataset)
    temperature = run.calibration.temperature if run.calibration else 1.0

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        if section.crops > 1:
            seen = preprocess.crops(image)
        elif section.fit == "resize":
            seen = preprocess.normalise(resized(image, section.size_px))
        elif preprocess.crops_last:
            seen = _middle(preprocess.normalise(image), section.size_px)
        else:
            seen = preprocess.normalise(_middle(image, section.size_px))
        logits, embedding = network(seen, training=False)
        return {"probability": tf.nn.softmax(logits / temperature), "embedding": embedding}

    return answer


def _difference(session: Any, golden: Golden) -> float:
    """Of the probabilities, and of the embedding relative to its largest value."""
    found: dict[str, list[np.ndarray]] = {"probability": [], "embedding": []}
    for image in golden.images:
        answers = session.run(list(found), {"image": unit_range(image)[None]})
        for name, answer in zip(found, answers, strict=True):
            found[name].append(answer)
    largest = []
    for name, answers in found.items():
        expected = golden.answers[name]
        scale = max(1.0, float(np.abs(expected).max())) if name == "embedding" else 1.0
        largest.append(np.abs(np.concatenate(answers) - expected).max() / scale)
    # that of Python would pass over NaN
    return float(np.max(largest))


def _libraries() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ExportError(
            f"--onnx needs {error.name}, which is not installed: pip install 'deadlib[onnx]'"
        ) from None
    return tf2onnx, onnx, onnxruntime

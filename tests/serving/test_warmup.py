"""TensorFlow Serving's own formats and tools take what is exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from deadlib.serving import open_bundle
from deadlib.serving.warmup import WARMUP


def test_every_signature_is_warmed_up_by_a_request_that_it_answers(out: Path) -> None:
    bundle = open_bundle(out)
    asked = []
    for record in tf.data.TFRecordDataset(str(bundle.folder / "assets.extra" / WARMUP)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "model"
        tensors = {name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
        answer = bundle.signatures[request.model_spec.signature_name](**tensors)
        assert {len(tensor) for tensor in answer.values()} == {1}
        asked.append(request.model_spec.signature_name)
    assert sorted(asked) == sorted(bundle.signatures)


def test_saved_model_cli_runs_it(out: Path, tmp_path: Path) -> None:
    """By a session, as TensorFlow Serving does, and with the gradients of Grad-CAM."""
    folder = open_bundle(out).folder
    with np.load(folder / "assets.extra" / "golden.npz") as golden:
        image = (golden["image_0"] / np.iinfo(golden["image_0"].dtype).max).astype(np.float32)
        asked, expected = golden["probability"][:1].argmax(axis=1), golden["evidence"][:1]
    np.savez(tmp_path / "given.npz", image=image[None], class_index=asked.astype(np.int32))
    given = tmp_path / "given.npz"
    command = [
        str(Path(sys.executable).with_name("saved_model_cli")),
        "run",
        *("--dir", str(folder), "--tag_set", "serve", "--signature_def", "gradcam_of_class"),
        *("--inputs", f"image={given}[image];class_index={given}[class_index]"),
        *("--outdir", str(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "evidence.npy"), expected, atol=1e-5)

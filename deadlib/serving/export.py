"""From a run to `OUT/<version>/`, checked against the run's own network before it counts.

OUT/1/saved_model.pb, variables/     what TensorFlow Serving and TensorFlow load
OUT/1/assets.extra/deadlib.json      classes, channels, signatures, origin, result of the check
OUT/1/assets.extra/golden.npz        stored examples and the answers expected for them
OUT/1/assets.extra/card.html, .json  the model card
OUT/1/assets.extra/tf_serving_warmup_requests  what TensorFlow Serving asks itself at first
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from deadlib.data.preprocess import preprocess_for
from deadlib.errors import ExportError
from deadlib.inputs import ProgressCallback
from deadlib.outputs import write_errors, written_whole
from deadlib.runs import RECIPE, Run
from deadlib.serving.bundle import DESCRIPTION, EXTRA
from deadlib.serving.card import make_card, write_card
from deadlib.serving.description import description
from deadlib.serving.evaluated import find_report, read_evaluation
from deadlib.serving.expected import expected_of
from deadlib.serving.golden import GOLDEN, TOLERANCE, differences
from deadlib.serving.onnx_file import ONNX, write_onnx
from deadlib.serving.own_words import read_own_words
from deadlib.serving.signature import ServedNetwork
from deadlib.serving.warmup import write_warmup

CHECKED_ON = "/CPU:0"
"""GPUs round convolutions differently for each size of a batch, by more than the tolerance."""


def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    report: str | Path | None = None,
    card: str | Path | None = None,
    onnx: bool = False,
    progress: ProgressCallback | None = None,
) -> Path:
    """Write the run's network as the next version below `out` and return that folder.

    The SavedModel takes float images (`serving_default`) and, for 1, 3 or 4 channels, the bytes of
    PNG, JPEG or BMP files (`encoded`); for a run with input.normalise: plate both also with the
    statistics of the plate (`plate`, `encoded_plate`). It gives class_name (B,), class_names
    (B, K), probability (B, K) and embedding (B, D); of a calibrated run the probability is
    calibrated, and there are prediction_set (B, K) bool and out_of_distribution (B,). `gradcam`
    gives the evidence (B, h, w) for the most probable class, `gradcam_of_class` that for any. See
    docs/serve.md.

    Beside it stand stored images with the answers expected for them, requests by which TensorFlow
    Serving warms up, and a model card. report: what deadlib-evaluate wrote on this run (a folder or
    its report.json), by default one that lies in the run's folder; without one the card says that
    nobody evaluated it. card: a YAML file of words for the card. onnx: also write the network
    with its preprocessing as model.onnx.

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
    words = read_own_words(card)
    found_report = Path(report) if report is not None else find_report(run)
    evaluation = read_evaluation(found_report, run.classes) if found_report else None
    with tf.device(CHECKED_ON):
        origin, golden = expected_of(run)
    _report(progress, 1)
    # Loaded anew: a SavedModel remembers on which device its variables stood.
    served = _served(run)
    version = out / str(_next_version(out))
    with written_whole(version) as partial:
        with _disk_errors():
            tf.saved_model.save(served.variables(), str(partial), signatures=served.signatures())
        _report(progress, 2)
        with tf.device(CHECKED_ON):
            found = differences(tf.saved_model.load(str(partial)).signatures, golden)
        _refuse_differences(run, found)
        extra = partial / EXTRA
        extra.mkdir()
        golden.write(extra / GOLDEN)
        described = description(run, origin, golden, found)
        if onnx:
            described["onnx"] = {"file": ONNX, "largest_difference": write_onnx(extra, run, golden)}
        _write_json(extra / DESCRIPTION, described)
        write_warmup(extra, out.name, described["signatures"], golden)
        made = make_card(run, out.name, int(version.name), described, evaluation, words)
        write_card(extra, made)
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


def _served(run: Run) -> ServedNetwork:
    return ServedNetwork(
        run.network(),
        preprocess_for(run.recipe.input, run.dataset),
        run.recipe.input,
        classes=run.classes,
        channels=run.channels,
        integers=not run.recipe.input.illumination
        and "float32" not in run.dataset["card"]["dtypes"],
        calibration=run.calibration,
    )


def _refuse_differences(run: Run, found: dict[str, float]) -> None:
    for signature, difference in found.items():
        # Written so that NaN is refused too.
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{run.folder}: the exported signature {signature} differs from the network by "
                f"{difference:.1e}, expected at most {TOLERANCE:.0e}; nothing was exported; "
                "please report it with the run's versions.json and recipe.yaml"
            )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _next_version(out: Path) -> int:
    if not out.is_dir():
        return 1
    found = [int(path.name) for path in out.iterdir() if path.name.isdecimal()]
    return max(found, default=0) + 1


def _report(progress: ProgressCallback | None, done: int) -> None:
    if progress is not None:
        progress("export", done, 3)

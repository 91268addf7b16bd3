"""An exported model opens without its run, and says where its answers have changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.errors import ExportError
from deadlib.interpretation.gradcam import heat_maps
from deadlib.models import last_convolution
from deadlib.runs import Run
from deadlib.serving import open_bundle


def test_a_bundle_tells_what_a_server_needs(out: Path) -> None:
    bundle = open_bundle(out)
    assert (bundle.version, bundle.folder) == (1, out / "1")
    assert (bundle.classes, bundle.channels) == (["dead", "living"], ["intensity"])
    assert (bundle.calibrated, bundle.out_of_distribution_above) == (False, None)
    assert (bundle.fit, bundle.window_px) == ("resize", None)
    assert set(bundle.signatures) == {"serving_default", "encoded", "gradcam", "gradcam_of_class"}


def test_the_highest_version_is_opened(out: Path, tmp_path: Path) -> None:
    for name in ("2", "10"):
        shutil.copytree(out / "1", tmp_path / name)
    (tmp_path / "11").mkdir()  # not written yet
    assert open_bundle(tmp_path).version == 10
    assert open_bundle(tmp_path / "2").version == 2


def test_unchanged_answers_are_found_unchanged(out: Path) -> None:
    told: list[str] = []
    found = open_bundle(out).check(told.append)
    assert set(found) == {"serving_default", "encoded", "gradcam", "gradcam_of_class"}
    assert max(found.values()) < 1e-5
    assert told == []


def test_changed_answers_are_told_with_both_versions(out: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(out / "1", tmp_path / "1")
    path = folder / "assets.extra" / "golden.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["probability"] = arrays["probability"][:, ::-1]
    np.savez_compressed(path, **arrays)
    described = json.loads((folder / "assets.extra" / "deadlib.json").read_text())
    described["exported_with"]["tensorflow"] = "2.19.0"
    (folder / "assets.extra" / "deadlib.json").write_text(json.dumps(described))
    told: list[str] = []
    found = open_bundle(tmp_path).check(told.append)
    assert found["serving_default"] > 0.01
    assert len(told) == 1
    here = f"stored with tensorflow 2.19.0, answered with tensorflow {tf.__version__}"
    assert here in told[0]


def test_answers_that_are_no_numbers_are_told(out: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(out, tmp_path / "model")
    path = folder / "1" / "assets.extra" / "golden.npz"
    with np.load(path) as stored:
        golden = dict(stored)
    golden["evidence"] = golden["evidence"] * np.nan
    np.savez_compressed(path, **golden)
    told: list[str] = []
    found = open_bundle(folder).check(warn=told.append)
    assert found["serving_default"] < 1e-4
    assert np.isnan(found["gradcam"])
    assert "signature gradcam" in told[0]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "cannot be read"),
        (lambda folder: (folder / "1" / "saved_model.pb").unlink(), "no exported model"),
        (lambda folder: (folder / "1/assets.extra/deadlib.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "1/assets.extra/deadlib.json").write_text("{}"), "another vers"),
    ],
    ids=["gone", "no model", "damaged", "of an earlier deadlib"],
)
def test_what_is_no_bundle_is_said_in_words(
    out: Path, tmp_path: Path, break_it: Callable[[Path], object], message: str
) -> None:
    folder = shutil.copytree(out, tmp_path / "model")
    break_it(folder)
    with pytest.raises(ExportError, match=message):
        open_bundle(folder)


def test_evidence_is_that_of_the_run(shared_run: Run, out: Path) -> None:
    signatures = open_bundle(out).signatures
    images = np.random.default_rng(0).random((3, 20, 26, 1)).astype(np.float32)
    network = shared_run.network()
    fitted = np.stack([np.asarray(fit_size(image, shared_run.recipe.input)) for image in images])
    seen = np.asarray(preprocess_for(shared_run.recipe.input, shared_run.dataset)(fitted))
    layer = last_convolution(network)
    asked = np.array([1, 0, 1], np.int32)
    found = signatures["gradcam_of_class"](image=images, class_index=asked)["evidence"]
    np.testing.assert_allclose(found, heat_maps(network, seen, asked, layer), atol=1e-5)
    likeliest = network.predict(seen, verbose=0).argmax(axis=1)
    found = signatures["gradcam"](image=images)["evidence"]
    np.testing.assert_allclose(found, heat_maps(network, seen, likeliest, layer), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="class_index from 0 to 1"):
        signatures["gradcam_of_class"](image=images, class_index=np.array([0, 1, 2], np.int32))

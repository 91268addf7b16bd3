"""An export is checked before it counts, and TensorFlow alone can load it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from finished_run import make_dataset, make_run

from deadlib import runs
from deadlib.errors import ExportError, RunError
from deadlib.inference import predict
from deadlib.recipe import recipe_text
from deadlib.runs import Run
from deadlib.serving import export
from tfrecords_tools import ConversionSettings, WriteError
from tfrecords_tools.dataset import Dataset

WITHOUT_DEADLIB = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"deadlib", "tfrecords_tools", "pandas", "pyarrow", "pydantic"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Absent())
import numpy as np
import tensorflow as tf

folder = sys.argv[1]
served = tf.saved_model.load(folder).signatures
with np.load(folder + "/assets.extra/golden.npz") as golden:
    count = len(golden["example_id"])
    files = [golden[f"file_{number}"].tobytes() for number in range(count)]
    images = np.stack([golden[f"image_{number}"] for number in range(count)])
    floats = (images / np.iinfo(images.dtype).max).astype(np.float32)
    for answer in (served["encoded"](image_bytes=tf.constant(files)),
                   served["serving_default"](image=tf.constant(floats))):
        np.testing.assert_allclose(answer["probability"], golden["probability"], atol=1e-5)
        np.testing.assert_allclose(answer["embedding"], golden["embedding"], atol=1e-4)
assert not any(name.startswith(("deadlib", "tfrecords_tools")) for name in sys.modules)
print(count, answer["class_name"].numpy()[0].decode())
"""


SIGNATURES = {"serving_default", "encoded", "gradcam", "gradcam_of_class"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), dataset, {"normalise": "dataset"})


@pytest.fixture(scope="module")
def version(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, tmp_path_factory.mktemp("served") / "model")


def description(version: Path) -> dict:
    return json.loads((version / "assets.extra" / "deadlib.json").read_text())


def test_tensorflow_alone_answers_as_the_run_does(version: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DEADLIB, str(version)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[0] == "6"
    assert done.stdout.split()[1] in ("dead", "living")


def test_files_are_answered_as_deadlib_predicts_them(
    run: Run, dataset: Dataset, version: Path, tmp_path: Path
) -> None:
    import pandas as pd

    frame = pd.read_parquet(predict(run, dataset.folder, tmp_path / "x.parquet"))
    images = dataset.folder.parent / "images"
    files = [(images / paths[0]).read_bytes() for paths in frame["source_paths"]]
    answer = tf.saved_model.load(str(version)).signatures["encoded"](tf.constant(files))
    names = [f"probability_{name}" for name in run.classes]
    np.testing.assert_allclose(answer["probability"], frame[names], atol=1e-5)
    found = [name.decode() for name in answer["class_name"].numpy()]
    assert found == frame["predicted"].tolist()


def test_the_description_says_what_goes_in_and_what_comes_out(run: Run, version: Path) -> None:
    told = description(version)
    assert told["classes"] == ["dead", "living"]
    assert told["channels"] == ["intensity"]
    assert set(told["signatures"]) == SIGNATURES
    assert set(told["check"]["largest_difference"]) == SIGNATURES
    assert max(told["check"]["largest_difference"].values()) < 1e-4
    assert told["check"]["images"] == run.dataset["path"]


def test_a_disagreeing_export_is_not_left_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["deadlib.serving.export"], "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="serving_default differs from the network"):
        export(run, tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []


def test_without_its_dataset_the_next_version_is_checked_on_noise(
    dataset: Dataset, tmp_path: Path
) -> None:
    moved = make_run(tmp_path / "run", dataset, {"fit": "crop"})
    described = json.loads((moved.folder / runs.DATASET).read_text())
    described["path"] = str(tmp_path / "gone")
    (moved.folder / runs.DATASET).write_text(json.dumps(described))
    (tmp_path / "served" / "7").mkdir(parents=True)
    version = export(moved.folder, tmp_path / "served")
    assert version.name == "8"
    assert "seeded noise" in description(version)["check"]["images"]


def test_channels_that_no_picture_holds_go_in_as_floats(tmp_path: Path) -> None:
    names = ("dna", "er", "actin", "mito", "rna")
    settings = ConversionSettings(channels=names, fractions=(0.5, 0.25, 0.25))
    run = make_run(tmp_path / "run", make_dataset(tmp_path, settings, channels=5, count=4))
    told = description(export(run, tmp_path / "served"))
    assert set(told["signatures"]) == SIGNATURES - {"encoded"}
    assert "channels dna, er, actin, mito, rna" in told["signatures"]["serving_default"]["image"]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run directory"):
        export(tmp_path, tmp_path / "served")


def test_a_folder_of_others_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds files but no exported version"):
        export(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (tf.errors.ResourceExhaustedError, r"1: cannot be written \(No space left"),
        (tf.errors.PermissionDeniedError, r"1: cannot be written \(refused\)"),
    ],
)
def test_what_the_disk_refuses_tensorflow_is_one_message(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type, message: str
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error(None, None, "refused")

    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(WriteError, match=message):
        export(run, tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []


def test_a_network_that_needs_neighbours_is_not_served(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    model = run.recipe.model.model_copy(update={"bn_at_test": "batch"})
    recipe = run.recipe.model_copy(update={"model": model})
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / runs.RECIPE).write_text(recipe_text(recipe))
    with pytest.raises(ExportError, match=r"write bn_at_test: moving into .*recipe\.yaml"):
        export(folder, tmp_path / "served")
    assert not (tmp_path / "served").exists()

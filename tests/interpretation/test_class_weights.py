"""Class weights are the mean over the training images of a class, and are kept as long as true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from finished_run import make_dataset, make_run, write_images

from deadlib import runs
from deadlib.errors import InputError
from deadlib.inputs import RunInput, open_input
from deadlib.interpretation.class_weights import class_weights, stored_path
from deadlib.interpretation.examples import as_seen
from deadlib.interpretation.gradcam import maps_and_weights
from deadlib.models import last_convolution
from tfrecords_tools import open_dataset


@pytest.fixture
def given(tmp_path: Path) -> RunInput:
    dataset = make_dataset(tmp_path, count=4)
    run = make_run(tmp_path / "run", dataset)
    return open_input(run, dataset.folder, tmp_path / "unused")


def computed(given: RunInput, layer: str = "block1_2_relu") -> np.ndarray:
    return class_weights(given, given.run.network(), layer, warn=pytest.fail).weights


def test_they_are_the_mean_of_the_weights_of_each_training_image(given: RunInput) -> None:
    network, manifest = given.run.network(), given.dataset.manifest
    found = class_weights(given, network, "block1_2_relu")
    for index, name in enumerate(given.run.classes):
        rows = manifest.index[(manifest["split"] == "train") & (manifest["label"] == name)]
        seen = as_seen(given, [given.image(int(row)) for row in rows], rows.to_numpy())
        each = [
            maps_and_weights(network, seen[i : i + 1], [index], "block1_2_relu")[1]
            for i in range(len(rows))
        ]
        np.testing.assert_allclose(found.weights[index], np.mean(each, axis=0)[0], rtol=1e-4)
        assert found.images[name] == len(rows) > 0
    assert not np.allclose(found.weights[0], found.weights[1])


def test_they_are_kept_and_outlive_the_training_dataset(given: RunInput, tmp_path: Path) -> None:
    weights = computed(given)
    shutil.move(given.dataset.folder, tmp_path / "elsewhere")
    fresh = write_images(tmp_path / "fresh", count=1, seed=9)
    other = open_input(given.run, fresh, tmp_path / "fresh-dataset")
    np.testing.assert_array_equal(computed(other), weights)
    with pytest.raises(InputError, match="put the dataset back, give it as INPUT once"):
        class_weights(other, given.run.network(), "block2_2_relu")


def test_the_dataset_may_lie_elsewhere(given: RunInput, tmp_path: Path) -> None:
    weights = computed(given)
    stored_path(given.run, "block1_2_relu").unlink()
    shutil.move(given.dataset.folder, tmp_path / "elsewhere")
    moved = open_input(given.run, tmp_path / "elsewhere", tmp_path / "unused")
    np.testing.assert_array_equal(computed(moved), weights)


@pytest.mark.parametrize("change", ["network_sha256", "fingerprint", "layer", "damage"])
def test_a_file_of_another_network_or_dataset_is_not_taken(given: RunInput, change: str) -> None:
    weights = computed(given)
    path = stored_path(given.run, "block1_2_relu")
    stored = json.loads(path.read_text())
    stored["weights"] = {name: [7.0] * 4 for name in given.run.classes}
    if change == "damage":
        path.write_text(path.read_text()[:-20])
    else:
        path.write_text(json.dumps({**stored, change: "of another"}))
    np.testing.assert_array_equal(computed(given), weights)
    assert json.loads(path.read_text())["weights"] != stored["weights"]


def test_an_unchanged_file_is_taken(given: RunInput) -> None:
    computed(given)
    path = stored_path(given.run, "block1_2_relu")
    stored = json.loads(path.read_text())
    stored["weights"] = {name: [7.0] * 4 for name in given.run.classes}
    path.write_text(json.dumps(stored))
    assert (computed(given) == 7).all()


def test_without_the_training_dataset_other_training_examples_stand_in(
    given: RunInput, tmp_path: Path
) -> None:
    shutil.rmtree(given.dataset.folder)
    other = make_dataset(tmp_path / "other", count=4, seed=8)
    told: list[str] = []
    replacement = open_input(given.run, other.folder, tmp_path / "unused")
    network = given.run.network()
    found = class_weights(replacement, network, last_convolution(network), warn=told.append)
    assert "mean over the training examples of" in told[0]
    assert found.fingerprint == open_dataset(other.folder).fingerprint


def test_a_class_without_training_images_is_named(given: RunInput) -> None:
    manifest = given.dataset.manifest
    manifest.loc[manifest["label"] == "living", "label"] = None
    with pytest.raises(InputError, match="no training example of living"):
        class_weights(given, given.run.network(), "block1_2_relu")


def test_a_run_that_cannot_be_written_still_gives_them(given: RunInput) -> None:
    (given.run.folder / "class_weights").write_text("in the way")
    told: list[str] = []
    found = class_weights(given, given.run.network(), "block1_2_relu", warn=told.append)
    assert np.isfinite(found.weights).all()
    assert "will be computed again" in told[0]


def test_overwriting_a_run_takes_them_away(given: RunInput) -> None:
    computed(given)
    runs.start(given.run.folder, given.run.recipe, overwrite=True)
    assert not stored_path(given.run, "block1_2_relu").exists()

"""A served model answers as the calibrated run does: probability, prediction set, distance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from finished_run import make_dataset, make_run

from deadlib.calibration import Neighbours
from deadlib.errors import ExportError
from deadlib.inference import calibrate_run, predict
from deadlib.runs import Run
from deadlib.serving import export
from deadlib.serving.signature import out_of_distribution
from tfrecords_tools import ConversionSettings
from tfrecords_tools.dataset import Dataset


def silent(sentence: str) -> None:
    pass


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    settings = ConversionSettings(fractions=(0.25, 0.5, 0.25))
    return make_dataset(tmp_path_factory.mktemp("grey"), settings, count=16)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("run"), dataset)
    calibrate_run(run, coverage=0.8, warn=silent)
    return Run.open(run.folder)


def test_the_served_model_says_what_the_table_says(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    version = export(run, tmp_path / "served")
    frame = pd.read_parquet(predict(run, dataset.folder, tmp_path / "x.parquet"))
    images = dataset.folder.parent / "images"
    files = [(images / paths[0]).read_bytes() for paths in frame["source_paths"]]
    served = tf.saved_model.load(str(version)).signatures["encoded"]
    answer = {name: value.numpy() for name, value in served(tf.constant(files)).items()}
    names = [f"probability_{name}" for name in run.classes]
    np.testing.assert_allclose(answer["probability"], frame[names], atol=1e-5)
    sets = [[name in found for name in run.classes] for found in frame["prediction_set"]]
    assert answer["prediction_set"].tolist() == sets
    np.testing.assert_allclose(
        answer["out_of_distribution"], frame["out_of_distribution"], atol=1e-3
    )
    told = json.loads((version / "assets.extra" / "deadlib.json").read_text())
    assert {"probability", "prediction_set", "out_of_distribution"} <= set(told["outputs"])
    assert told["calibration"]["temperature"] == frame["softmax_temperature"][0]
    with np.load(version / "assets.extra" / "golden.npz") as golden:
        assert golden["prediction_set"].dtype == bool


def test_the_graph_measures_distance_as_numpy_does() -> None:
    generator = np.random.default_rng(0)
    training = generator.normal(3, 2, (300, 16)).astype(np.float32)
    apart = np.repeat(generator.normal(3, 2, (40, 16)), 2, axis=0).astype(np.float32)
    known = Neighbours.fit(training, apart, np.full(80, 1 / 80))
    new = np.concatenate(
        [training[:50], apart[:50], generator.normal(3, 4, (200, 16)), -np.ones((1, 16))]
    ).astype(np.float32)
    found = tf.function(lambda x: out_of_distribution(x, known))(tf.constant(new))
    expected = known.out_of_distribution(new)
    assert 0.1 < expected.mean() < 0.9
    away = np.abs(found - expected)
    # of examples at one distance the share jumps, and rounding may fall to either side
    assert np.mean(away < 1e-3) > 0.8
    assert away.max() < 2 / 80 + 1e-3
    assert found.numpy()[-1] == 1.0


def test_a_calibration_that_the_graph_does_not_keep_is_not_exported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(embedding: tf.Tensor, known: Neighbours) -> tf.Tensor:
        return tf.zeros(tf.shape(embedding)[:1]) - 1

    monkeypatch.setattr("deadlib.serving.signature.out_of_distribution", never)
    with pytest.raises(ExportError, match="serving_default differs from the network"):
        export(run, tmp_path / "served")


def test_a_calibration_for_more_views_is_not_served(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    calibrate_run(folder, coverage=0.8, views=4, warn=silent)
    with pytest.raises(ExportError, match="a server looks at each image once"):
        export(folder, tmp_path / "served")

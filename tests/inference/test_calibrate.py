"""A run is calibrated on what it did not learn from, and predicts by that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished_run import make_dataset, make_run
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from deadlib import runs
from deadlib.calibration import uncalibrated
from deadlib.errors import InputError, RunError
from deadlib.inference import calibrate_run, predict, read_metadata
from deadlib.inference.calibrate import doubts
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, PlanError
from tfrecords_tools.dataset import Dataset

COLUMNS = ["probability_dead", "probability_living"]


def silent(sentence: str) -> None:
    pass


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    settings = ConversionSettings(fractions=(0.25, 0.5, 0.25))
    return make_dataset(tmp_path_factory.mktemp("grey"), settings, count=16)


@pytest.fixture(scope="module")
def plain(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("plain"), dataset)


@pytest.fixture(scope="module")
def raw(plain: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("raw") / "all.parquet"
    return pd.read_parquet(predict(plain, dataset.folder, out, split="all", warn=silent))


@pytest.fixture(scope="module")
def run(plain: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = shutil.copytree(plain.folder, tmp_path_factory.mktemp("calibrated") / "run")
    calibrate_run(folder, coverage=0.8, warn=silent)
    return Run.open(folder)


@pytest.fixture(scope="module")
def table(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted") / "all.parquet"
    return predict(run, dataset.folder, out, split="all", warn=silent)


def test_the_temperature_is_that_of_the_validation_examples(run: Run, raw: pd.DataFrame) -> None:
    held = raw[raw["split"] == "validation"]
    logits = np.log(held[COLUMNS].to_numpy())
    labels = (held["label"] == "living").to_numpy(int)

    def loss(temperature: float) -> float:
        told = log_softmax(logits / temperature, axis=1)
        return float(-told[np.arange(len(labels)), labels].mean())

    best = minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-8})
    assert run.calibration is not None
    assert run.calibration.temperature == pytest.approx(best.x, rel=1e-3)
    assert run.calibration.about["loss"]["after"] == pytest.approx(best.fun, rel=1e-5)
    assert run.calibration.about["loss"]["before"] == pytest.approx(loss(1.0), rel=1e-5)
    assert abs(best.x - 1) > 0.03, "without a change of the temperature nothing is shown"


def test_predictions_are_calibrated_and_lead_back(table: Path, raw: pd.DataFrame) -> None:
    found = pd.read_parquet(table)
    assert found["predicted"].tolist() == raw["predicted"].tolist()
    confidence, before = found[COLUMNS].max(axis=1), raw[COLUMNS].max(axis=1)
    surer = found["softmax_temperature"][0] < 1
    assert ((confidence > before) if surer else (confidence < before)).all()
    back = uncalibrated(found[COLUMNS].to_numpy(), found["softmax_temperature"].to_numpy())
    np.testing.assert_allclose(back, raw[COLUMNS], atol=1e-6)
    assert read_metadata(table)["calibration"]["temperature"] == found["softmax_temperature"][0]


def test_sets_hold_the_classes_that_reach_their_threshold(run: Run, table: Path) -> None:
    frame = pd.read_parquet(table)
    least = json.loads((run.folder / "calibration.json").read_text())["least_probability"]
    expected = [
        [name for name in run.classes if row[f"probability_{name}"] >= least[name]]
        for row in frame.to_dict("records")
    ]
    assert [list(found) for found in frame["prediction_set"]] == expected
    assert len({len(names) for names in expected}) > 1
    held = frame[frame["split"] == "validation"]
    inside = [
        label in names for label, names in zip(held["label"], held["prediction_set"], strict=True)
    ]
    assert np.mean(inside) >= 0.8


def test_the_share_is_that_of_validation_examples_closer_to_training(
    table: Path, raw: pd.DataFrame
) -> None:
    scaled = np.stack(raw["embedding"])
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    training = scaled[(raw["split"] == "train").to_numpy()]
    distance = np.sort(cdist(scaled, training), axis=1)[:, 4]
    held = distance[(raw["split"] == "validation").to_numpy()]
    expected = (held < distance[:, None] * (1 - 1e-6)).mean(axis=1)
    found = pd.read_parquet(table)["out_of_distribution"].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1 / len(held) + 1e-6)
    assert np.ptp(found) > 0.5


def test_a_set_of_columns_more_and_none_without_calibration(table: Path, raw: pd.DataFrame) -> None:
    added = ["prediction_set", "out_of_distribution", "softmax_temperature"]
    assert [name for name in pd.read_parquet(table) if name not in raw] == added


def test_what_training_chose_by_is_said(plain: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(plain.folder, tmp_path / "run")
    said: list[str] = []
    path = calibrate_run(folder, warn=said.append)
    assert path == folder / "calibration.json"
    assert any("split validation, by which training also chose" in line for line in said)
    assert any("8 groups (group), and a promise of 0.9 takes 9" in line for line in said)
    assert Run.open(folder).calibration.least.tolist() == [0, 0]


def test_another_labelled_dataset_calibrates(plain: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(plain.folder, tmp_path / "run")
    everything = ConversionSettings(fractions=(0, 0, 1))
    other = make_dataset(tmp_path / "other", everything, count=10, seed=9)
    said: list[str] = []
    calibrate_run(folder, other.folder, warn=said.append)
    # barely trained, it guesses on other images; nothing else is to be said
    assert [line for line in said if "better than guessing" not in line] == []
    told = json.loads((folder / "calibration.json").read_text())
    assert (told["dataset"], told["split"], told["examples"]) == (str(other.folder), "all", 20)
    assert told["seen_in_training"] == 0
    assert told["classes"]["dead"] == {"examples": 10, "groups": 10}


def test_images_learnt_from_are_refused_or_told(
    plain: Run, dataset: Dataset, tmp_path: Path
) -> None:
    folder = shutil.copytree(plain.folder, tmp_path / "run")
    for split in ("train", "all"):
        with pytest.raises(InputError, match="holds what the network learnt from"):
            calibrate_run(folder, split=split, warn=silent)
    again = make_dataset(tmp_path / "again", ConversionSettings(fractions=(0, 0, 1)), count=16)
    said: list[str] = []
    calibrate_run(folder, again.folder, warn=said.append)
    learnt = int((dataset.manifest["split"] == "train").sum())
    assert any(f"{learnt} of the images also stand in the training split" in x for x in said)


def test_without_labels_there_is_nothing_to_compare(plain: Run, tmp_path: Path) -> None:
    other = make_dataset(
        tmp_path, ConversionSettings(labels="none", labels_required=False, fractions=(0, 0, 1))
    )
    with pytest.raises(InputError, match=r"no example of split all has a label"):
        calibrate_run(plain, other.folder, warn=silent)
    assert plain.calibration is None


def test_a_column_that_is_not_there_is_named(plain: Run) -> None:
    for how in ({"group_by": "wel"}, {"per": "wel"}):
        with pytest.raises(PlanError, match="wel: no such column"):
            calibrate_run(plain, warn=silent, **how)
    with pytest.raises(InputError, match="expected a share between 0 and 1"):
        calibrate_run(plain, coverage=90, warn=silent)


def test_a_run_whose_dataset_is_gone_says_why_it_is_needed(plain: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain.folder, tmp_path / "run"))
    told = json.loads((folder / runs.DATASET).read_text())
    (folder / runs.DATASET).write_text(json.dumps({**told, "path": str(tmp_path / "gone")}))
    with pytest.raises(InputError, match="distances are measured to images that the network"):
        calibrate_run(folder, warn=silent)


def test_views_must_be_those_of_the_calibration(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"was calibrated for --views 1.*calibrate again"):
        predict(run, dataset.folder, tmp_path / "x.parquet", views=4)


def test_a_network_trained_anew_is_not_calibrated_by_the_old_one(run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    network = run.network()
    network.set_weights([2 * weights for weights in network.get_weights()])
    network.save(folder / runs.MODEL)
    with pytest.raises(RunError, match="was calibrated with another network"):
        _ = Run.open(folder).calibration
    recipe = run.recipe
    runs.start(folder, recipe, overwrite=True)
    assert not (folder / "calibration.json").exists()


def test_a_network_that_knows_nothing_is_told() -> None:
    about: dict[str, Any] = {"classes": {}, "error_rate": 0.5, "seen_in_training": 0}
    assert doubts(0.9, 3.0, about) == []
    (sentence,) = doubts(0.9, 100.0, about)
    assert "train a better model first" in sentence

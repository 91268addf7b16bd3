"""A second plate, twice as bright: seen on its own scale it is classified as well as the first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from deadlib.errors import InputError
from deadlib.inference import predict
from deadlib.interpretation import explain
from deadlib.recipe import parse_recipe
from deadlib.runs import DATASET, RECIPE, Run
from deadlib.serving import export
from deadlib.training import train
from tfrecords_tools import ConversionSettings, Dataset, PlanError, convert

PATTERN = "{plate}_{well}_{treatment}_{label}.png"
GAINS = {"P1": 1, "P2": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve wells of three images of each plate; dead cells are brighter than living ones."""
    folder = tmp_path_factory.mktemp("plates") / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for plate, gain in GAINS.items():
        for well in range(36):
            label = ("dead", "living")[well % 2]
            light = {"dead": 140, "living": 100}[label]
            pixels = gain * generator.normal(light, 10, (16, 16))
            treatment = "DMSO" if label == "living" else "drug"
            name = f"{plate}_W{well // 3:02}x{well % 2}_{treatment}_{label}.png"
            Image.fromarray(pixels.clip(0, 65535).astype(np.uint16)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def dataset(images: Path) -> Dataset:
    """Plate P1 for training and validation, plate P2 for the test."""
    settings = ConversionSettings(
        labels="pattern", pattern=PATTERN, fractions=(0.6, 0.4, 0), hold_out=("plate=P2",)
    )
    return convert(images, images.parent / "dataset", settings)


def trained(dataset: Dataset, normalise: str, folder: Path) -> Run:
    recipe = parse_recipe(
        {
            "dataset": str(dataset.folder),
            "model": {"width": 4, "blocks": 2},
            "input": {"size_px": [16, 16], "normalise": normalise},
            "augment": [{"name": "flip"}],
            "optimiser": {"learning_rate": 0.03},
            "training": {"epochs": 12, "batch": 8, "deterministic": False, "jit": "off"},
        }
    )
    return train(recipe, folder, warn=lambda sentence: None)


@pytest.fixture(scope="module")
def run(dataset: Dataset) -> Run:
    return trained(dataset, "plate", dataset.folder.parent / "run")


@pytest.fixture(scope="module")
def table(run: Run, dataset: Dataset) -> pd.DataFrame:
    out = dataset.folder.parent / "all.parquet"
    predict(run, dataset.folder, out, split="all", warn=lambda sentence: None)
    return pd.read_parquet(out)


def accuracy(table: pd.DataFrame) -> dict[str, float]:
    right = table["predicted"] == table["label"]
    return right.groupby(table["split"]).mean().to_dict()


def test_the_brighter_plate_is_classified_as_well(table: pd.DataFrame) -> None:
    found = accuracy(table)
    assert found["validation"] == 1
    assert found["test"] == 1


def test_by_the_scale_of_the_other_plate_it_is_not(dataset: Dataset, tmp_path: Path) -> None:
    other = trained(dataset, "dataset", tmp_path / "run")
    out = predict(other, dataset.folder, tmp_path / "x.parquet", split="all", warn=lambda s: None)
    found = accuracy(pd.read_parquet(out))
    assert found["validation"] == 1
    assert found["test"] < 0.7


def test_new_plates_are_measured_by_themselves(
    run: Run, images: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    """P2 was measured without labels, on all its images: so it is as a folder of new images."""
    (tmp_path / "new").mkdir()
    for path in images.glob("P2_*"):
        shutil.copy(path, tmp_path / "new")
    found = pd.read_parquet(predict(run, tmp_path / "new", tmp_path / "x.parquet", batch=5))
    expected = table[table["split"] == "test"].set_index("example_id")["probability_dead"]
    found = found.set_index("example_id")["probability_dead"]
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), atol=1e-5)


@pytest.fixture(scope="module")
def signatures(run: Run) -> Any:
    version = export(run, run.folder.parent / "served")
    return tf.saved_model.load(str(version)).signatures


def test_the_served_network_agrees(signatures: Any, images: Path, table: pd.DataFrame) -> None:
    """With the plate's statistics as anybody computes them; without, as on the training plate."""
    of_images = {"serving_default", "plate", "encoded", "encoded_plate"}
    of_evidence = {"gradcam", "gradcam_plate", "gradcam_of_class", "gradcam_of_class_plate"}
    assert set(signatures) == of_images | of_evidence
    for plate, split in (("P2", "test"), ("P1", "validation")):
        rows = table[table["split"] == split]
        files = [images / paths[0] for paths in rows["source_paths"]]
        whole = table[table["split"].isin([split, "train"]) & (table["plate"] == plate)]
        fitted = whole[whole["split"] == ("test" if plate == "P2" else "train")]
        stored = np.stack([np.asarray(Image.open(images / p[0])) for p in fitted["source_paths"]])
        pixels = stored / 65535
        statistics = {
            "centre": tf.fill((len(files), 1), np.float32(pixels.mean())),
            "scale": tf.fill((len(files), 1), np.float32(pixels.std())),
        }
        data = tf.constant([path.read_bytes() for path in files])
        sent = np.stack([np.asarray(Image.open(path)) for path in files])[..., None] / 65535
        answers = {
            "encoded_plate": signatures["encoded_plate"](image_bytes=data, **statistics),
            "plate": signatures["plate"](image=tf.constant(sent, tf.float32), **statistics),
        }
        if plate == "P1":  # the only training plate: what is taken where nothing is said
            answers["encoded"] = signatures["encoded"](image_bytes=data)
        for name, answer in answers.items():
            dead = answer["probability"].numpy()[:, 0]
            np.testing.assert_allclose(dead, rows["probability_dead"], atol=1e-3, err_msg=name)


def test_a_scale_of_nothing_is_refused(signatures: Any) -> None:
    image, zero = tf.zeros((1, 16, 16, 1)), tf.zeros((1, 1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a finite scale above 0"):
        signatures["plate"](image=image, centre=zero, scale=zero)


def test_explanations_see_what_predictions_see(
    run: Run, dataset: Dataset, table: pd.DataFrame, tmp_path: Path
) -> None:
    explain(run, dataset.folder, tmp_path / "maps", count=6, sanity=False)
    maps = pd.read_csv(tmp_path / "maps" / "maps.csv").set_index("example_id")
    expected = table.set_index("example_id").loc[maps.index]
    assert maps["predicted"].tolist() == expected["predicted"].tolist()
    found = expected[["probability_dead", "probability_living"]].max(axis=1)
    np.testing.assert_allclose(maps["probability"], found, atol=1e-4)


def test_plates_compared_by_other_wells_are_refused(run: Run, images: Path, tmp_path: Path) -> None:
    settings = ConversionSettings(
        labels="pattern", pattern=PATTERN, normalise_to=("treatment=DMSO",), hold_out=("plate=P2",)
    )
    other = convert(images, tmp_path / "dataset", settings)
    with pytest.raises(InputError, match=r"compared by treatment=DMSO.*by all wells.*without"):
        predict(run, other.folder, tmp_path / "x.parquet")


def test_new_images_need_the_controls_of_the_run(run: Run, images: Path, tmp_path: Path) -> None:
    """And only where the run compares plates at all."""
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    told = json.loads((copy / DATASET).read_text())
    told["settings"]["normalise_to"] = ["treatment=DMSO"]
    (copy / DATASET).write_text(json.dumps(told))
    new = tmp_path / "new"
    new.mkdir()
    for path in images.glob("P2_*_drug_*"):
        shutil.copy(path, new)
    with pytest.raises(PlanError, match="normalise to treatment=DMSO: no such example on plate P2"):
        predict(copy, new, tmp_path / "x.parquet")
    recipe = (copy / RECIPE).read_text()
    (copy / RECIPE).write_text(recipe.replace("normalise: plate", "normalise: per_image"))
    assert predict(copy, new, tmp_path / "x.parquet").is_file()

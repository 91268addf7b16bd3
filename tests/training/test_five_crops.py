"""A run whose network sees five windows of every image: trained, asked, exported, explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deadlib.inference import predict
from deadlib.interpretation import explain
from deadlib.models import halves
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.serving import export
from deadlib.training import train
from tfrecords_tools import Dataset


def trained(recipe: Callable[..., Recipe], augment_on: str, folder: Path) -> Run:
    made = recipe(
        input={"size_px": [8, 8], "fit": "crop", "crops": 5, "normalise": "none"},
        augment=[{"name": "flip"}],
        training={"epochs": 4, "augment_on": augment_on},
    )
    return train(made, folder, warn=lambda sentence: None)


@pytest.fixture(scope="module")
def run(toy_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(toy_recipe, "device", tmp_path_factory.mktemp("five") / "run")


def test_it_learns_alike_wherever_crops_are_augmented(
    run: Run, toy_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    losses = run.history["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    on_host = trained(toy_recipe, "host", tmp_path / "run")
    np.testing.assert_allclose(on_host.history["train_loss"], losses, rtol=1e-3)


def test_the_table_holds_the_answer_to_the_mean_embedding(
    run: Run, toy_dataset: Dataset, tmp_path: Path
) -> None:
    table = pd.read_parquet(predict(run, toy_dataset.folder, tmp_path / "answers.parquet"))
    row = toy_dataset.manifest.index[toy_dataset.manifest["example_id"] == table["example_id"][0]]
    image = toy_dataset.read_example(int(row[0])).astype(np.float32)[..., :1] / 255
    corners = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    crops = np.stack([image[top : top + 8, left : left + 8] for top, left in corners])
    embed, classify = halves(run.network())
    embedding = np.asarray(embed(crops, training=False)).mean(axis=0)
    np.testing.assert_allclose(table["embedding"][0], embedding, atol=1e-5)
    logits = np.asarray(classify(embedding[None], training=False))[0]
    found = table[[f"probability_{name}" for name in run.classes]].iloc[0]
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), atol=1e-5)


def test_what_is_served_answers_alike(run: Run, tmp_path: Path) -> None:
    # export compares its answers with the run's own, and refuses to write others
    assert (export(run, tmp_path / "served") / "saved_model.pb").is_file()


def test_the_central_window_can_be_explained(
    run: Run, toy_dataset: Dataset, tmp_path: Path
) -> None:
    explain(run, toy_dataset.folder, tmp_path / "why", warn=lambda sentence: None)
    assert list((tmp_path / "why").rglob("*.html"))

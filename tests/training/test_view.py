"""A run whose recipe splits its dataset anew."""

from __future__ import annotations

import pandas as pd
import pytest

from deadlib.data.view import open_viewed
from deadlib.errors import RecipeError
from deadlib.inference import predict, read_metadata
from deadlib.runs import Run
from deadlib.training import train
from tfrecords_tools import open_dataset


@pytest.fixture(scope="module")
def run(toy_recipe, tmp_path_factory) -> Run:
    recipe = toy_recipe(split={"folds": 4, "fold": 2}, training={"epochs": 1})
    return train(recipe, tmp_path_factory.mktemp("view") / "run")


def test_training_and_prediction_share_the_splits_of_the_recipe(run, toy_dataset, tmp_path):
    out = predict(run, toy_dataset.folder, tmp_path / "predictions.parquet")
    table = pd.read_parquet(out)
    seen = open_viewed(run.recipe).manifest
    assert set(table["split"]) == {"test"}
    assert set(table["example_id"]) == set(seen[seen["split"] == "test"]["example_id"])
    # not those of the conversion
    converted = open_dataset(toy_dataset.folder).manifest
    assert set(table["example_id"]) != set(converted[converted["split"] == "test"]["example_id"])


def test_what_the_run_learnt_from_is_told_by_its_own_splits(run, toy_dataset, tmp_path):
    metadata = read_metadata(predict(run, toy_dataset.folder, tmp_path / "predictions.parquet"))
    assert metadata["seen_in_training"] == 0
    assert metadata["split"]["view"] == {"folds": 4, "fold": 2}
    out = tmp_path / "train.parquet"
    told = read_metadata(
        predict(run, toy_dataset.folder, out, split="train", warn=lambda sentence: None)
    )
    assert told["seen_in_training"] == len(pd.read_parquet(out))


def test_the_run_remembers_the_proof_of_its_view(run):
    assert run.dataset["split"]["view"] == {"folds": 4, "fold": 2}
    assert run.dataset["card"]["split"] == run.dataset["split"]


def test_plates_measured_for_other_splits_are_refused(toy_recipe):
    recipe = toy_recipe(split={"folds": 4}, input={"normalise": "plate"})
    with pytest.raises(RecipeError, match="convert again with --split-by"):
        open_viewed(recipe)

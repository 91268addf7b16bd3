"""A network that learns from the shares of annotators' votes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deadlib.data.view import open_viewed
from deadlib.data.votes import vote_shares
from deadlib.errors import RecipeError
from deadlib.inference import predict
from deadlib.losses import class_weights
from deadlib.predictions import open_predictions
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.training import train
from deadlib.training.build import build_trainer
from deadlib.training.checks import check_recipe
from deadlib.training.fit import describe_dataset
from deadlib.training.step import prepare
from tfrecords_tools import ConversionSettings, Dataset, convert


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Bright images, all votes B; dark ones, seven of ten votes A."""
    source: Path = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    rows = ["annotator,item,response"]
    for number in range(60):
        bright = number % 3 == 0
        pixels = generator.normal(160 if bright else 60, 10, (12, 12)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(source / f"{number:02}.png")
        said = "B" * 10 if bright else "A" * 7 + "B" * 3
        rows += [f"annotator{who},{number:02}.png,{answer}" for who, answer in enumerate(said)]
    (source / "log.csv").write_text("\n".join(rows) + "\n")
    settings = ConversionSettings(
        labels="annotations",
        annotations="log.csv",
        agreement="votes",
        fractions=(0.5, 0.25, 0.25),
        find_similar=False,
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


@pytest.fixture(scope="module")
def voting(toy_recipe, voted):
    def make(**sections) -> Recipe:
        sections["loss"] = {"targets": "votes"} | sections.get("loss", {})
        sections.setdefault("input", {"size_px": [12, 12], "normalise": "none"})
        return toy_recipe(dataset=str(voted.folder), **sections)

    return make


def test_the_loss_asks_for_the_shares_and_balances_by_them(voting, tmp_path):
    recipe = voting(loss={"class_weights": "balanced"})
    dataset = open_viewed(recipe)
    trainer = build_trainer(recipe, dataset, describe_dataset(dataset, recipe), cache=tmp_path)
    shares = vote_shares(dataset)
    batch = next(iter(trainer.validation_batches()))
    rows = batch["row"].numpy()
    _, targets = prepare(trainer.parts, {**batch, "image": trainer.images(batch)}, 0)
    assert np.array_equal(targets, shares[rows])
    found = trainer.forward(batch)
    in_training = (dataset.manifest["split"] == "train").to_numpy()
    weights = class_weights("balanced", dataset.classes, shares[in_training].sum(axis=0))
    expected = -(shares[rows] * weights * np.log(found["probabilities"].numpy())).sum(axis=1)
    assert found["losses"].numpy() == pytest.approx(expected, rel=1e-4)


def test_a_network_doubts_what_annotators_doubted(voting, tmp_path):
    recipe = voting(
        training={"epochs": None, "steps": 90, "batch": 10},
        validation={"keep": "last", "every_steps": 90},
    )
    run: Run = train(recipe, tmp_path / "run")
    table = open_predictions(predict(run, recipe.dataset, tmp_path / "predictions.parquet"))
    share_of_a = table.probabilities[:, table.classes.index("A")]
    dark = (table.frame["votes_A"] > 0).to_numpy()
    assert share_of_a[dark].mean() == pytest.approx(0.7, abs=0.1)
    assert share_of_a[~dark].mean() < 0.1


def test_votes_that_nobody_gave_are_refused(toy_recipe, toy_dataset):
    recipe = toy_recipe(loss={"targets": "votes"})
    with pytest.raises(RecipeError, match=r"loss.targets: votes, but .* no column votes_dead"):
        check_recipe(recipe, toy_dataset, lambda sentence: None)

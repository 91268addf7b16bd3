"""Training with a metric loss, on batches of plates and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe, parse_recipe, recipe_text
from deadlib.training import train
from deadlib.training.build import Trainer, build_trainer
from deadlib.training.checks import check_recipe
from deadlib.training.fit import describe_dataset
from deadlib.training.validation import Predictions, measure
from tfrecords_tools import ConversionSettings, Dataset, convert

RecipeMaker = Callable[..., Recipe]
TIMES = {"images_per_second", "input_wait_share", "seconds"}
LABELS = ("apoptosis", "ferroptosis", "healthy")


@pytest.fixture(scope="module")
def plated(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three plates, each brighter than the last, of 15 wells of 2 fields of 12 x 12 px.

    Plate 3 has no ferroptosis. Validation by wells.
    """
    source: Path = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for plate in (1, 2, 3):
        for well in range(15):
            kind = well % 3 if plate < 3 or well % 3 != 1 else 0
            folder = source / str(plate) / LABELS[kind]
            folder.mkdir(parents=True, exist_ok=True)
            for field in range(2):
                pixels = generator.normal(40 * plate, 10, (12, 12))
                pixels[3:9, 3 : 5 + 2 * kind] += 60
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / f"B{well + 1:02}_{field}.png")
    settings = ConversionSettings(
        labels="pattern", pattern="{plate}/{label}/{well}_{field}.png", fractions=(0.6, 0.4, 0.0)
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


@pytest.fixture(scope="module")
def recipe_for(plated: Dataset) -> RecipeMaker:
    def make(**sections: Any) -> Recipe:
        tree: dict[str, Any] = {
            "dataset": str(plated.folder),
            "model": {"width": 4, "blocks": 2},
            "input": {"size_px": [12, 12]},
            "sampling": {"name": "plates_and_classes", "plates": 3, "samples": 1},
            "loss": {"weight": 0.5},
            "metric_loss": {"name": "supervised_contrastive"},
            "optimiser": {"learning_rate": 0.01, "name": "sgd"},
            "training": {"epochs": 2, "batch": 9, "deterministic": False, "jit": "off"},
        }
        for name, value in sections.items():
            tree[name] = {**tree.get(name, {}), **value}
        return parse_recipe(tree)

    return make


def trainer_of(recipe: Recipe, dataset: Dataset, cache: Path) -> Trainer:
    return build_trainer(recipe, dataset, describe_dataset(dataset, recipe), cache=cache)


def test_two_devices_train_as_one(
    recipe_for: RecipeMaker, run_script: Callable[..., Any], tmp_path: Path
) -> None:
    """Shares of four and five; positives and negatives of an anchor stand on both devices."""
    recipe = recipe_for(
        metric_loss={"pairs": "across_plates", "weight": 2.0}, training={"deterministic": True}
    )
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    found = run_script("one_and_two_devices.py", tmp_path / "recipe.yaml", tmp_path)
    assert {"train_metric_loss", "validation_map_at_r"} <= set(found["one"])
    assert found["one"]["train_metric_loss"][0] > 0.1
    for name in set(found["one"]) - TIMES:
        one, two = (found[strategy][name] for strategy in ("one", "mirrored"))
        np.testing.assert_allclose(two, one, atol=1e-5, err_msg=name)


def test_an_epoch_is_the_plan_and_is_taken_up_at_any_step(
    plated: Dataset, recipe_for: RecipeMaker, tmp_path: Path
) -> None:
    trainer = trainer_of(recipe_for(), plated, tmp_path)
    steps = trainer.rounds.epoch
    found = [batch["row"].numpy() for batch in islice(trainer.batches(0), 2 * steps)]
    manifest = plated.manifest
    training = np.flatnonzero(manifest["split"] == "train")
    for rows in (found[:steps], found[steps:]):
        np.testing.assert_array_equal(np.unique(rows), training)
    for rows in found:
        plates = manifest["plate"].iloc[rows].astype(str).value_counts()
        assert plates.to_dict() == {"1": 3, "2": 3, "3": 3}
    again = [batch["row"].numpy() for batch in islice(trainer.batches(steps - 2), 4)]
    np.testing.assert_array_equal(again, found[steps - 2 : steps + 2])


def test_the_metric_loss_moves_the_body_and_not_the_head(
    plated: Dataset, recipe_for: RecipeMaker, tmp_path: Path
) -> None:
    recipe = recipe_for(loss={"weight": 1e-12}, optimiser={"weight_decay": 0.0})
    trainer = trainer_of(recipe, plated, tmp_path)
    former = [weight.numpy().copy() for weight in trainer.parts.network.trainable_variables]
    trainer.step(next(trainer.batches(0)), 0)
    moved = {
        weight.path: float(np.abs(weight.numpy() - before).max())
        for weight, before in zip(trainer.parts.network.trainable_variables, former, strict=True)
    }
    assert max(value for name, value in moved.items() if "logits" in name) < 1e-9
    assert (
        min(
            value
            for name, value in moved.items()
            if name.endswith("kernel") and "logits" not in name
        )
        > 1e-5
    )


def test_proxies_are_taken_up_and_map_at_r_picks_the_weights_kept(
    recipe_for: RecipeMaker, tmp_path: Path
) -> None:
    recipe = recipe_for(
        metric_loss={"name": "proxy_anchor"},
        optimiser={
            "name": "adam",
            "lowest_learning_rate": 0.001,
            "multipliers": {"proxies": {"learning_rate": 10}},
        },
        training={"checkpoint_every_steps": 1},
        validation={"metric": "map_at_r"},
    )
    whole = train(recipe, tmp_path / "whole")
    found = whole.history["validation_map_at_r"]
    assert found.between(0, 1).all()
    assert whole.kept_round == int(found.argmax()) + 1

    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 3:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tmp_path / "killed", progress=kill)
    resumed = train(recipe, tmp_path / "killed", resume=True)
    for name in ("train_loss", "train_metric_loss", "validation_map_at_r"):
        np.testing.assert_allclose(resumed.history[name], whole.history[name], rtol=1e-4)
    arrays = np.load(next((tmp_path / "killed" / "checkpoints" / "latest").glob("*.npz")))
    assert arrays["learnt/0000"].shape == (3, 8)


def test_groups_are_searched_by_their_mean_embedding() -> None:
    """Fields of one well lie together and do not find each other."""
    wells = np.repeat(["a", "b", "c", "d"], 2)
    angles = np.radians([0, 2, 40, 42, 20, 22, 60, 62])
    predictions = Predictions(
        row=np.arange(8),
        class_index=np.int32([0, 0, 0, 0, 1, 1, 1, 1]),
        probabilities=np.full((8, 2), 0.5, np.float32),
        losses=np.zeros(8, np.float32),
        embeddings=np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        * np.float32([[1], [9]] * 4),
    )
    found = measure(predictions, wells)
    assert found["validation_map_at_r"] == found["validation_precision_at_1"] == 0
    alone = measure(predictions, np.arange(8).astype(str))
    assert alone["validation_precision_at_1"] == 1
    without = Predictions(
        predictions.row, predictions.class_index, predictions.probabilities, predictions.losses
    )
    assert "validation_map_at_r" not in measure(without, wells)


def test_of_many_groups_some_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of the first half lie together, those of the second do not."""
    classes = np.arange(8, dtype=np.int32) // 2
    places = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 3, 3, 2]]
    predictions = Predictions(
        row=np.arange(8),
        class_index=classes,
        probabilities=np.full((8, 4), 0.25, np.float32),
        losses=np.zeros(8, np.float32),
        embeddings=places,
    )
    groups = np.arange(8).astype(str)
    assert measure(predictions, groups)["validation_precision_at_1"] == 0.5
    monkeypatch.setattr("deadlib.training.validation.MOST_SEARCHED", 1)
    assert np.isnan(measure(predictions, groups)["validation_precision_at_1"])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"batch": 10}}, r"batch: 10, .* 3 plates x 3 classes x 1 .*batch: 9"),
        ({"sampling": {"plates": 4}}, r"sampling.plates: 4 for each batch.* has 3"),
        ({"sampling": {"classes": 4}}, r"sampling.classes: 4 for each batch.* has 3"),
        ({"sampling": {"by": "plaet"}}, r"sampling.by: .* no column 'plaet'; did you mean plate"),
        (
            {
                "sampling": {"by": "height_px", "name": "random"},
                "metric_loss": {"pairs": "across_plates"},
            },
            r"pairs: across_plates needs two plates, .* has one by sampling.by: \[height_px\]",
        ),
        (
            {"validation": {"metric": "map_at_r", "group_by": "height_px"}},
            r"map_at_r asks each group .* no two groups of a class",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    sections: dict[str, Any], message: str, plated: Dataset, recipe_for: RecipeMaker
) -> None:
    with pytest.raises(RecipeError, match=message):
        check_recipe(recipe_for(**sections), plated, lambda sentence: None)


def test_an_example_without_a_plate_is_refused(plated: Dataset, recipe_for: RecipeMaker) -> None:
    manifest = plated.manifest.copy()
    first = np.flatnonzero(manifest["split"] == "train")[:4]
    manifest["plate"] = manifest["plate"].astype(object)
    manifest.loc[first, "plate"] = None
    torn = replace(plated, info=plated.info)
    torn.__dict__["manifest"] = manifest
    with pytest.raises(RecipeError, match=r"4 of \d+ training examples of .* have no plate"):
        check_recipe(recipe_for(), torn, lambda sentence: None)


@pytest.mark.parametrize("name", ["none", "proxy_anchor"])
def test_what_looks_at_no_plates_needs_none(
    name: str, plated: Dataset, recipe_for: RecipeMaker, tmp_path: Path
) -> None:
    recipe = recipe_for(
        metric_loss={"name": name, "pairs": "across_plates"},
        sampling={"name": "random", "by": "nowhere"},
    )
    check_recipe(recipe, plated, lambda sentence: None)
    assert trainer_of(recipe, plated, tmp_path).batch == 9


def test_mixed_images_are_not_contrasted(
    plated: Dataset, recipe_for: RecipeMaker, tmp_path: Path
) -> None:
    recipe = recipe_for().model_copy(
        update={"augment": parse_recipe({"dataset": "", "augment": [{"name": "mixup"}]}).augment}
    )
    with pytest.raises(RecipeError, match="compares images of one class each"):
        trainer_of(recipe, plated, tmp_path)

"""The host augments as the step does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from deadlib.recipe import Recipe
from deadlib.training import train
from deadlib.training.build import build_trainer
from deadlib.training.fit import describe_dataset
from deadlib.training.step import prepare
from tfrecords_tools import Dataset

RecipeMaker = Callable[..., Recipe]
STEPS = [
    {"name": "flip"},
    {"name": "rotate", "degrees": 20},
    {"name": "noise", "sigma": 0.5},
    {"name": "mixup", "alpha": 1.0},
]


def shown(
    recipe: Recipe, dataset: Dataset, cache: Path, *, skip: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What the network gets in the second epoch, from step `skip` on."""
    trainer = build_trainer(recipe, dataset, describe_dataset(dataset, recipe), cache=cache)
    first = trainer.rounds.epoch + skip
    found = []
    for place, batch in enumerate(islice(trainer.batches(first), 3)):
        if trainer.host_augment is None:
            batch = {**batch, "image": trainer.images(batch)}
        inputs, targets = prepare(trainer.parts, batch, first + place)
        found.append((np.asarray(inputs), np.asarray(targets)))
    return found


@pytest.mark.parametrize("jit", ["off", "auto"])
def test_the_network_gets_the_same_images_and_targets(
    jit: str, toy_dataset: Dataset, toy_recipe: RecipeMaker, tmp_path: Path
) -> None:
    def recipe(where: str) -> Recipe:
        return toy_recipe(
            augment=STEPS,
            input={"size_px": [12, 12], "fit": "crop"},
            training={"augment_on": where, "jit": jit},
        )

    device, host = (shown(recipe(where), toy_dataset, tmp_path) for where in ("device", "host"))
    for (images, targets), (expected, shares) in zip(host, device, strict=True):
        assert images.shape == (10, 12, 12, 1)
        np.testing.assert_allclose(images, expected, atol=1e-5)
        np.testing.assert_array_equal(targets, shares)
    taken_up = shown(recipe("host"), toy_dataset, tmp_path, skip=2)
    np.testing.assert_array_equal(taken_up[0][0], host[2][0])


def test_training_takes_the_same_course(
    toy_dataset: Dataset, toy_recipe: RecipeMaker, tmp_path: Path
) -> None:
    histories = [
        train(
            toy_recipe(augment=STEPS, training={"augment_on": where}, optimiser={"name": "sgd"}),
            tmp_path / where,
        ).history
        for where in ("device", "host")
    ]
    for column in ("train_loss", "train_accuracy", "validation_loss"):
        np.testing.assert_allclose(histories[1][column], histories[0][column], atol=1e-4)

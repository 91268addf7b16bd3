"""Two devices train as one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe, recipe_text
from deadlib.training.build import steps_per_epoch
from tfrecords_tools import Dataset

RecipeMaker = Callable[..., Recipe]
TIMES = {"images_per_second", "input_wait_share", "seconds"}


@pytest.fixture(scope="module")
def histories(
    toy_recipe: RecipeMaker, run_script: Callable[..., Any], tmp_path_factory: Any
) -> dict[str, dict[str, list[float]]]:
    """With augmentation, clipping, multipliers, batch statistics at test, unequal shares and a
    smaller last batch.

    SGD, because Adam's division makes rounding errors grow: by 6e-5 in these twelve steps.
    """
    recipe = toy_recipe(
        input={"size_px": [12, 12], "fit": "crop"},
        augment=[{"name": "flip"}, {"name": "noise"}],
        model={"bn_at_test": "batch"},
        optimiser={
            "name": "sgd",
            "clip_norm": 0.5,
            "multipliers": {"logits/*": {"learning_rate": 2, "decay": 0.5}},
        },
        training={"epochs": 3, "batch": 13, "deterministic": True},
    )
    folder: Path = tmp_path_factory.mktemp("devices")
    (folder / "recipe.yaml").write_text(recipe_text(recipe))
    return run_script("one_and_two_devices.py", folder / "recipe.yaml", folder)


def test_two_devices_follow_the_loss_curve_of_one(
    histories: dict[str, dict[str, list[float]]],
) -> None:
    for name in histories["one"]:
        if name not in TIMES:
            one, two = (histories[strategy][name] for strategy in ("one", "mirrored"))
            np.testing.assert_allclose(two, one, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("batch", "replicas", "steps"), [(10, 1, 5), (10, 8, 5), (47, 1, 2), (47, 2, 1), (48, 2, 1)]
)
def test_a_last_batch_with_an_example_for_every_device_is_used(
    toy_dataset: Dataset, toy_recipe: RecipeMaker, batch: int, replicas: int, steps: int
) -> None:
    recipe = toy_recipe(training={"batch": batch})
    assert steps_per_epoch(recipe, toy_dataset, replicas) == steps


def test_a_smaller_last_batch_is_left_out_where_the_recipe_says(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    for batch, steps in ((10, 4), (12, 4), (48, 1)):
        recipe = toy_recipe(training={"batch": batch, "drop_last": True})
        assert steps_per_epoch(recipe, toy_dataset, 1) == steps
    with pytest.raises(RecipeError, match=r"batch: 49 is more than the 48 examples"):
        steps_per_epoch(toy_recipe(training={"batch": 49, "drop_last": True}), toy_dataset, 1)


def test_more_devices_than_examples_in_a_batch_are_refused(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    with pytest.raises(RecipeError, match="batch: 3 gives no example to some of 4"):
        steps_per_epoch(toy_recipe(training={"batch": 3}), toy_dataset, 4)

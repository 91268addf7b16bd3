"""What learns when: a frozen body, the head first, and what a run remembers of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.training import train
from deadlib.training.build import new_network
from deadlib.training.checks import check_recipe
from deadlib.training.state import HistoryRow
from tfrecords_tools import Dataset

RecipeMaker = Callable[..., Recipe]


@pytest.fixture(scope="module")
def learnt(
    toy_recipe: RecipeMaker, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A network to start from."""
    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("learnt") / "model.keras"
    new_network(toy_recipe(), toy_dataset).save(path)
    return path


@pytest.fixture(scope="module")
def frozen(toy_recipe: RecipeMaker, learnt: Path) -> Callable[..., Recipe]:
    def make(body: str, **sections: Any) -> Recipe:
        freeze = {"body": body, "epochs": 1, "learning_rate": 0.03}
        model = {"weights": str(learnt)}
        return toy_recipe(
            **{"freeze": freeze, "model": model, "schedule": {"name": "one_cycle"}, **sections}
        )

    return make


def moved(network: keras.Model, start: Path) -> set[str]:
    """The kinds of variables that are not those of the file."""
    before = keras.models.load_model(start, compile=False)
    pairs = zip(network.trainable_variables, before.trainable_variables, strict=True)
    return {
        f"{kind(new.path)}/{new.name}"
        for new, old in pairs
        if not np.array_equal(new.numpy(), old.numpy())
    }


def kind(path: str) -> str:
    return "head" if path.startswith("logits") else path.split("/")[0].rsplit("_", 1)[1]


EVERYTHING = {"convolution/kernel", "norm/gamma", "norm/beta", "head/kernel", "head/bias"}


def test_a_frozen_body_keeps_its_kernels_and_moves_its_norms(
    frozen: Callable[..., Recipe], learnt: Path, tmp_path: Path
) -> None:
    run = train(frozen("always", training={"epochs": 1, "batch": 10}), tmp_path / "run")
    assert moved(run.network(), learnt) == EVERYTHING - {"convolution/kernel"}
    means = [
        [v.numpy() for v in network.non_trainable_variables if "mean" in v.name]
        for network in (run.network(), keras.models.load_model(learnt, compile=False))
    ]
    assert not any(np.allclose(new, old) for new, old in zip(*means, strict=True))


def test_frozen_batch_norm_keeps_its_statistics_and_all_else_learns(
    frozen: Callable[..., Recipe], learnt: Path, tmp_path: Path
) -> None:
    recipe = frozen("never", training={"epochs": 1, "batch": 10}, freeze={"batch_norm": True})
    run = train(recipe, tmp_path / "run")
    assert moved(run.network(), learnt) == EVERYTHING
    for new, old in zip(
        run.network().non_trainable_variables,
        keras.models.load_model(learnt, compile=False).non_trainable_variables,
        strict=True,
    ):
        np.testing.assert_array_equal(new, old, err_msg=new.path)


def test_the_head_comes_first_and_then_everything_with_a_cycle_of_its_own(
    frozen: Callable[..., Recipe], learnt: Path, tmp_path: Path
) -> None:
    training = {"epochs": 3, "batch": 10, "snapshot_every_steps": 5}
    recipe = frozen("first", training=training, validation={"every_steps": 1})
    run = train(recipe, tmp_path / "run")
    assert moved(Run.open(run.folder, 5).network(), learnt) == EVERYTHING - {"convolution/kernel"}
    assert moved(Run.open(run.folder, 10).network(), learnt) == EVERYTHING
    # fastai: int(0.3 n) steps up from peak / 25, then down; anew in each phase.
    rates = run.history["learning_rate"].to_numpy()
    assert run.history["epoch"].iloc[-1] == 3
    np.testing.assert_allclose(rates[[0, 1]], [0.03 / 25, 0.03], rtol=1e-5)
    np.testing.assert_allclose(rates[[5, 5 + 3]], [0.01 / 25, 0.01], rtol=1e-5)
    assert rates[4] < 0.03 / 5
    assert rates[14] < 0.01 / 20


def test_a_run_that_stops_where_a_phase_ends_goes_on_as_if_it_had_not(
    frozen: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = frozen("first")
    whole = train(recipe, tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(row: HistoryRow) -> None:
        raise StopError

    with pytest.raises(StopError):
        train(recipe, tmp_path / "stopped", on_round=stop)
    resumed = train(recipe, tmp_path / "stopped", resume=True)
    # Not to the bit: threads add in any order here, and Adam makes much of small gradients.
    losses = [run.history["train_loss"].to_numpy() for run in (resumed, whole)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)
    rates = [run.history["learning_rate"].tolist() for run in (resumed, whole)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": {"weights": "random"}}, r"freeze.body: first keeps .* random; give"),
        ({"training": {"epochs": 1}}, r"freeze.epochs: 1 of training.epochs: 1 leave none"),
    ],
)
def test_a_freeze_that_makes_no_sense_is_refused(
    frozen: Callable[..., Recipe], toy_dataset: Dataset, changed: Any, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        check_recipe(frozen("first", **changed), toy_dataset, print)

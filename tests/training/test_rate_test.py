"""The range test: a steep fall is found, none is not made up, and nothing else is touched."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deadlib.cli.train import main
from deadlib.recipe import Recipe, recipe_text
from deadlib.training.rate_test import find_learning_rate, rate_test

RecipeMaker = Callable[..., Recipe]
RATES = np.geomspace(1e-7, 10, 100)


def falling(at: float, noise: float = 0.0) -> np.ndarray:
    """A loss that falls from 0.7 to 0.1 about a rate and is lost two decades later."""
    decades = np.log10(RATES / at)
    generator = np.random.default_rng(0)
    loss = 0.1 + 0.6 / (1 + np.exp(4 * decades)) + np.exp(3 * (decades - 2))
    return np.asarray(loss + generator.normal(0, noise, len(RATES)))


@pytest.mark.parametrize("at", [1e-4, 3e-3, 0.05])
@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(at: float, noise: float) -> None:
    found = rate_test(RATES, falling(at, noise))
    assert found.suggestion is not None
    assert abs(np.log10(found.suggestion / at)) < 0.35


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_loss_that_never_falls_suggests_nothing(slope: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, len(RATES))
    losses = 0.7 + slope * np.linspace(0, 1, len(RATES)) + noise
    assert rate_test(RATES, losses).suggestion is None


def test_the_command_draws_suggests_and_makes_no_run(
    toy_recipe: RecipeMaker, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe_text(toy_recipe(model={"width": 8})))
    arguments = [str(recipe), "--run", str(tmp_path / "run"), "--find-lr"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "suggestion: optimiser.learning_rate: " in done.stdout
    written = {path.name for path in tmp_path.iterdir()} - {"recipe.yaml"}
    assert written == {"run-learning-rates.png", "run-learning-rates.csv"}
    with open(tmp_path / "run-learning-rates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, RATES[: len(rates)], rtol=1e-4)
    suggested = float(done.stdout.split("learning_rate=")[1].split()[0])
    assert 1e-5 < suggested < 1
    again = CliRunner().invoke(main, [*arguments, "--resume"])
    assert again.exit_code == 2
    assert "--find-lr trains no run" in again.stderr


def test_the_test_ends_when_the_loss_is_lost(toy_recipe: RecipeMaker, tmp_path: Path) -> None:
    recipe = toy_recipe(optimiser={"name": "sgd", "multipliers": {"*": {"learning_rate": 1e6}}})
    found = find_learning_rate(recipe, tmp_path / "rates", steps=40)
    assert len(found.rates) == len(found.losses) < 40
    assert np.isfinite(found.losses).all()

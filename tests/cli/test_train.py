"""deadlib-train: what it prints, and its one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from deadlib.cli.train import main


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"dataset: {tmp_path / 'none'}\n")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_explain_prints_a_recipe_that_can_be_used(recipe_file: Path) -> None:
    done = run(recipe_file, "--explain", "--set", "training.epochs=7")
    assert done.exit_code == 0
    assert "# passes over the training split" in done.stdout
    recipe_file.write_text(done.stdout)
    assert yaml.safe_load(done.stdout)["training"]["epochs"] == 7
    assert run(recipe_file, "--explain").stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "model.name=resnet5"], "model.name: 'resnet5' is unknown; did you mean"),
        (["--set", "validation.metric=auc"], "validation.metric: 'auc' is unknown"),
        (["--set", "modle.name=deadnet"], "modle: unknown key; did you mean model?"),
        ([], "none: "),
        (["--resume"], "no run to resume"),
        (["--resume", "--overwrite"], "give one of them"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    tmp_path: Path, recipe_file: Path, arguments: list[str], message: str
) -> None:
    done = run(recipe_file, "--run", tmp_path / "run", *arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_recipe_is_one_message(tmp_path: Path) -> None:
    done = run(tmp_path / "none.yaml")
    assert done.exit_code == 1
    assert "cannot read the recipe" in done.stderr

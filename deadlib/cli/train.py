"""deadlib-train: a recipe becomes a run directory."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from deadlib.recipe import Recipe
    from deadlib.runs import Run


@click.command(cls=terminal.Command)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path),
    help="Run directory to write.  [default: runs/ and the recipe's file name]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, for example --set training.epochs=5; may be repeated.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Print the recipe with every default and what each key means, and end.",
)
@click.option(
    "--find-lr",
    is_flag=True,
    help="Test which learning rate suits the recipe, write a plot and a table beside the run "
    "directory, and end. No run is made or changed.",
)
@click.option("--resume", is_flag=True, help="Continue a run that was stopped, from its last step.")
@click.option("--overwrite", is_flag=True, help="Delete the run that stands in the directory.")
def main(
    recipe: Path,
    run_folder: Path | None,
    overrides: tuple[str, ...],
    explain: bool,
    find_lr: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train a model by RECIPE, a YAML file, and keep the weights that the recipe says.

    \b
    deadlib-train configs/quickstart.yaml --run run
    deadlib-train configs/quickstart.yaml --run run --resume
    deadlib-train configs/quickstart.yaml --set model.name=resnet50 --explain
    deadlib-train configs/quickstart.yaml --run run --find-lr

    Ctrl-C or SIGTERM ends after the step at hand with a checkpoint; --resume then goes on to the
    same weights that an undisturbed run would have reached. docs/train.md says more, docs/recipe.md
    has every key.
    """
    from deadlib.recipe import explained_text, load_recipe

    resolved = load_recipe(recipe, overrides)
    if explain:
        terminal.show(explained_text(resolved))
        return
    folder = run_folder or Path("runs") / recipe.stem
    if find_lr:
        if resume or overwrite:
            raise click.UsageError("--find-lr trains no run; leave out --resume and --overwrite")
        _find_learning_rate(resolved, folder)
        return
    _refuse_early(resolved, folder, resume=resume, overwrite=overwrite)
    with terminal.native_output_to(folder / "log.txt"):
        run = _train(resolved, folder, resume=resume, overwrite=overwrite)
    _show_result(run)


def _refuse_early(recipe: Recipe, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """All that can be known to be wrong before TensorFlow is started and a folder made."""
    from deadlib.data.view import open_viewed
    from deadlib.runs import check_free
    from deadlib.training.checks import check_recipe

    check_free(folder, recipe, resume=resume, overwrite=overwrite)
    check_recipe(recipe, open_viewed(recipe), terminal.warn)


def _find_learning_rate(recipe: Recipe, folder: Path) -> None:
    from deadlib.data.view import open_viewed
    from deadlib.training.checks import check_recipe

    check_recipe(recipe, open_viewed(recipe), terminal.warn)
    out = folder.with_name(f"{folder.name}-learning-rates")
    with terminal.native_output_to(None):
        from deadlib.training.rate_test import find_learning_rate

        with terminal.progress() as progress:
            found = find_learning_rate(recipe, out, progress=progress)
    if found.suggestion is None:
        advice = (
            "the loss does not fall at any rate: look at the labels, the normalisation and the "
            "augmentation of the recipe, or take a larger training.batch"
        )
    else:
        advice = (
            f"suggestion: optimiser.learning_rate: {found.suggestion:.2g}, where the loss falls "
            f"most steeply\n  --set optimiser.learning_rate={found.suggestion:.2g}"
        )
    terminal.show(f"{advice}\nplot: {out}.png\ntable: {out}.csv")


def _train(recipe: Recipe, folder: Path, *, resume: bool, overwrite: bool) -> Run:
    from deadlib.training import train
    from deadlib.training.stop import StoppedError
    from deadlib.training.waiting import advice

    metric = recipe.validation.metric

    hinted = started = False

    def on_round(row: dict[str, float]) -> None:
        nonlocal hinted, started
        share = row["input_wait_share"]
        terminal.note(
            f"{_place(row, recipe)}: loss {row['train_loss']:.4f}, validation "
            f"{metric.replace('_', ' ')} {row[f'validation_{metric}']:.4f} (groups), accuracy "
            f"{row['validation_example_accuracy']:.4f} (examples), "
            f"{row['images_per_second']:.0f} images/s, {share:.0%} of the time waiting for input"
        )
        # The first round has the start of everything in it.
        late = started and not hinted
        started = True
        hint = advice(share, recipe.input) if late else None
        if hint is not None:
            terminal.warn(hint)
            hinted = True

    try:
        with terminal.progress() as progress:
            return train(
                recipe,
                folder,
                resume=resume,
                overwrite=overwrite,
                progress=progress,
                on_round=on_round,
                command=shlex.join(["deadlib-train", *sys.argv[1:]]),
            )
    except StoppedError as stop:
        terminal.note(str(stop))
        raise click.exceptions.Exit(stop.exit_code) from None


def _place(row: Mapping[Any, Any], recipe: Recipe) -> str:
    if recipe.training.steps is not None:
        return f"step {row['steps']:.0f} of {recipe.training.steps}"
    return f"epoch {round(row['epoch'], 2):g} of {recipe.training.epochs}"


def _show_result(run: Run) -> None:
    from rich.table import Table

    metric = run.recipe.validation.metric
    kept = run.history.iloc[run.kept_round - 1].to_dict()
    title = f"kept: {_place(kept, run.recipe)}"
    table = Table(title=title, title_justify="left")
    table.add_column("validation, over groups")
    table.add_column("value", justify="right")
    for name, value in kept.items():
        words = str(name).removeprefix("validation_")
        if words != name and not words.startswith("example_"):
            style = "bold" if words == metric else ""
            table.add_row(words.replace("_", " "), f"{value:.4f}", style=style)
    terminal.show(table)
    dataset = run.dataset["path"]
    set_apart = run.recipe.split.calibration > 0
    calibrate = f"  deadlib-calibrate {run.folder}\n" if set_apart else ""
    terminal.show(
        f"run: {run.folder}\n"
        "next:\n"
        f"{calibrate}"
        f"  deadlib-predict {run.folder} {dataset}\n"
        f"  deadlib-evaluate {run.folder / 'predictions.parquet'}\n"
        f"  tensorboard --logdir {run.folder / 'tensorboard'}"
    )


if __name__ == "__main__":
    main()

"""deadlib-study: a family of trainings becomes one table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deadlib.cli import terminal
from deadlib.errors import RunError

if TYPE_CHECKING:
    from rich.table import Table

    from deadlib.study import StudyResult
    from deadlib.study.cells import Training


@click.command(cls=terminal.Command, name="study")
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the table and of all runs.  [default: studies/ and the study file's name]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Trainings at a time, each in a process of its own.  [default: one for each GPU, else 1]",
)
@click.option("--bootstrap", metavar="N", default=2000, help="Resamples for each interval.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace trainings in --out whose recipe or dataset is another one now.",
)
@click.option("--list", "list_only", is_flag=True, help="Say which trainings there are, and end.")
def main(
    study: Path,
    out: Path | None,
    jobs: int | None,
    bootstrap: int,
    overwrite: bool,
    list_only: bool,
) -> None:
    """Train and test every cell of STUDY, a YAML file, and write one table of them all.

    A study is a recipe and how its trainings differ: each cell line left out in turn, folds of a
    cross-validation, several seeds, any changes of the recipe, and all combinations. Writes
    table.html, table.csv and table.tex, study.json, the runs, and all test predictions.

    \b
    deadlib-study configs/studies/living_dead_folds.yaml --list
    deadlib-study configs/studies/living_dead_folds.yaml --out studies/folds

    The same command goes on after Ctrl-C: what is finished is kept. Where a training fails the
    others finish, the table marks it, and the command ends with exit code 1. docs/study.md says
    more.
    """
    if list_only:
        _list(study)
        return
    from deadlib.study import run_study

    out = out or Path("studies") / study.stem
    ended = 0

    def on_end(training: Training, problem: str | None) -> None:
        nonlocal ended
        ended += 1
        if problem is None:
            terminal.note(f"{training.name}: done")
        else:
            terminal.warn(f"{training.name}: failed: {problem}")

    with terminal.progress() as progress:
        result = run_study(
            study,
            out,
            jobs=jobs,
            overwrite=overwrite,
            bootstrap=bootstrap,
            progress=progress,
            on_end=on_end,
            command=shlex.join(["deadlib-study", *sys.argv[1:]]),
        )
    terminal.show(_table(result))
    terminal.show(f"table: {result.page}")
    if result.failed:
        raise RunError(
            f"{len(result.failed)} of the trainings failed, {', '.join(result.failed)}; the table "
            "marks them. Mend what the lines above say, and start the same command again: it does "
            "only those"
        )


def _list(path: Path) -> None:
    from rich.table import Table

    from deadlib.study import load_study
    from deadlib.study.cells import cells_of

    study = load_study(path)
    cells = cells_of(study, str(path))
    table = Table(title=study.title, title_justify="left")
    for title in [axis.title for axis in study.axes] or ["cell"]:
        table.add_column(title)
    for heading in ("where", "held out", "seeds"):
        table.add_column(heading)
    for cell in cells:
        split = cell.recipes[0].split
        fold = [] if split.folds is None else [f"fold {split.fold} of {split.folds}"]
        table.add_row(
            *(cell.places.values() or [cell.name]),
            " and ".join(split.where),
            ", ".join([*split.hold_out, *fold]),
            ", ".join(str(recipe.seed) for recipe in cell.recipes),
        )
    terminal.show(table)
    terminal.show(f"{sum(len(cell.recipes) for cell in cells)} trainings")


def _table(result: StudyResult) -> Table:
    from rich.table import Table

    from deadlib.study.table import BEST, interval, shown

    axes = [axis.title for axis in result.study.axes]
    table = Table(title=result.study.title, title_justify="left")
    for axis in axes or ["cell"]:
        table.add_column(axis)
    for heading in ("images", "groups", "test accuracy", "95 % interval", "ROC AUC"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        names = [row.places[axis] for axis in axes] or [row.name]
        if not row.repeats:
            table.add_row(*names, "", "", "[red]failed[/red]", "", "")
            continue
        figures = [shown(row.spreads.get(BEST)), interval(row, BEST)]
        counts = [f"{row.images:,}", f"{row.groups:,}"]
        table.add_row(*names, *counts, *figures, shown(row.spreads.get("roc_auc")))
    return table


if __name__ == "__main__":
    main()

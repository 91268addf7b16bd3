"""`deadlib-calibrate`: make a run as sure as it is right, and let it say "unsure"."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="calibrate")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path), required=False)
@click.option(
    "--split",
    type=click.Choice(["calibration", "validation", "test", "all"]),
    help="Which examples.  [default: calibration, else validation, of the dataset that the run was "
    "trained on; all of any other]",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    help="How often the true class is to be in the prediction set.",
)
@click.option(
    "--group-by",
    metavar="COLUMN",
    help="The column whose values are independent of each other: plate, well, ...  [default: the "
    "groups of the dataset's split]",
)
@click.option(
    "--per",
    metavar="COLUMN",
    help="Keep the promise for each value of this column by itself, such as cell_line.",
)
@click.option(
    "--views",
    type=click.Choice(["1", "4", "8"]),
    default="1",
    help="As deadlib-predict will be asked for; for a served model 1.",
)
@click.option("--batch", type=click.IntRange(min=1), default=64, help="Images at a time.")
def main(
    run: Path,
    dataset: Path | None,
    split: str | None,
    coverage: float,
    group_by: str | None,
    per: str | None,
    views: str,
    batch: int,
) -> None:
    """Calibrate the run RUN on examples that its training did not see.

    A network is surer than it is right. From labelled examples that were set apart, this finds how
    much surer (one number, the temperature), which classes must be named so that the true one is
    among them as often as promised, and how unlike the training images a new one may be.
    deadlib-predict and deadlib-export then keep to it by themselves.

    DATASET is labelled; by default the one that the run was trained on.

    \b
    deadlib-calibrate runs/first
    deadlib-calibrate runs/first another-day --coverage 0.95
    """
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.inference import calibrate_run

        written = calibrate_run(
            opened,
            dataset,
            split=split,
            group_by=group_by,
            per=per,
            coverage=coverage,
            views=int(views),
            batch=batch,
            command=terminal.command_line(),
            progress=progress,
            warn=terminal.warn,
        )
    _report(run, written, json.loads(written.read_text(encoding="utf-8")))


def _report(run: Path, written: Path, told: dict[str, Any]) -> None:
    terminal.show(_thresholds(told))
    loss, error = told["loss"], told["calibration_error"]
    terminal.show(
        f"temperature {told['temperature']:.3f}: log loss {loss['before']:.3f} → "
        f"{loss['after']:.3f}, calibration error {error['before']:.3f} → {error['after']:.3f}, on "
        f"{told['examples']} images of {told['groups']} groups ({told['split']})"
    )
    terminal.show(str(written))
    dataset = shlex.quote(told["dataset"])
    terminal.note(f"next: deadlib-predict {shlex.quote(str(run))} {dataset}")


def _thresholds(told: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=f"prediction sets: the true class in {100 * told['coverage']:g} of 100")
    table.add_column(told["per"] or "images")
    table.add_column("class")
    table.add_column("in the set from", justify="right")
    table.add_column("count", justify="right")
    table.add_column("groups", justify="right")
    for name, least in told["least_probability"].items():
        counts = told["classes"][name]
        table.add_row("all", name, f"{least:.3f}", str(counts["examples"]), str(counts["groups"]))
    for value, thresholds in told["least_probability_of"].items():
        for name, least in thresholds.items():
            table.add_row(value, name, f"{least:.3f}")
    return table


if __name__ == "__main__":
    main()

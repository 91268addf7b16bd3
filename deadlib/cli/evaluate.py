"""deadlib-evaluate: predictions become an honest report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from deadlib.evaluation import Estimate, Evaluation


@click.command(cls=terminal.Command)
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: PREDICTIONS without suffix, and -report]",
)
@click.option(
    "--group-by",
    metavar="COLUMN",
    help="Rows that share this column are not independent; intervals are over its values.  "
    "[default: group, else source_id, else every row alone]",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Which split to evaluate.  [default: test, where the table holds several]",
)
@click.option("--bootstrap", metavar="N", default=2000, help="Resamples for each interval.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="The same seed gives the same intervals."
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pictures of the worst errors come from.  [default: the dataset the table names]",
)
def main(
    predictions: Path,
    out: Path | None,
    group_by: str | None,
    split: str | None,
    bootstrap: int,
    seed: int,
    dataset: Path | None,
) -> None:
    """Turn PREDICTIONS into a report: how good, how sure of it, and where it fails.

    PREDICTIONS is what deadlib-predict wrote, or any Parquet or CSV table with a column `label`
    and one column `probability_<class>` for each class. Writes metrics.json, figures/ and
    report.html, one file that opens offline. Every figure has a 95 % interval over independent
    groups.

    \b
    Example:
      deadlib-evaluate run/predictions.parquet
      deadlib-evaluate theirs.csv --group-by plate --out theirs
    """
    from deadlib.evaluation import assess, write_report

    out = out or predictions.with_name(f"{predictions.stem}-report")
    with terminal.native_output_to(None):
        with terminal.progress() as progress:
            found = assess(
                predictions,
                group_by=group_by,
                split=split,
                bootstrap=bootstrap,
                seed=seed,
                progress=progress,
            )
            report = write_report(found, out, dataset=dataset, progress=progress)
        for warning in [*found.alarms, *found.predictions.warnings]:
            terminal.warn(warning)
    terminal.show(_metric_table(found))
    terminal.show(f"report: {report}")


def _metric_table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    from deadlib.evaluation.words import limits, number
    from deadlib.metrics import METRICS

    examples, groups = evaluation.by_example, evaluation.by_group
    interval = f"{100 * evaluation.resampling.level:g} % interval"
    table = Table()
    table.add_column("metric", no_wrap=True)
    table.add_column(f"{examples.units:,} images", justify="right")
    table.add_column(interval)
    if groups:
        table.add_column(f"{groups.groups:,} groups", justify="right")
        table.add_column(interval)

    def cells(found: Estimate) -> list[str]:
        return [number(found), limits(found) or found.reason or ""]

    for name, metric in METRICS.items():
        row = cells(examples.metrics[name]) + (cells(groups.metrics[name]) if groups else [])
        table.add_row(metric.title, *row)
    return table

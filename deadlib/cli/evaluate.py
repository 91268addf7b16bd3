"""deadlib-evaluate: predictions become an honest report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from deadlib.bootstrap import Estimate
    from deadlib.evaluation import Evaluation
    from deadlib.evaluation.virtual import VirtualBatches


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
    "--virtual-batches",
    metavar="[N]",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=100,
    help="Also the accuracy over N (100 where no number follows) balanced virtual batches, as "
    "published for DeadNet.",
)
@click.option(
    "--per-class",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    help="Images of each class in a virtual batch.",
)
@click.option(
    "--annotations",
    metavar="LOG.csv",
    type=click.Path(path_type=Path),
    help="Responses that the labels were made from: also how good a model on them can be.",
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
    virtual_batches: int | None,
    per_class: int,
    annotations: Path | None,
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
                virtual_batches=virtual_batches,
                per_class=per_class,
                annotations=annotations,
                progress=progress,
            )
            report = write_report(found, out, dataset=dataset, progress=progress)
        for warning in [*found.alarms, *found.predictions.warnings]:
            terminal.warn(warning)
    terminal.show(_metric_table(found))
    if found.virtual:
        terminal.show(_virtual_table(found, found.virtual))
    terminal.show(f"report: {report}")


def _virtual_table(evaluation: Evaluation, virtual: VirtualBatches) -> Table:
    from rich.table import Table

    examples, level = evaluation.by_example, 100 * evaluation.resampling.level
    table = Table()
    table.add_column(f"{virtual.batches:,} batches, {virtual.per_class} of each class")
    table.add_column("accuracy", justify="right")
    table.add_column(f"{level:g} % interval")
    told = evaluation.predictions.group_column is not None
    units = "groups (quote this)" if told else "rows"
    found = {
        f"over {virtual.classifications:,} classifications": virtual.accuracy,
        f"over {examples.groups:,} {units}": examples.metrics["balanced_accuracy"],
    }
    for name, estimate in found.items():
        table.add_row(name, *_cells(estimate))
    return table


def _metric_table(evaluation: Evaluation) -> Table:
    from rich.table import Table

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

    for name, metric in METRICS.items():
        row = _cells(examples.metrics[name]) + (_cells(groups.metrics[name]) if groups else [])
        table.add_row(metric.title, *row)
    return table


def _cells(found: Estimate) -> list[str]:
    from deadlib.bootstrap import limits, number

    return [number(found), limits(found) or found.reason or ""]

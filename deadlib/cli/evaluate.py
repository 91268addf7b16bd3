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
    "--controls",
    is_flag=True,
    help="Also look for shortcuts: what intensity, background, cell count, plate or place alone "
    "can tell.",
)
@click.option(
    "--levels",
    metavar="COLUMNS",
    help="Columns that lie within each other, the coarsest first: experiment,plate,well. Intervals "
    "are over the coarsest.  [default: those of experiment, plate, well, position, field that "
    "the table has, shown beside the intervals over groups]",
)
@click.option(
    "--against",
    metavar="OTHER.parquet",
    type=click.Path(path_type=Path),
    help="Another model's predictions of the same examples: is one of the two better?",
)
@click.option(
    "--humans",
    metavar="ANSWERS.csv",
    type=click.Path(path_type=Path),
    help="People's answers to the same images (subject, training, image, answer).",
)
@click.option(
    "--ties",
    metavar="CLASSES",
    help="All classes, the one that wins a tied vote of a well's fields first.  [default: the tied "
    "class of the highest mean probability]",
)
@terminal.column_option
@click.option(
    "--calls",
    is_flag=True,
    help="Look at the column predicted alone, even where there are probabilities: for answers that "
    "are not the most probable class.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pictures of the worst errors come from.  [default: the dataset the table names]",
)
@click.option(
    "--cheating-gap",
    is_flag=True,
    help="Train the recipe again on a random split, and show what that would have claimed.  "
    "Takes as long as the training did; kept in OUT/cheating-gap.",
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
    controls: bool,
    levels: str | None,
    against: Path | None,
    humans: Path | None,
    ties: str | None,
    columns: dict[str, str],
    calls: bool,
    dataset: Path | None,
    cheating_gap: bool,
) -> None:
    """Turn PREDICTIONS into a report: how good, how sure of it, and where it fails.

    PREDICTIONS is what deadlib-predict wrote, or any Parquet or CSV table with a column `label`
    and one column `probability_<class>` for each class, or `predicted` alone; --column says where
    its columns have other names. Writes report.html, one file
    that opens offline, report.json and figures/. Every figure has a 95 % interval over independent
    groups.

    \b
    Example:
      deadlib-evaluate run/predictions.parquet
      deadlib-evaluate theirs.csv --group-by plate --out theirs
      deadlib-evaluate calls.csv --column label=truth --column predicted=call
    """
    from deadlib.evaluation import assess, compose
    from deadlib.evaluation.controls import controls as shortcuts

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
                dataset=dataset,
                levels=terminal.names(levels),
                against=against,
                humans=humans,
                ties=terminal.names(ties),
                columns=columns,
                calls=calls,
                progress=progress,
            )
            sections = [shortcuts(found, progress)] if controls else []
            if cheating_gap:
                from deadlib import study

                folder = out / "cheating-gap"
                sections.append(
                    study.cheating_gap(
                        None,
                        predictions,
                        folder,
                        group_by=group_by,
                        resampling=found.resampling,
                        progress=progress,
                    )
                )
            report = compose(found, sections, progress)
            page = report.write(out, terminal.command_line())
        for _, remark in report.remarks:
            if remark.level != "note":
                terminal.warn(remark.text)
    for question, answer in report.verdict.items():
        terminal.show(f"{question} {answer}")
    for section, remark in report.remarks:
        if section is None or remark.level != "note":
            continue
        if section.key in ("comparison", "humans", "wells"):
            terminal.show(f"{section.title}: {remark.text}")
    terminal.show(_metric_table(found))
    if found.virtual:
        terminal.show(_virtual_table(found, found.virtual))
    terminal.show(f"report: {page}")


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

    examples, groups = evaluation.by_example, evaluation.by_group
    interval = f"{100 * evaluation.resampling.level:g} % interval"
    table = Table()
    table.add_column("metric", no_wrap=True)
    table.add_column(f"{examples.units:,} images", justify="right")
    table.add_column(interval)
    if groups:
        table.add_column(f"{groups.groups:,} groups", justify="right")
        table.add_column(interval)

    for name, metric in evaluation.predictions.metrics.items():
        row = _cells(examples.metrics[name]) + (_cells(groups.metrics[name]) if groups else [])
        table.add_row(metric.title, *row)
    return table


def _cells(found: Estimate) -> list[str]:
    from deadlib.bootstrap import limits, number

    return [number(found), limits(found) or found.reason or ""]

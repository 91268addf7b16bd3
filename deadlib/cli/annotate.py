"""deadlib-annotate: what annotators say of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from deadlib.annotation import Concordance


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What annotators say of images, and what their labels are worth.

    \b
    Example:
      deadlib-annotate concordance annotations.csv --out concordance
    """


@main.command(cls=terminal.Command)
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for concordance.html, concordance.json and the figures.  [default: none written]",
)
@click.option("--bootstrap", metavar="N", type=click.IntRange(100), default=2000,
              help="Resamples for each interval.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="The same seed gives the same intervals."
)
def concordance(log: Path, out: Path | None, bootstrap: int, seed: int) -> None:
    """Say how far the annotators in LOG agree, and how good a model on their labels can be.

    LOG is a CSV with one row per response and the columns annotator, item, position, response
    (healthy, sick or unsure) and the item's window and frames; docs/annotate.md lists them.
    Intervals are over positions.

    \b
    Example:
      deadlib-annotate concordance annotations.csv
      deadlib-annotate concordance annotations.csv --out concordance
    """
    from deadlib.annotation import concordance_of, write_report
    from deadlib.annotation.words import warnings
    from deadlib.bootstrap import Resampling
    from tfrecords_tools.annotations import read_annotations

    found = concordance_of(read_annotations(log), resampling=Resampling(bootstrap, seed))
    for warning in warnings(found):
        terminal.warn(warning)
    terminal.show(_table(found))
    if out is not None:
        terminal.show(f"report: {write_report(found, out, log=log)}")


def _table(found: Concordance) -> Table:
    from rich.table import Table

    from deadlib.annotation.report import IMPLIED
    from deadlib.annotation.words import percent, percent_interval

    table = Table()
    table.add_column(f"{found.responses:,} responses, {found.items:,} items")
    table.add_column("", justify="right")
    table.add_column(f"{100 * found.resampling.level:g} % interval")
    for answer in found.answers:
        given = sum(bar.counts[answer] for bar in found.by_annotator)
        table.add_row(f"answered {answer}", f"{100 * given / found.responses:.1f}\u00a0%")
    table.add_row("items answered by several, none unsure", f"{found.overlapping:,}")
    table.add_row("of these answered differently", f"{found.disagreements:,}")
    rows = {"disagreement": found.disagreement}
    rows |= {name: found.implied[key] for key, name in IMPLIED.items()}
    if found.unexposed:
        rows[f"{found.unexposed.expected}, of answers to unexposed items"] = found.unexposed.share
    for name, estimate in rows.items():
        table.add_row(name, percent(estimate), percent_interval(estimate) or estimate.reason or "")
    for pair in found.pairs:
        table.add_row(
            f"{pair.first} and {pair.second} agree, of {pair.items:,}",
            percent(pair.agreement),
            percent_interval(pair.agreement) or pair.agreement.reason or "",
        )
    return table

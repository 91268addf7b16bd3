"""deadlib-aggregate: answers on fields become one answer for each well."""

from __future__ import annotations

from pathlib import Path

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="aggregate")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--by",
    metavar="COLUMNS",
    help="What names a place: plate,well, or plate,well,field to make fields of crops. Experiment "
    "and plate are added where the table has them.  [default: the well]",
)
@click.option(
    "--how",
    type=click.Choice(["mean", "logits", "median", "vote"]),
    default="mean",
    help="mean of probabilities; mean (logits) or median of logits; vote: the class that most "
    "answers call.",
)
@click.option(
    "--ties",
    metavar="CLASSES",
    help="All classes, the one that wins a tied vote first.  [default: the tied class of the "
    "highest mean probability]",
)
@click.option("--split", metavar="NAME", help="Only rows of this split.  [default: all]")
@terminal.column_option
def main(
    predictions: Path,
    out: Path,
    by: str | None,
    how: str,
    ties: str | None,
    split: str | None,
    columns: dict[str, str],
) -> None:
    """Make of PREDICTIONS a table OUT (.parquet) with one row for each well.

    Answers belong together by the names of plate and well, wherever their rows stand. OUT is a
    prediction table like any other: deadlib-evaluate and all the rest read it. It has three more
    columns: how many fields, how many votes the answer has among them, and whether the vote is
    tied.

    \b
    Example:
      deadlib-aggregate run/predictions.parquet wells.parquet
      deadlib-aggregate run/predictions.parquet wells.parquet --how vote
    """
    from typing import cast

    from deadlib.aggregation import How, aggregate_file

    told = aggregate_file(
        predictions,
        out,
        terminal.names(by),
        how=cast(How, how),
        ties=terminal.names(ties),
        split=split,
        columns=columns,
        command=terminal.command_line(),
    )
    if told["without_place"]:
        terminal.warn(
            f"{told['without_place']} rows have no {' or '.join(told['by'])} and are left out"
        )
    if "plate" not in told["by"]:
        terminal.warn(
            f"the table has no column plate: rows of the same {' and '.join(told['by'])} count as "
            "one place, whatever plate they come from"
        )
    counted, fewest, most = told["counted"], told["fewest"], told["most"]
    each = f"{fewest} {counted} each" if fewest == most else f"{fewest} to {most} {counted} each"
    terminal.show(
        f"{told['answers']:,} answers, {told['places']:,} places ({', '.join(told['by'])}), {each}"
    )
    terminal.show(f"tied votes: {told['tied']:,} of {told['places']:,}")
    if told["dropped"]:
        terminal.note(f"not of one value in each place, left out: {', '.join(told['dropped'])}")
    terminal.show(f"table: {out}")


if __name__ == "__main__":
    main()

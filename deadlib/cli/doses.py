"""deadlib-doses: what predictions say of compounds and their doses."""

from __future__ import annotations

from pathlib import Path

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="doses")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: PREDICTIONS without suffix, and -doses]",
)
@click.option("--compound", metavar="COLUMN", default="treatment", help="What was given.")
@click.option(
    "--dose", metavar="COLUMN", default="concentration_um", help="How much of it was given."
)
@click.option(
    "--viability", metavar="COLUMN", default="viability", help="What an assay measured beside it."
)
@click.option(
    "--column",
    "columns",
    metavar="NAME=COLUMN",
    multiple=True,
    callback=terminal.column_names,
    help="What plate or well are called in the table, as plate=Plate; may be repeated.",
)
@click.option(
    "--control",
    "controls",
    metavar="VALUE",
    multiple=True,
    help="A compound that is the control, or COLUMN=VALUE; may be repeated.  "
    "[default: DMSO, Untreated]",
)
@click.option(
    "--how",
    type=click.Choice(["mean", "logits", "median", "vote"]),
    default="mean",
    help="How the rows of a well are joined, as by deadlib-aggregate: mean of probabilities; mean "
    "(logits) or median of logits; vote: the share of the rows that call a class.",
)
@click.option(
    "--response",
    type=click.Choice(["probability", "called"]),
    default="probability",
    help="What curves go through: the probability of a class, or the share of a well's rows that "
    "are called so.",
)
@click.option(
    "--readout",
    metavar="COLUMN",
    help="A measured share, 0 to 1, to be asked instead of probabilities, such as "
    "nucleus_share_GFP of deadlib-features measure.",
)
@click.option(
    "--scale",
    type=click.Choice(["log", "index"]),
    default="log",
    help="log: doses are concentrations; index: they are numbered in equal steps.",
)
@click.option("--unit", help="Unit of the doses.  [default: µM, or the name of the column]")
@click.option("--bootstrap", metavar="N", type=click.IntRange(100), default=2000,
              help="Resamples for the intervals of the hit list.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0,
              help="The same seed gives the same intervals.")  # fmt: skip
def main(
    predictions: Path,
    out: Path | None,
    compound: str,
    dose: str,
    viability: str,
    columns: dict[str, str],
    controls: tuple[str, ...],
    how: str,
    response: str,
    readout: str | None,
    scale: str,
    unit: str | None,
    bootstrap: int,
    seed: int,
) -> None:
    """Dose-response curves, half-effect doses, turning points and hits from PREDICTIONS.

    PREDICTIONS is a table of fields, tiles or wells with the columns plate, well, treatment,
    concentration_um and, if there was an assay, viability. Writes doses.html, doses.json, figures,
    and hits.csv, curves.csv, turns.csv, dose_table.csv and wells.csv.

    \b
    Example:
      deadlib-doses runs/first/predictions.parquet
      deadlib-doses table.csv --dose dose_index --scale index --control label=untreated
    """
    from typing import cast

    from deadlib.aggregation import How
    from deadlib.bootstrap import Resampling
    from deadlib.doses import CONTROLS, Columns, doses_of, write_report
    from deadlib.doses.curves import Response
    from deadlib.doses.wells import Scale

    named = _of_places(columns)
    found = doses_of(
        predictions,
        columns=Columns(compound=compound, dose=dose, viability=viability, **named),
        controls=controls or CONTROLS,
        how=cast(How, how),
        scale=cast(Scale, scale),
        response=cast(Response, response),
        readout=readout,
        unit=unit,
        resampling=Resampling(bootstrap, seed),
    )
    for remark in found.remarks:
        if remark.level == "note":
            terminal.show(remark.text)
        else:
            terminal.warn(remark.text)
    out = out or predictions.with_name(f"{predictions.stem}-doses")
    page = write_report(found, out, command=terminal.command_line())
    terminal.show(f"report: {page}")


def _of_places(columns: dict[str, str]) -> dict[str, str]:
    other = [name for name in columns if name not in ("plate", "well")]
    if other:
        raise click.BadParameter(
            f"{other[0]}: expected plate=COLUMN or well=COLUMN", param_hint="--column"
        )
    return columns


if __name__ == "__main__":
    main()

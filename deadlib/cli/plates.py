"""deadlib-plates: clean the table of a plate, and draw plates."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from deadlib.plates.table import PlateTable

FORMATS = ("6", "12", "24", "48", "96", "384", "1536")


def _pairs(_: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        left, equals, right = (part.strip() for part in value.partition("="))
        if not (left and equals and right):
            raise click.BadParameter(f"{value!r}; expected {str(option.metavar).rstrip('.')}")
        if left in pairs:
            raise click.BadParameter(f"{left} is given twice")
        pairs[left] = right
    return pairs


@click.group(name="plates", context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Plates: clean their tables, and draw them."""


@main.command(name="table", cls=terminal.Command)
@click.argument("raw", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.csv")
@click.option(
    "--settings",
    "source",
    metavar="FILE.yaml",
    help="Any of these options by its name in a YAML file, or the preset celldeathpred.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    callback=_pairs,
    metavar="NAME=COLUMN",
    help="What a column of RAW is: viability=ATP, label=Class; viability=A,B,C where each plate "
    "has one of its own. May be repeated.",
)
@click.option(
    "--decimal",
    type=click.Choice(["auto", "comma", "point"]),
    help="What a comma in a number is.  [default: a decimal comma]",
)
@click.option("--plate", metavar="NAME", help="The plate, of a table that has no such column.")
@click.option("--wells", type=click.Choice(FORMATS), help="Wells of a plate.  [default: by RAW]")
@click.option(
    "--edge-width",
    type=click.IntRange(0),
    metavar="N",
    help="So many outermost wells on each side are the edge.  [default: 1]",
)
@click.option(
    "--treatment",
    "treatments",
    multiple=True,
    callback=_pairs,
    metavar="SPELLING=NAME",
    help="Another name for a treatment, such as RLS3=RSL3; may be repeated.",
)
@click.option("--empty", multiple=True, metavar="TREATMENT", help="What stands for an empty well.")
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="TREATMENT",
    help="Treatments that do nothing; may be repeated.  [default: DMSO and Untreated]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_pairs,
    metavar="TREATMENT=CLASS",
    help="The class of a treatment, where RAW has no column of labels; may be repeated.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["drop", "keep", "refuse"]),
    help="Rows that say the same of one well again. Rows that differ are always refused.  "
    "[default: drop]",
)
@click.option(
    "--normalise",
    type=click.Choice(["plate", "all", "none"]),
    help="Divide viability by the mean of the reference wells of each plate, or of all plates.  "
    "[default: plate]",
)
@click.option(
    "--reference",
    multiple=True,
    metavar="TREATMENT",
    help="The wells whose mean viability is 1; may be repeated.  [default: DMSO]",
)
@click.option(
    "--viability-range",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Keep treated wells whose viability lies within, bounds included: 0.3 0.8.",
)
@click.option(
    "--healthy",
    type=click.Choice(["all", "in_range", "none"]),
    help="Which control wells to keep.  [default: all]",
)
@click.option(
    "--healthy-per-plate",
    type=click.IntRange(1),
    metavar="N",
    help="Of these so many on each plate, drawn by lot, equally from each kind of control.",
)
@click.option("--seed", type=click.IntRange(0), help="Decides which wells are drawn.  [default: 0]")
@click.option("--overwrite", is_flag=True, help="Replace OUT.csv.")
def table(raw: Path, out: Path, source: str | None, overwrite: bool, **options: Any) -> None:
    """Make of the plate table RAW, CSV or Parquet, one row per plate and well.

    OUT.csv has plate, well, row, column, edge, treatment, concentration_um, viability and label as
    far as RAW has them; deadlib-convert --table joins it to the images by plate and well.

    \b
    deadlib-plates table exp8.csv wells.csv --settings celldeathpred \\
        --viability-range 0.3 0.8 --healthy-per-plate 30
    deadlib-plates table assay.csv wells.csv --column viability=ATP --column label=Class
    """
    from deadlib.plates.settings import merged, read_table_settings
    from deadlib.plates.table import plate_table, write_table

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} is there already; give another name, or --overwrite")
    given = {name: value for name, value in options.items() if value not in (None, (), {})}
    given["columns"] = {name: found.split(",") for name, found in options["columns"].items()}
    if options["wells"]:
        given["wells"] = int(options["wells"])
    if source is None:
        settings = merged({}, given, "deadlib-plates table")
    else:
        settings = read_table_settings(source, **given)
    clean = plate_table(raw, settings)
    write_table(clean, out)
    terminal.show(_summary(clean))
    for reference in clean.references:
        terminal.note(f"viability of 1 is {reference.words}")
    for note in clean.notes:
        terminal.note(note)
    for warning in clean.warnings:
        terminal.warn(warning)
    terminal.show(f"{out}: {len(clean.frame)} wells of plates of {clean.plate.wells}")
    terminal.note(
        f"next: deadlib-convert IMAGES DATASET --table {shlex.quote(str(out))} --pattern …"
    )


@main.command(name="list", cls=terminal.Command)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="RAW.csv")
@click.argument("blocks", nargs=-1, required=True, callback=_pairs, metavar="COLUMN=BLOCK.csv...")
@click.option("--plate", metavar="NAME", help="The plate, where no block names it.")
@click.option("--overwrite", is_flag=True, help="Replace RAW.csv.")
def as_list(out: Path, blocks: dict[str, str], plate: str | None, overwrite: bool) -> None:
    """Make a list of wells of blocks that are laid out as the plate is, for deadlib-plates table.

    A block begins with a line of the column numbers 1, 2, 3 and has a line for each row A, B, C.
    Left of the numbers may stand the plate; a file may have a block for each plate. A block without
    plate is for all of them.

    \b
    deadlib-plates list raw.csv treatment=layout.csv concentration_um=doses.csv viability=atp.csv
    """
    from deadlib.outputs import written_whole
    from deadlib.plates.blocks import blocks_as_rows

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} is there already; give another name, or --overwrite")
    found = blocks_as_rows({name: Path(file) for name, file in blocks.items()}, plate)
    with written_whole(out) as partial:
        found.to_csv(partial, index=False)
    counts = found.groupby("plate", sort=False).size()
    told = ", ".join(f"plate {name}: {count}" for name, count in counts.items())
    terminal.show(f"{out}: {len(found)} wells ({told})")
    terminal.note(f"next: deadlib-plates table {shlex.quote(str(out))} WELLS.csv")


@main.command(name="map", cls=terminal.Command)
@click.argument("table_path", metavar="TABLE", type=click.Path(path_type=Path))
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="NAME",
    help="A column, or of predictions: predicted, disagreement, probability_CLASS; or fields, the "
    "number of rows. May be repeated.  [default: treatment, concentration_um, viability, label and "
    "disagreement, as far as there are]",
)
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help="What a plate is named by; may be repeated.  [default: plate, and experiment where there "
    "are several]",
)
@click.option("--wells", type=click.Choice(FORMATS), help="Wells of a plate.  [default: by TABLE]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the page and pictures.  [default: TABLE without suffix, and -plates]",
)
def draw(
    table_path: Path,
    values: tuple[str, ...],
    by: tuple[str, ...],
    wells: str | None,
    out: Path | None,
) -> None:
    """Draw every plate of TABLE, one picture for each value: plates.html, with PNG and SVG.

    TABLE is a plate table, a prediction table (CSV or Parquet) or a dataset directory. Numbers of
    the rows of a well are averaged, probabilities too.

    \b
    deadlib-plates map wells.csv --value treatment --value viability
    deadlib-plates map run/predictions.parquet --value disagreement
    """
    from deadlib.plates.geometry import plate_format
    from deadlib.plates.maps import draw_plates

    out = out or table_path.with_name(f"{table_path.stem}-plates")
    with terminal.progress() as progress:
        page = draw_plates(
            table_path,
            out,
            values,
            by=by,
            plate=plate_format(int(wells)) if wells else None,
            command=terminal.command_line(),
            progress=progress,
        )
    terminal.show(f"plate maps: {page}")


def _summary(clean: PlateTable) -> Table:
    """Wells of each plate by class, and their viability."""
    from rich.table import Table

    from deadlib.plates.columns import plate_names

    frame = clean.frame
    labels = sorted(frame["label"].unique()) if "label" in frame else []
    shown = Table("plate", "wells", *labels, box=None, header_style="bold")
    if "viability" in frame:
        shown.add_column("viability")
    for plate, wells in frame.groupby(plate_names(frame), sort=False):
        counts = [str(int((wells["label"] == name).sum())) for name in labels]
        cells = [str(plate), str(len(wells)), *counts]
        if "viability" in frame:
            viability = wells["viability"]
            cells.append(f"{viability.min():.3g} to {viability.max():.3g}")
        shown.add_row(*cells)
    return shown


if __name__ == "__main__":
    main()

"""`deadlib-convert sequences`: the table of the sequences that await annotation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="sequences")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="TABLE.csv")
@click.option(
    "--pattern",
    metavar="TEXT",
    help="File names with {position} and {time_index}, such as '{position}_t{time_index}.tif'.",
)
@click.option(
    "--table", metavar="FILE", help="CSV or Parquet of the positions, with light_dose_s and so on."
)
@click.option("--pages", type=click.Choice(["time", "z", "channel"]), help="As in deadlib-convert.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Settings of a conversion; what says where labels stand is left aside.",
)
@click.option("--crop-px", type=int, metavar="N", help="Side of the crops.  [default: 256]")
@click.option("--stride-px", type=int, metavar="N", help="Step.  [default: the side: no overlap]")
@click.option(
    "--frames", type=click.IntRange(min=1), default=10, help="Consecutive frames of a sequence."
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only such frames: 'light_dose_s <= 80 and time_index < 20'; may be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace TABLE.csv.")
def main(
    source: Path,
    out: Path,
    settings_file: Path | None,
    frames: int,
    where: tuple[str, ...],
    overwrite: bool,
    **options: Any,
) -> None:
    """List what experts are to annotate: each crop of SOURCE's frames over some consecutive frames.

    \b
    deadlib-convert sequences lapse/images items.csv --table lapse/positions.csv \\
        --pattern '{position}_t{time_index}.tif' --where 'light_dose_s <= 80'

    Crops do not overlap: 20 of 256 px in a frame of 1344 x 1024. Each row of TABLE.csv is an item:
    its name, position, window in pixels, first frame, number of frames, and the paths of these.
    The log of what annotators answer goes to deadlib-convert --annotations.
    """
    from deadlib.outputs import written_whole
    from tfrecords_tools import ConversionSettings, PlanError
    from tfrecords_tools.sequences import sequence_table
    from tfrecords_tools.settings_file import read_settings

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} is there already; give another name, or --overwrite")
    found = read_settings(settings_file) if settings_file is not None else {}
    chosen = {name: value for name, value in options.items() if value is not None}
    left_aside = {"labels": "none", "label_rules": (), "annotations": None}
    values = {"crop_px": 256, **found, **chosen, **left_aside}
    if values.get("table") is not None and Path(values["table"]).is_file():
        values["table"] = str(Path(values["table"]).resolve())
    try:
        settings = ConversionSettings(**values)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    table = sequence_table(source, settings, frames=frames, where=where)
    with written_whole(out) as partial:
        table.to_csv(partial, index=False)
    terminal.show(
        f"{out}: {len(table)} sequences of {frames} frames at {table['position'].nunique()} "
        f"positions, crops of {settings.crop_px} px"
    )
    given = {"--settings": settings_file, "--pattern": options["pattern"]}
    how = shlex.join(str(word) for pair in given.items() if pair[1] is not None for word in pair)
    terminal.note(
        f"next, when they are annotated: deadlib-convert {shlex.quote(str(source))} DATASET "
        f"--annotations LOG.csv {how}"
    )


if __name__ == "__main__":
    main()

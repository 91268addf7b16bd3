"""`deadlib-slice`: a folder of images becomes a folder of tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deadlib.cli import terminal
from deadlib.cli.verify import cores

if TYPE_CHECKING:
    from tfrecords_tools.slicing import Slicing


@click.command(cls=terminal.Command, name="slice")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--tiles",
    type=click.Choice(["2", "4", "6", "8"]),
    default="4",
    show_default=True,
    help="Tiles of each image: 4 is 2 x 2, 6 is 2 rows of 3, 8 is 2 rows of 4.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Put this share of the images, with all their tiles, into OUT/test.",
)
@click.option(
    "--hold-out",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Put these into OUT/test instead, as experiment=N4; may be repeated.",
)
@click.option(
    "--split-by",
    multiple=True,
    metavar="COLUMN",
    help="What --share does not tear apart.  [default: wells where names tell them, else images]",
)
@click.option(
    "--join-similar",
    is_flag=True,
    help="Images that show the same cells are not torn apart either.",
)
@click.option(
    "--pattern",
    metavar="TEXT",
    help="File names with named parts, as in deadlib-convert.  [default: celldeath where it fits]",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides what --share takes.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: all cores]")
def main(
    source: Path,
    out: Path,
    tiles: str,
    share: float | None,
    hold_out: tuple[str, ...],
    split_by: tuple[str, ...],
    join_similar: bool,
    pattern: str | None,
    seed: int,
    workers: int | None,
) -> None:
    """Cut every image in SOURCE, and in the folders below it, into tiles: PNG files in OUT.

    \b
    deadlib-slice images tiles --tiles 4
    deadlib-slice images tiles --tiles 4 --share 0.2
    deadlib-slice images tiles --tiles 4 --hold-out experiment=N4

    A tile of a.png is a.png_01_02.png: first row, second column, the names and pixels of the
    published celldeath tiles. With --share or --hold-out there are OUT/train and OUT/test, and an
    image goes to one of them with all its tiles. To train a network no tiles are needed on disk:
    deadlib-convert --tiles cuts as it converts.
    """
    from tfrecords_tools.cut import grid_of
    from tfrecords_tools.slicing import plan_slicing, write_tiles

    if share is not None and hold_out:
        raise click.UsageError("--share and --hold-out both say what is test; choose one")
    place = workers or cores()
    with terminal.progress() as progress:
        slicing = plan_slicing(
            source,
            grid_of(int(tiles)),
            share=share,
            hold_out=hold_out,
            split_by=split_by,
            join_similar=join_similar,
            pattern=pattern,
            seed=seed,
            workers=place,
            progress=progress,
        )
        written = write_tiles(slicing, out, workers=place, progress=progress)
    _tell(slicing, out, written)


def _tell(slicing: Slicing, out: Path, written: int) -> None:
    examples = slicing.plan.examples
    terminal.show(f"{out}: {written} tiles of {examples['source_id'].nunique()} images")
    for split, folder in slicing.folders.items():
        rows = examples[examples["split"] == split]
        if folder != ".":
            images, groups = rows["source_id"].nunique(), rows["group"].nunique()
            terminal.show(f"{folder}: {len(rows)} tiles of {images} images in {groups} groups")
    for sentence in slicing.plan.split_info["proof"] if len(slicing.folders) > 1 else ():
        terminal.show(f"checked: {sentence}")
    for sentence in slicing.plan.audit["warnings"]:
        terminal.warn(sentence)


if __name__ == "__main__":
    main()

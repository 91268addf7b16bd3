"""`deadlib-convert verify`: a dataset read back, and damaged shards written again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from deadlib.cli import terminal


def cores() -> int:
    """How many processes this machine runs at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command(cls=terminal.Command, name="verify")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the images lie now; may be repeated.  [default: where they were converted from]",
)
@click.option("--repair", is_flag=True, help="Write damaged shards again from the source images.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: the number of cores]"
)
def main(dataset: Path, sources: tuple[Path, ...], repair: bool, workers: int | None) -> None:
    """Read DATASET back, all of it, and say what is damaged.

    Compares every file with the checksums in deadlib.json, every record with its own checksum and
    with its row of the manifest, and every image with the source that it was cut from, where that
    can be found. Ends with 0 where all is sound, and with 1 and a list where it is not.

    \b
    deadlib-convert verify dataset
    deadlib-convert verify dataset --source /new/place/images --repair

    --repair writes just the damaged shards again; one takes its place only if its bytes are those
    that deadlib.json promises.
    """
    from tfrecords_tools.verify import verify_dataset

    with terminal.progress() as progress:
        found = verify_dataset(
            dataset, sources=sources, repair=repair, workers=workers or cores(), progress=progress
        )
    for sentence in found.notes:
        terminal.note(sentence)
    for file in found.repaired:
        terminal.show(f"repaired: {file}")
    for item in found.damaged:
        terminal.show(f"damaged: {item}")
    if found.damaged:
        number = "1 file is" if len(found.damaged) == 1 else f"{len(found.damaged)} files are"
        terminal.note(f"{dataset}: {number} damaged{_advice(repair)}")
        click.get_current_context().exit(1)
    terminal.show(
        f"{dataset}: sound; {found.examples} examples agree with their manifest, "
        f"{found.compared} of them with their source images"
    )


def _advice(repair: bool) -> str:
    if repair:
        return "; copy them back, or convert the images again with --overwrite"
    return "; --repair writes damaged shards again from the source images"


if __name__ == "__main__":
    main()

"""`deadlib-explain`: draw what the network looked at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="explain")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("input", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write the pictures to.  [default: RUN/maps]",
)
@click.option(
    "--split",
    type=click.Choice(["auto", "all", "train", "validation", "test"]),
    default="auto",
    help="auto: test of the dataset that the run was trained on, everything of any other.",
)
@click.option("--count", type=click.IntRange(min=1), default=16, help="How many images.")
@click.option(
    "--target",
    default="predicted",
    help="Whose evidence is drawn: predicted, label (the true class), or the name of a class.",
)
@click.option("--layer", help="The layer to look at.  [default: the last feature map]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Which images are drawn.")
@click.option(
    "--on-bad-image",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="Of a folder of images: refuse names every image that cannot be used and stops; skip "
    "leaves them out and says how many.",
)
def main(
    run: Path,
    input: Path,
    out: Path | None,
    split: str,
    count: int,
    target: str,
    layer: str | None,
    seed: int,
    on_bad_image: str,
) -> None:
    """Draw which places of the images of INPUT spoke for a class (Grad-CAM), by the run RUN.

    INPUT is a dataset or a folder of images. The images are chosen at random, as many of each
    class as there are. The folder gets one picture for each, overview.png with all of them, and
    maps.csv with how much of the heat lies at the image's border and how concentrated it is.

    A heat map says where, not why, and an even one says little. Look for what should not matter:
    scale bars, rims of wells, dust, the background.

    \b
    deadlib-explain runs/first dataset
    deadlib-explain runs/first dataset --count 40 --target dead --out maps-of-dead
    """
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    out = out or run / "maps"
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.interpretation import explain

        overview = explain(
            opened,
            input,
            out,
            split=split,
            count=count,
            target=target,
            layer=layer,
            seed=seed,
            on_bad_image=on_bad_image,
            progress=progress,
            warn=terminal.warn,
        )
    terminal.show(_summary(out / "maps.csv"))
    terminal.show(f"look at {overview}")


def _summary(maps: Path) -> Any:
    """The heat by predicted class: how much at the border, how concentrated."""
    import pandas as pd
    from rich.table import Table

    table = Table(title="where the heat lies (even heat: 0.36 and 0.50)")
    for heading in ("heat for", "images", "share at the border", "area of half the heat"):
        table.add_column(heading, justify="left" if heading == "heat for" else "right")
    for target, group in pd.read_csv(maps).groupby("target"):
        table.add_row(
            str(target),
            str(len(group)),
            f"{group['border_share'].mean():.2f}",
            f"{group['half_heat_area'].mean():.2f}",
        )
    return table


if __name__ == "__main__":
    main()

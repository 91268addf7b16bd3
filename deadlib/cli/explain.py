"""`deadlib-explain`: draw what the network looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal
from deadlib.interpretation.names import MAPS, METHODS, WEIGHTS


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
    type=click.Choice(["auto", "all", "train", "validation", "calibration", "test"]),
    default="auto",
    help="auto: test of the dataset that the run was trained on, everything of any other.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="How many images.  [default: 16; all whole frames]",
)
@click.option(
    "--target",
    help="Whose evidence is drawn: predicted, label (the true class), or the name of a class.  "
    "[default: predicted; of whole frames every class]",
)
@click.option(
    "--method", type=click.Choice(METHODS), default=METHODS[0], help="How a map is computed."
)
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    help="What weights the feature maps of Grad-CAM: each image itself, or its class, by the mean "
    "over all training images, so that overlapping crops agree.  [default: image; of whole frames "
    "class]",
)
@click.option("--layer", help="The layer to look at.  [default: the last feature map]")
@click.option(
    "--maps",
    type=click.Choice(MAPS),
    help="Also write each map to a 16-bit file.  [default: of whole frames ome-tiff]",
)
@click.option(
    "--frames",
    is_flag=True,
    help="INPUT holds whole frames, larger than what the network looks at: lay windows over each, "
    "and make one map of the whole frame.",
)
@click.option(
    "--stride",
    "stride_px",
    type=click.IntRange(min=1),
    help="With --frames: from one window to the next, in pixels.  [default: half a window]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="With --frames: how many windows are looked at together.  [default: 32]",
)
@click.option(
    "--sanity/--no-sanity",
    default=None,
    help="Test whether the maps depend on what the network learned, by randomising its weights.  "
    "[default: where it takes seconds, with gradcam and gradcam++]",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Which images are drawn.")
@click.option(
    "--on-bad-image",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="Of a folder of images: refuse names every image that cannot be used and stops; skip "
    "leaves them out and says how many.",
)
@terminal.acquisition_options
def main(
    run: Path,
    input: Path,
    out: Path | None,
    split: str,
    count: int | None,
    target: str | None,
    method: str,
    weights: str | None,
    layer: str | None,
    maps: str | None,
    frames: bool,
    stride_px: int | None,
    batch: int | None,
    sanity: bool | None,
    seed: int,
    on_bad_image: str,
    pixel_size_um: float | None,
    modality: str | None,
    rescale: bool,
) -> None:
    """Draw which places of the images of INPUT spoke for a class, by the run RUN.

    INPUT is a dataset or a folder of images. The images are chosen at random, as many of each
    class as there are. The folder gets one picture for each, overview.png with all of them,
    report.html on how to read them, and maps.csv with how much of the heat lies at the image's
    border and how concentrated it is.

    A heat map says where, not why, and an even one says little. Look for what should not matter:
    scale bars, rims of wells, dust, the background.

    \b
    deadlib-explain runs/first dataset
    deadlib-explain runs/first dataset --count 40 --target dead --out maps-of-dead
    deadlib-explain runs/first lapse --frames --out maps-of-lapse
    """
    if not frames and (stride_px is not None or batch is not None):
        raise click.UsageError("--stride and --batch belong to --frames: add it, or leave them out")
    if frames and sanity:
        raise click.UsageError("--sanity tests maps of single images: leave out --frames")
    from deadlib.acquisition import Acquisition
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    out = out or run / "maps"
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.interpretation import explain, explain_frames

        asked: dict[str, Any] = {
            "count": count,
            "target": target,
            "weights": weights,
            "maps": maps,
            "stride_px": stride_px,
            "batch": batch,
            "sanity": None if frames else sanity,
        }
        page = (explain_frames if frames else explain)(
            opened,
            input,
            out,
            split=split,
            method=method,
            layer=layer,
            seed=seed,
            on_bad_image=on_bad_image,
            acquisition=Acquisition(pixel_size_um, modality, rescale),
            progress=progress,
            warn=terminal.warn,
            **{name: value for name, value in asked.items() if value is not None},
        )
    terminal.show(_summary(out / "maps.csv"))
    if (out / "consistency.json").is_file():
        terminal.show(json.loads((out / "consistency.json").read_text())["sentence"])
    if (out / "sanity.json").is_file():
        _show_trust(json.loads((out / "sanity.json").read_text(encoding="utf-8")))
    terminal.show(f"look at {page}")


def _show_trust(found: dict[str, Any]) -> None:
    """Whether the maps may be read; a warning where not."""
    if "weights" in found:
        passed = found["weights"]["maps_depend_on_the_weights"]
        (terminal.show if passed else terminal.warn)(found["weights"]["sentence"])
    for each in found["background"]["classes"]:
        terminal.show(each["sentence"])


def _summary(maps: Path) -> Any:
    """The heat by predicted class: how much at the border, how concentrated."""
    import pandas as pd
    from rich.table import Table

    table = Table(title="where the heat lies (even heat: 0.36 and 0.50)")
    for heading in ("heat for", "maps", "share at the border", "area of half the heat"):
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

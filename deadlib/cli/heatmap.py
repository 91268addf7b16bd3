"""`deadlib-heatmap`: map a time-lapse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from deadlib.heatmaps.lapse import Lapse

_GIBIBYTE = 2**30
_ROWS_SHOWN = 30


@click.command(cls=terminal.Command, name="heatmap")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("movie", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to.  [default: RUN/heatmaps/<name of MOVIE>]",
)
@click.option(
    "--pattern",
    help="What the names of the frames mean, for example '{position}_t{time_index}.tif'; a "
    "{time_hours} may be a clock as 01d02h30m.  [default: as the run's images]",
)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV or Parquet with one row per frame: path, position, time_index or time_hours.  "
    "[default: as the run's images, or images.csv of a simulation]",
)
@click.option("--channels", metavar="A,B", help="Channels, in the order of the run's.")
@click.option("--z", help="Of a z-stack: the number of a plane from 1, max, mean or focus.")
@click.option(
    "--interval-hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Time between frames, where the movie does not say it.",
)
@click.option("--positions", metavar="A,B", help="Only these positions.")
@click.option(
    "--mode",
    type=click.Choice(["dense", "exact"]),
    default="dense",
    help="dense: the network as one convolution over the frame, fast; exact: every window through "
    "the network.",
)
@click.option("--stride", type=click.IntRange(min=1), default=32, help="Pixels between windows.")
@click.option("--target", help="The class that is mapped.  [default: sick, or the second class]")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    help="A place counts as the target where its probability is above this.",
)
@click.option(
    "--onset-area",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.25,
    help="Onset: the share of the frame above which the sick area must stay ...",
)
@click.option(
    "--onset-frames",
    type=click.IntRange(min=1),
    default=3,
    help="... for at least so many frames in a row.",
)
@click.option(
    "--group-by",
    metavar="COLUMN",
    help="Compare positions by this column.  [default: dose, treatment, concentration or label]",
)
@click.option(
    "--resolution",
    type=click.Choice(["full", "grid"]),
    default="full",
    help="Maps at every pixel of the frame (1 byte each, compressed), or one float per window.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["ome-tiff", "ome-zarr"]),
    default="ome-tiff",
    help="File of the maps; both have the axes t, class, y, x.",
)
@click.option(
    "--video",
    type=click.Choice(["mp4", "gif", "none"]),
    help="The overlay as a video.  [default: mp4 where it can be written, else gif]",
)
@terminal.acquisition_options
@click.option(
    "--on-bad-frame",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="refuse names every frame that cannot be used and stops; skip leaves a gap there.",
)
@click.option("--batch", type=click.IntRange(min=1), default=64, help="Windows at a time.")
@click.option(
    "--max-memory",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    help="Gibibytes that the work on a frame may use.",
)
def main(
    run: Path,
    movie: Path,
    out: Path | None,
    pattern: str | None,
    table: Path | None,
    channels: str | None,
    z: str | None,
    interval_hours: float | None,
    positions: str | None,
    mode: Literal["dense", "exact"],
    stride: int,
    target: str | None,
    threshold: float,
    onset_area: float,
    onset_frames: int,
    group_by: str | None,
    resolution: str,
    kind: str,
    video: str | None,
    pixel_size_um: float | None,
    modality: str | None,
    rescale: bool,
    on_bad_frame: str,
    batch: int,
    max_memory: float,
) -> None:
    """Map where and when cells are sick in MOVIE, a time-lapse, by the run RUN.

    MOVIE is a folder of frames or of stacks, one stack (TIFF, OME-TIFF, OME-Zarr), or a simulated
    experiment. The network slides over every frame. The folder gets report.html, the sick area
    over time (curve.csv, curve.png), the time of onset (onset.csv), and for each position a video
    and the probabilities.

    Stopped and started again, it goes on with the positions that are missing.

    \b
    deadlib-heatmap runs/first lapse
    deadlib-heatmap runs/first lapse --pattern '{position}_t{time_index}.tif' --interval-hours 0.5
    deadlib-heatmap runs/first monday.ome.tif --stride 16 --mode exact
    """
    from deadlib.acquisition import Acquisition
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    out = out or run / "heatmaps" / movie.name.split(".")[0]
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.heatmaps.heatmap import heatmap
        from deadlib.heatmaps.lapse import MapSettings
        from deadlib.heatmaps.onset import Rule
        from deadlib.heatmaps.pictures import default_video

        lapse = heatmap(
            opened,
            movie,
            out,
            MapSettings(
                mode=mode,
                stride_px=stride,
                target=target,
                batch=batch,
                max_memory=int(max_memory * _GIBIBYTE),
                threshold=threshold,
                resolution=resolution,
                format=kind,
                video=video or default_video(),
                rule=Rule(onset_area, onset_frames),
                skip_bad=on_bad_frame == "skip",
            ),
            reading={"pattern": pattern, "channels": terminal.names(channels) or None, "z": z},
            table=table,
            interval_hours=interval_hours,
            positions=terminal.names(positions),
            group_by=group_by,
            acquisition=Acquisition(pixel_size_um, modality, rescale),
            command=terminal.command_line(),
            progress=progress,
            warn=terminal.warn,
        )
    terminal.show(_onsets(lapse))
    terminal.show(f"look at {out / 'report.html'}")


def _onsets(lapse: Lapse) -> Any:
    """Onset and last sick area of each position."""
    from rich.table import Table

    from deadlib.heatmaps.summary import hours_known

    unit = "hours" if hours_known(lapse.positions) else "frame"
    table = Table(title=f"sick area: share of the frame called {lapse.target}")
    for heading in ("position", "frames", "first", "last", f"onset ({unit})"):
        table.add_column(heading, justify="left" if heading == "position" else "right")
    for mapped in lapse.positions[:_ROWS_SHOWN]:
        areas = [row["sick_area"] for row in mapped.rows if row["frame"] is not None]
        time = mapped.onset.time
        onset = "not reached" if time is None else f"{time:.4g}"
        table.add_row(mapped.name, str(len(areas)), f"{areas[0]:.2f}", f"{areas[-1]:.2f}", onset)
    if len(lapse.positions) > _ROWS_SHOWN:
        table.add_row(f"and {len(lapse.positions) - _ROWS_SHOWN} more", "", "", "", "")
    return table


if __name__ == "__main__":
    main()

"""`deadlib-predict`: apply a run to a dataset or to new images."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    import pandas as pd

NO_LABEL = "without a label"
UNLIKE = 0.99
"""Beyond this share of known images an image counts as unlike the training images."""


@click.command(cls=terminal.Command, name="predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("input", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The table to write, *.parquet.  [default: RUN/predictions.parquet]",
)
@click.option(
    "--split",
    type=click.Choice(["auto", "all", "train", "validation", "calibration", "test"]),
    default="auto",
    help="auto: test of the dataset that the run was trained on, everything of any other.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    help="Images at a time; with input.crops: 5 their crops, five an image.",
)
@click.option(
    "--views",
    type=click.Choice(["1", "4", "8"]),
    default="1",
    help="Average over the image and its mirror images (4), and its quarter turns as well (8, for "
    "square inputs): a little surer, and as many times the work.",
)
@click.option(
    "--rows",
    "rows_of",
    type=click.Choice(["images", "crops"]),
    default="images",
    help="One row for each image, or one for each of its crops (a run with input.crops: 5); "
    "deadlib-aggregate makes of crops fields and of fields wells.",
)
@click.option(
    "--snapshot",
    type=click.IntRange(min=1),
    metavar="STEP",
    help="Take the network of this training step, of those that training.snapshot_every_steps "
    "kept, instead of the one that validation chose.",
)
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
    batch: int,
    views: str,
    rows_of: str,
    snapshot: int | None,
    on_bad_image: str,
    pixel_size_um: float | None,
    modality: str | None,
    rescale: bool,
) -> None:
    """Apply the run RUN to INPUT and write one row per image.

    INPUT is a dataset, or a folder of new images in the form of those that the run was trained on:
    it is converted first, in the same way, beside the table. Labels may be missing.

    The table holds, for each image, the class predicted, the probability of each class, the
    network's embedding, and everything known of the image; after deadlib-calibrate also the
    classes that it may be, and how unlike the training images it is. It is Parquet:
    pandas.read_parquet("predictions.parquet").

    \b
    deadlib-predict runs/first dataset
    deadlib-predict runs/first new-images --out monday.parquet
    """
    from deadlib.acquisition import Acquisition
    from deadlib.runs import LOG, PREDICTIONS, Run

    opened = Run.open(run, snapshot)
    out = out or run / (PREDICTIONS if snapshot is None else f"predictions-{snapshot:08d}.parquet")
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.inference import predict

        predict(
            opened,
            input,
            out,
            split=split,
            batch=batch,
            views=int(views),
            rows_of=rows_of,
            on_bad_image=on_bad_image,
            acquisition=Acquisition(pixel_size_um, modality, rescale),
            command=terminal.command_line(),
            progress=progress,
            warn=terminal.warn,
        )
    _report(out)


def _report(out: Path) -> None:
    import pandas as pd

    from deadlib.inference import read_metadata

    metadata = read_metadata(out)
    calibrated = ["prediction_set", "out_of_distribution"] if metadata["calibration"] else []
    frame = pd.read_parquet(out, columns=["label", "predicted", *calibrated])
    terminal.show(_counts(frame, metadata["classes"], metadata["rows_of"]))
    terminal.show(
        f"{len(frame)} {metadata['rows_of']} ({metadata['predicted_split']}) of "
        f"{metadata['dataset']}: {out}"
    )
    if calibrated:
        terminal.show(_sureness(frame))
    if frame["label"].notna().any():
        terminal.note(f"next: deadlib-evaluate {shlex.quote(str(out))}")


def _sureness(frame: pd.DataFrame) -> str:
    """How many answers of a calibrated run can be taken."""
    sure = int((frame["prediction_set"].map(len) == 1).sum())
    unlike = int((frame["out_of_distribution"] > UNLIKE).sum())
    return (
        f"sure of {sure} (one class in the prediction set), unsure of {len(frame) - sure}; "
        f"{unlike} less like the training images than {100 * UNLIKE:g} of 100 known ones"
    )


def _counts(frame: pd.DataFrame, classes: list[str], rows_of: str) -> Any:
    """Rows by label (rows) and predicted class (columns)."""
    from rich.table import Table

    table = Table(title=f"{rows_of} by label and prediction")
    table.add_column("label")
    for name in classes:
        table.add_column(f"predicted {name}", justify="right")
    labels = frame["label"].fillna(NO_LABEL)
    for label in [*classes, NO_LABEL]:
        predicted = frame.loc[labels == label, "predicted"]
        if len(predicted):
            table.add_row(label, *(str(int((predicted == name).sum())) for name in classes))
    return table


if __name__ == "__main__":
    main()

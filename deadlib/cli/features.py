"""deadlib-features: classical baselines on measured cells."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from tfrecords_tools.dataset import Dataset

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure cells without a network, and classify by what was measured.

    The baseline beside which a network has to show what it is worth.

    \b
    Example:
      deadlib-features measure dataset wells.parquet --per well --check cells.png
      deadlib-features classify wells.parquet forest.parquet --dataset dataset
      deadlib-evaluate forest.parquet
    """


@main.command(cls=terminal.Command)
@click.argument("dataset", type=click.Path(path_type=Path, file_okay=False))
@click.argument("out", type=FILE)
@click.option(
    "--nuclei",
    metavar="CHANNEL",
    help="The channel that shows the nuclei.  [default: the one called DNA, Hoechst, DAPI ...]",
)
@click.option(
    "--per",
    type=click.Choice(["cell", "image", "well"]),
    default="image",
    help="A row for each of these; images and wells have the median over their cells.",
)
@click.option(
    "--diameter-px",
    type=click.FloatRange(3),
    metavar="PX",
    help="Diameter of a usual nucleus.  [default: told from some images]",
)
@click.option(
    "--ring-px",
    type=click.FloatRange(1),
    metavar="PX",
    help="Width of the ring of cytoplasm around a nucleus.  [default: a third of the diameter]",
)
@click.option(
    "--whole-images",
    is_flag=True,
    help="Measure each image as one region, for crops of single cells and images without stain.",
)
@click.option(
    "--check",
    type=FILE,
    metavar="PNG",
    help="Draw what was taken for a cell, in some images. Look at it.",
)
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes.")
def measure(
    dataset: Path,
    out: Path,
    nuclei: str | None,
    per: str,
    diameter_px: float | None,
    ring_px: float | None,
    whole_images: bool,
    check: Path | None,
    workers: int,
) -> None:
    """Find the cells in the images of DATASET, measure them, and write the table OUT (.parquet).

    Nuclei are found by their stain; a ring around each stands for its cytoplasm. Of both, and of
    every channel, shape, intensity and texture are measured. Cells that the edge of an image cuts
    are left out.

    \b
    Example:
      deadlib-features measure dataset wells.parquet --per well --check cells.png --workers 2
    """
    from deadlib.features.check import check_sheet
    from deadlib.features.measure import Measuring
    from deadlib.features.measure import measure as measure_cells
    from deadlib.features.table import CELLS, open_features
    from tfrecords_tools.dataset import open_dataset

    if check is not None and whole_images:
        raise click.UsageError("--check shows the cells that were found; --whole-images finds none")
    opened = open_dataset(dataset)
    with terminal.progress() as progress:
        measure_cells(
            opened,
            out,
            nuclei=nuclei,
            diameter_px=diameter_px,
            ring_px=ring_px,
            per=per,
            whole_images=whole_images,
            workers=workers,
            command=terminal.command_line(),
            progress=progress,
            warn=terminal.warn,
        )
    table = open_features(out)
    how = Measuring(**table.about["measuring"])
    if how.nuclei is not None:
        terminal.note(
            f"nuclei in channel {how.nuclei}, about {how.diameter_px:g} px across; rings of "
            f"{how.ring_px:g} px"
        )
    if check is not None:
        terminal.show(f"what was taken for a cell: {check_sheet(opened, how, check)}")
    cells = int(table.frame[CELLS].sum()) if CELLS in table.frame else len(table.frame)
    counted = "" if whole_images else f", {cells:,} cells"
    terminal.show(
        f"{len(table.frame):,} rows (one per {per}){counted}, {len(table.features)} features: {out}"
    )
    _next(out, dataset)


@main.command(name="import", cls=terminal.Command)
@click.argument("tables", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, required=True, help="The feature table to write, *.parquet.")
@click.option(
    "--per",
    type=click.Choice(["cell", "image", "well"]),
    default="well",
    help="A row for each of these; several rows of one are reduced to their median.",
)
@click.option(
    "--column",
    "columns",
    metavar="OURS=THEIRS",
    multiple=True,
    callback=terminal.column_names,
    help="What a column of the tables is: plate, well, field, label ...; may be repeated.",
)
@click.option(
    "--join",
    metavar="NAME,NAME",
    help="Put the tables side by side by these columns, as ImageNumber,ObjectNumber of "
    "CellProfiler.  [default: under each other]",
)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="PATTERN",
    help="Columns that are no features, such as 'Nuclei_Neighbors*'; may be repeated.",
)
def import_(
    tables: tuple[Path, ...],
    out: Path,
    per: str,
    columns: dict[str, str],
    join: str | None,
    leave_out: tuple[str, ...],
) -> None:
    """Make a feature table of the TABLES (CSV or Parquet) that another program measured.

    Every column of numbers is a feature, but for those that number, name or place a cell. Plates
    and wells are known by the names that CellProfiler and Columbus give them, or by --column.

    \b
    Example:
      deadlib-features import plate1.csv plate2.csv --out wells.parquet --column plate=Barcode
      deadlib-features import Image.csv Nuclei.csv Cytoplasm.csv --out wells.parquet \\
          --join ImageNumber,ObjectNumber
    """
    from deadlib.features.importing import import_features

    found = import_features(
        tables,
        out,
        per=per,
        columns=columns,
        join=terminal.names(join),
        leave_out=leave_out,
        command=terminal.command_line(),
    )
    terminal.note(f"no features: {', '.join(found.left_out) or 'none'}")
    terminal.show(f"{found.rows:,} rows (one per {per}), {len(found.features)} features: {out}")


@main.command(cls=terminal.Command)
@click.argument("features", type=FILE)
@click.argument("out", type=FILE)
@click.option(
    "--model",
    type=click.Choice(["random_forest", "logistic_regression", "adaboost"]),
    default="random_forest",
    help="The classifier, as scikit-learn makes it.",
)
@click.option(
    "--recipe",
    type=FILE,
    help="A recipe: its dataset, and the splits and classes that its section split makes.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset whose splits count; with --recipe, another place of it.  "
    "[default: the splits in FEATURES]",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    help="Which rows to predict; it always learns from train.",
)
@click.option(
    "--scale",
    type=click.Choice(["training", "plate"]),
    default="training",
    help="z-scores by the training rows, or by the rows of the same plate.",
)
@click.option(
    "--controls",
    metavar="CONDITION",
    help="With --scale plate: by which rows of a plate, as 'treatment == DMSO'.  [default: all]",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="The same seed, the same answer.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Threads of the forest.")
def classify(
    features: Path,
    out: Path,
    model: Any,
    recipe: Path | None,
    dataset: Path | None,
    split: str,
    scale: Any,
    controls: str | None,
    seed: int,
    workers: int,
) -> None:
    """Learn from the training rows of FEATURES and write the prediction table OUT (.parquet).

    Columns with values that are not numbers, constant ones and copies are left out, and the others
    brought to one scale. OUT is read by everything that reads predictions of a network.

    \b
    Example:
      deadlib-features classify wells.parquet forest.parquet --recipe configs/celldeathpred.yaml
      deadlib-evaluate network-wells.parquet --against forest.parquet
    """
    from deadlib.features.classify import classify as classify_rows

    found = classify_rows(
        features,
        out,
        model=model,
        dataset=_splits(recipe, dataset),
        split=split,
        scale=scale,
        controls=controls,
        seed=seed,
        workers=workers,
        command=terminal.command_line(),
        warn=terminal.warn,
    )
    clean = found.cleaning
    terminal.note(
        f"features: {len(clean.kept)} kept; left out: {len(clean.unknown)} with values that are "
        f"not numbers, {len(clean.constant)} constant, {len(clean.copies)} copies"
    )
    terminal.show(
        f"{found.predicted:,} rows ({split}) by {model} of {found.training:,} training rows: {out}"
    )
    terminal.note(f"next: deadlib-evaluate {shlex.quote(str(out))}")


def _splits(recipe: Path | None, dataset: Path | None) -> Dataset | None:
    """The dataset whose splits count. Reads a recipe without starting TensorFlow for a dataset."""
    from tfrecords_tools.dataset import open_dataset

    if recipe is None:
        return None if dataset is None else open_dataset(dataset)
    with terminal.native_output_to(None):
        from deadlib.data.view import open_viewed
        from deadlib.recipe import load_recipe

        return open_viewed(load_recipe(recipe), dataset)


def _next(out: Path, dataset: Path) -> None:
    table = shlex.quote(str(out))
    terminal.note(
        f"next: deadlib-features classify {table} forest.parquet --dataset "
        f"{shlex.quote(str(dataset))}"
    )


if __name__ == "__main__":
    main()

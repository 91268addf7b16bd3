"""deadlib-embeddings: what an embedding holds, class or plate."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="embeddings")
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the page.  [default: PREDICTIONS without suffix, and -embeddings; of several, "
    "embeddings]",
)
@click.option(
    "--name",
    "titles",
    metavar="NAME",
    multiple=True,
    help="What to call a table, once for each.  [default: its file, or its run]",
)
@click.option(
    "--batch",
    metavar="COLUMNS",
    help="Columns whose values are the batches.  [default: plate, or experiment,plate]",
)
@click.option("--split", metavar="NAME", help="Only rows of this split.  [default: all]")
@click.option(
    "--controls",
    metavar="TREATMENTS",
    default="DMSO,Untreated",
    help="The treatments of control wells.",
)
@click.option(
    "--k",
    "ks",
    metavar="N",
    type=click.IntRange(1, 50),
    multiple=True,
    default=(1, 10),
    help="How many neighbours call a class; may be given several times.",
)
@click.option(
    "--map",
    "method",
    type=click.Choice(["auto", "umap", "pca"]),
    default="auto",
    help="auto is UMAP where it is installed.",
)
@click.option("--neighbours", metavar="N", type=click.IntRange(2), default=20, help="Of UMAP.")
@click.option("--min-dist", metavar="D", type=click.FloatRange(0, 1), default=0.0, help="Of UMAP.")
@click.option("--map-seed", type=click.IntRange(0), default=42, help="Of UMAP.")
@click.option(
    "--colour-by",
    metavar="COLUMN",
    multiple=True,
    help="Colour the map by this column too; may be given several times.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pictures of wells come from.  [default: the dataset the table names]",
)
@click.option(
    "--channels",
    type=click.Choice(["composite", "grey"]),
    default="composite",
    help="Draw channels over each other in colours, or side by side in grey.",
)
@click.option(
    "--show",
    "shown",
    metavar="N",
    type=click.IntRange(0),
    default=12,
    help="How many wells are shown with their neighbours.",
)
@click.option(
    "--query",
    "queries",
    metavar="WELL",
    multiple=True,
    help="Show this well, plate1/B03; may be given several times.",
)
@click.option(
    "--permutations",
    metavar="N",
    type=click.IntRange(20),
    default=200,
    help="Of the targets, to know what chance gives.",
)
@click.option(
    "--bootstrap",
    metavar="N",
    type=click.IntRange(100),
    default=2000,
    help="Resamples for each interval.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="The same seed gives the same figures."
)
def main(
    predictions: tuple[Path, ...],
    out: Path | None,
    titles: tuple[str, ...],
    batch: str | None,
    split: str | None,
    controls: str,
    ks: tuple[int, ...],
    method: str,
    neighbours: int,
    min_dist: float,
    map_seed: int,
    colour_by: tuple[str, ...],
    dataset: Path | None,
    channels: str,
    shown: int,
    queries: tuple[str, ...],
    permutations: int,
    bootstrap: int,
    seed: int,
) -> None:
    """Say how well plate and class can be read from the embeddings of PREDICTIONS, and map them.

    PREDICTIONS are tables that deadlib-predict wrote, best with --split all; several are compared
    in one table. Writes embeddings.html, embeddings.json, batch_effect.csv, coordinates.csv (the
    map), neighbours.csv, and the class that the nearest wells call as prediction tables, for
    deadlib-evaluate.

    \b
    Example:
      deadlib-predict run dataset --split all --out all.parquet
      deadlib-embeddings all.parquet
      deadlib-embeddings supcon.parquet plain.parquet --out comparison
    """
    from deadlib.bootstrap import Resampling
    from deadlib.embeddings import examine
    from deadlib.embeddings.maps import Setting

    first = predictions[0]
    if out is None:
        out = first.with_name(f"{first.stem}-embeddings" if len(predictions) == 1 else "embeddings")
    with terminal.native_output_to(None), terminal.progress() as progress:
        page = examine(
            predictions,
            out,
            titles=titles,
            batch=terminal.names(batch),
            split=split,
            controls=terminal.names(controls),
            ks=ks,
            setting=Setting(method, neighbours, min_dist, map_seed),  # type: ignore[arg-type]
            colour_by=colour_by,
            dataset=dataset,
            look=channels,  # type: ignore[arg-type]
            queries=queries,
            shown_queries=shown,
            permutations=permutations,
            resampling=Resampling(bootstrap, seed),
            command=terminal.command_line(),
            progress=progress,
        )
        told = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    for remark in told["remarks"]:
        if remark["level"] == "note":
            terminal.show(remark["text"])
        else:
            terminal.warn(remark["text"])
    terminal.show(f"embeddings: {page}")


if __name__ == "__main__":
    main()

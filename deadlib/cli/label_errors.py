"""deadlib-label-errors: which labels are likely wrong?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="label-errors")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the list.  [default: PREDICTIONS without suffix, and -label-errors]",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Which split to look at.  [default: test, where the table holds several]",
)
@click.option(
    "--show",
    "shown",
    metavar="N",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="How many examples the page shows; the list holds all.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pictures come from.  [default: the dataset the table names]",
)
def main(
    predictions: Path, out: Path | None, split: str | None, shown: int, dataset: Path | None
) -> None:
    """Rank the labels of PREDICTIONS, the most suspicious first, with pictures.

    PREDICTIONS should come from models that have not learnt from these labels: the pooled table of
    deadlib-study with folds, or a test split. Writes label_errors.html, label_errors.csv with every
    example, and label_errors.json.

    \b
    Example:
      deadlib-study configs/studies/living_dead_folds.yaml --out folds
      deadlib-label-errors folds/predictions.parquet
    """
    from deadlib.evaluation.label_errors import NUMBERS, find_label_errors

    out = out or predictions.with_name(f"{predictions.stem}-label-errors")
    with terminal.native_output_to(None), terminal.progress() as progress:
        page = find_label_errors(
            predictions, out, split=split, dataset=dataset, shown=shown, progress=progress
        )
    told = json.loads(page.with_name(NUMBERS).read_text(encoding="utf-8"))
    for warning in told["warnings"]:
        terminal.warn(warning)
    terminal.show(f"{told['likely_wrong']:,} of {told['n']:,} labels are likely wrong")
    terminal.show(f"label errors: {page}")


if __name__ == "__main__":
    main()

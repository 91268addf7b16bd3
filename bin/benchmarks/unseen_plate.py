"""Wells called right on a plate that training has not seen: a study's cells beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

BY = ["study_cell", "study_seed"]


@click.command()
@click.argument("study", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="a prediction table of the same wells made otherwise, such as a random forest's",
)
def unseen_plate(study: Path, beside: tuple[Path, ...]) -> None:
    """Well accuracy of each cell of STUDY and seed, and the last cell's lead over each other one.

    Wells are called by the mean of their fields' probabilities. The interval of a lead is that of
    the mean of paired differences over seeds (t distribution): luck in training, not in wells.
    """
    from scipy import stats

    predictions = study / "predictions.parquet"
    fields = _right(predictions, ()).groupby(BY, sort=False)["right"].mean()
    wells = _right(predictions, (*BY, "plate", "well")).groupby(BY, sort=False)["right"].mean()
    table = wells.unstack("study_seed")
    print("| training | fields | wells | of each seed |\n| --- | --- | --- | --- |")
    for name, values in table.iterrows():
        each = ", ".join(f"{value:.3f}" for value in values)
        print(
            f"| {name} | {fields[name].mean():.3f} | "
            f"{values.mean():.3f} ± {values.std(ddof=1):.3f} | {each} |"
        )
    for path in beside:
        print(f"| {path.stem} | | {_right(path, ('plate', 'well'))['right'].mean():.3f} | |")
    best = table.iloc[-1]
    for name, values in table.iloc[:-1].iterrows():
        lead = best - values
        low, high = stats.t.interval(0.95, len(lead) - 1, lead.mean(), stats.sem(lead))
        print(f"{best.name} - {name}: {lead.mean():.3f} (95 % interval {low:.3f} to {high:.3f})")


def _right(path: Path, by: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a prediction table, of places where `by` names any, and whether each is right."""
    from deadlib.aggregation import aggregate
    from deadlib.predictions import open_predictions

    table = open_predictions(path)
    if by:
        table = aggregate(table, by)
    frame = table.frame
    return frame.assign(right=frame["label"] == frame["predicted"])

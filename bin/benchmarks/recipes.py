"""Two recipes on one dataset, given the same seconds of training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

CURVE = "validation_example_accuracy"


class TimeIsUpError(Exception):
    """A training has had its seconds."""


@click.command()
@click.argument("dataset", type=click.Path(exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "recipes_",
    multiple=True,
    default=("configs/phototoxicity.yaml", "configs/deadnet_a.yaml"),
    show_default=True,
    help="the first is trained to its end, each other for as many seconds",
)
@click.option("--set", "overrides", multiple=True, help="key=value for all recipes")
def recipes(dataset: str, out: Path, recipes_: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Validation accuracy over the minutes of training, as OUT/curves.png and a CSV per recipe.

    Validated after each epoch. Seconds are those of the training steps, the compilation in the
    first one included, validation and start-up not.
    """
    changes = [f"dataset={dataset}", "validation.every_steps=null", *overrides]
    curves: dict[str, pd.DataFrame] = {}
    seconds = float("inf")
    for file in recipes_:
        name = Path(file).stem
        history = _trained(file, changes, out / name, seconds)
        history.to_csv(out / f"{name}.csv", index=False)
        curves[name] = history[history["seconds"].cumsum() <= seconds]
        seconds = min(seconds, float(history["seconds"].sum()))
        print(f"{name}: {_words(curves[name])}", flush=True)
    _draw(curves, out / "curves.png")


def _trained(file: str, changes: list[str], run: Path, seconds: float) -> pd.DataFrame:
    """The history of a training that ends after the first epoch beyond so many seconds."""
    import pandas as pd

    import deadlib

    rows: list[dict[str, Any]] = []

    def watch(row: Any) -> None:
        rows.append(dict(row))
        if sum(found["seconds"] for found in rows) > seconds:
            raise TimeIsUpError

    with suppress(TimeIsUpError):
        deadlib.train(deadlib.load_recipe(file, changes), run, overwrite=True, on_round=watch)
    return pd.DataFrame(rows)


def _words(history: pd.DataFrame) -> str:
    if history.empty:
        return "not one epoch in that time"
    return (
        f"{history['steps'].iloc[-1]:.0f} steps in {history['seconds'].sum() / 60:.1f} min, "
        f"validation accuracy at best {history[CURVE].max():.3f}, at last "
        f"{history[CURVE].iloc[-1]:.3f}"
    )


def _draw(curves: dict[str, pd.DataFrame], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, history in curves.items():
        axes.plot(history["seconds"].cumsum() / 60, history[CURVE], marker="o", ms=3, label=name)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("validation accuracy, examples")
    axes.set_xlim(left=0)
    axes.set_ylim(top=1)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(curves), frameon=False)
    figure.savefig(path, dpi=150)

"""`deadlib-class-model`: draw what the network takes for each class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal

PUBLISHED = ("step", "decay", "smoothness", "literal_sign")
JITTER = ("jitter_px", "total_variation")


@click.command(cls=terminal.Command, name="class-model")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to.  [default: RUN/class-models]",
)
@click.option(
    "--start",
    type=click.Choice(["zeros", "opposite", "both"]),
    default="both",
    help="What is changed: an empty image, an image of another class, or one figure of both.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="A dataset or a folder of labelled images to take the image of another class from.  "
    "[default: the training images of the run]",
)
@click.option("--class", "classes", multiple=True, help="Draw this class alone; may be repeated.")
@click.option(
    "--method",
    type=click.Choice(["published", "jitter"]),
    default="published",
    help="published: DeadNet's equation 4; jitter: the image is shifted a little in every step and "
    "pays for its variation, by tf-keras-vis.",
)
@click.option(
    "--iterations", type=click.IntRange(1), default=500, help="How many steps upwards are taken."
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    help="Values are kept within plus and minus this, on the scale of the network's input "
    "(standard deviations).",
)
@click.option(
    "--step",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    help="published: how far each step goes.",
)
@click.option(
    "--decay",
    type=click.FloatRange(0),
    default=0.01,
    help="published: how strongly each step pulls towards an empty image.",
)
@click.option(
    "--smoothness",
    type=click.FloatRange(0),
    default=0.001,
    help="published: how strongly each step smooths.",
)
@click.option(
    "--literal-sign",
    is_flag=True,
    help="published: subtract the smoothness term, as the equation is printed; that roughens.",
)
@click.option(
    "--jitter-px", type=click.IntRange(0), default=4, help="jitter: the largest shift, in pixels."
)
@click.option(
    "--total-variation",
    type=click.FloatRange(0),
    default=5.0,
    help="jitter: what the difference between neighbouring pixels costs.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="Which image of another class, which shifts."
)
@click.pass_context
def main(
    ctx: click.Context,
    run: Path,
    out: Path | None,
    start: str,
    source: Path | None,
    classes: tuple[str, ...],
    method: str,
    iterations: int,
    limit: float,
    step: float,
    decay: float,
    smoothness: float,
    literal_sign: bool,
    jitter_px: int,
    total_variation: float,
    seed: int,
) -> None:
    """Draw what the network of the run RUN takes for each class: images that raise its score.

    An image is changed step by step so that the score of a class rises. The folder gets one figure
    with a row for each class and a column for each start, an animation of the ascent, each picture
    as PNG and TIFF, and scores.csv with the score before and after.

    \b
    deadlib-class-model runs/first
    deadlib-class-model runs/first --method jitter --out class-models-with-jitter
    deadlib-class-model runs/first --class sick --start zeros --step 1
    """
    _refuse_options_of_the_other(ctx, method)
    from deadlib.interpretation.names import STARTS
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    out = out or run / "class-models"
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.interpretation.ascent import Jittered, Published
        from deadlib.interpretation.class_model import class_models, read_description

        way: Published | Jittered
        if method == "jitter":
            way = Jittered(
                jitter_px=jitter_px,
                total_variation=total_variation,
                iterations=iterations,
                limit=limit,
                seed=seed,
            )
        else:
            way = Published(
                step=step,
                decay=decay,
                smoothness=smoothness,
                literal_sign=literal_sign,
                iterations=iterations,
                limit=limit,
            )
        figure = class_models(
            opened,
            out,
            way=way,
            starts=STARTS if start == "both" else (start,),
            classes=classes,
            source=source,
            seed=seed,
            progress=progress,
            warn=terminal.warn,
        )
    for sentence in read_description(out)["sentences"]:
        terminal.warn(sentence)
    terminal.show(_summary(out / "scores.csv"))
    terminal.show(f"look at {figure}, and at ascent.gif beside it")


def _refuse_options_of_the_other(ctx: click.Context, method: str) -> None:
    """A usage error where an option was given that the method does not have."""
    foreign = JITTER if method == "published" else PUBLISHED
    for name in foreign:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} does nothing with --method {method}", ctx
            )


def _summary(scores: Path) -> Any:
    import csv

    from rich.table import Table

    table = Table(title="score before the softmax, and probability, of the class")
    for heading in ("class", "from", "score", "probability"):
        table.add_column(heading, justify="left" if heading in ("class", "from") else "right")
    with scores.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            table.add_row(
                line["class_name"],
                line["start"],
                f"{float(line['score_before']):.2f} → {float(line['score_after']):.2f}",
                f"{float(line['probability_before']):.2f} → {float(line['probability_after']):.2f}",
            )
    return table


if __name__ == "__main__":
    main()

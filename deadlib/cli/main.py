"""`deadlib VERB`: every command under one name; a verb is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from deadlib._version import __version__

VERBS = {
    "simulate": "make images of living and dying cells whose truth is known",
    "plates": "clean the table of a plate, and draw plates",
    "convert": "turn a folder of images into a dataset",
    "slice": "cut a folder of images into tiles on disk",
    "inspect": "say what a dataset holds, and draw it",
    "train": "train a model by a recipe",
    "calibrate": "make a run as sure as it is right, and let it say unsure",
    "predict": "apply a run to a dataset or to new images",
    "aggregate": "make of answers on fields one answer for each well",
    "features": "measure cells, and classify them without a network",
    "annotate": "ask experts what they see, and say how far they agree",
    "evaluate": "turn predictions into an honest report",
    "doses": "draw answers over doses: curves, EC50, turning points, hits",
    "label-errors": "list the labels that are likely wrong, with pictures",
    "embeddings": "say whether an embedding holds class or plate, and map it",
    "study": "train a family of models, and write one table of them",
    "explain": "draw what the model looked at",
    "class-model": "draw what the model takes for each class",
    "heatmap": "map a time-lapse: where and when cells fall sick",
    "export": "write a SavedModel for TensorFlow Serving",
    "serve": "answer for exported models: a page, and an API",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when asked for, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"deadlib.cli.{cmd_name.replace('-', '_')}").main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands, in the order of use"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="deadlib")
def main() -> None:
    """Are these cells dying, how, and how sure are we?

    \b
    deadlib simulate phase images
    deadlib convert images dataset --table images/images.csv
    deadlib train configs/quickstart.yaml --run run
    deadlib predict run dataset
    deadlib evaluate run/predictions.parquet
    """


if __name__ == "__main__":
    main()

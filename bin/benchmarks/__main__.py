"""Measure what docs/benchmarks.md reports. Run through bin/bench."""

from __future__ import annotations

import click
from augment import augment
from bootstrap import bootstrap, coverage
from common import machine
from controls import controls
from convert import convert
from data import data
from deadnet import deadnet
from efficientnet import efficientnet
from encoding import encodings
from heatmap import heatmap
from help import help_time
from intensity import intensity
from memory import memory
from panel import panel
from plate import plate
from recipes import recipes
from sampling import sampling
from serve import serve
from step import step
from unseen_plate import unseen_plate
from viewer import viewer
from votes import votes


@click.group()
def bench() -> None:
    """Figures of docs/benchmarks.md, measured here."""
    print(machine())


for command in (
    augment,
    bootstrap,
    controls,
    convert,
    coverage,
    data,
    deadnet,
    efficientnet,
    encodings,
    heatmap,
    help_time,
    intensity,
    memory,
    panel,
    plate,
    recipes,
    sampling,
    serve,
    step,
    unseen_plate,
    viewer,
    votes,
):
    bench.add_command(command)

if __name__ == "__main__":
    bench()

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
from encoding import encodings
from heatmap import heatmap
from help import help_time
from intensity import intensity
from memory import memory
from recipes import recipes
from step import step


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
    encodings,
    heatmap,
    help_time,
    intensity,
    memory,
    recipes,
    step,
):
    bench.add_command(command)

if __name__ == "__main__":
    bench()

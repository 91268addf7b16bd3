"""Measure what docs/benchmarks.md reports. Run through bin/bench."""

from __future__ import annotations

import click
from augment import augment
from common import machine
from convert import convert
from data import data
from encoding import encodings
from help import help_time
from memory import memory
from step import step


@click.group()
def bench() -> None:
    """Figures of docs/benchmarks.md, measured here."""
    print(machine())


for command in (augment, convert, data, encodings, help_time, memory, step):
    bench.add_command(command)

if __name__ == "__main__":
    bench()

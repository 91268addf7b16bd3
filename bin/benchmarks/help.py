"""How fast the commands answer."""

from __future__ import annotations

import statistics
import subprocess

import click
from common import seconds

VERBS = ["simulate", "convert", "inspect", "train", "predict", "evaluate", "explain", "export"]


@click.command("help")
@click.option("--runs", default=7)
def help_time(runs: int) -> None:
    """Seconds that each command takes to print its help; the limit is 0.5."""
    for verb in VERBS:
        times = [_seconds(f"deadlib-{verb}", "--help") for _ in range(runs + 1)][1:]
        print(f"deadlib-{verb} --help: median {statistics.median(times):.2f} s")


def _seconds(*command: str) -> float:
    return seconds(lambda: subprocess.run(command, capture_output=True, check=True))

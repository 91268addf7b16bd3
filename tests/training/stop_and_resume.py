"""Run by test_resume.py in a process of its own: interrupted trainings beside an undisturbed one.

    python stop_and_resume.py RECIPE OUT

Prints JSON: for each run, named by its interruptions, the exit codes on the way to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deadlib.recipe import Recipe, load_recipe
from deadlib.training import loop, train
from deadlib.training.stop import StoppedError


class Killed(BaseException):
    """Stands for SIGKILL: nothing more is written."""


def signal_at(number: int, *steps: int) -> Callable[[str, int, int], None]:
    left = list(steps)

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and left and done == left[0]:
            left.pop(0)
            os.kill(os.getpid(), number)

    return progress


def killed_at(step: int) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == step:
            raise Killed

    return progress


def signal_in_validation() -> None:
    plain = loop.predict_batches

    def signalled(*arguments: Any) -> Any:
        loop.predict_batches = plain
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    loop.predict_batches = signalled


def train_to_the_end(recipe: Recipe, folder: Path, progress: Any = None) -> list[int]:
    """Resume after every interruption; the exit codes on the way."""
    codes: list[int] = []
    while True:
        try:
            train(recipe, folder, resume=bool(codes), progress=progress)
            return codes
        except StoppedError as stop:
            codes.append(stop.exit_code)
        except Killed:
            codes.append(128 + signal.SIGKILL)
            progress = None


def main(recipe_path: str, out: str) -> None:
    recipe, folder = load_recipe(recipe_path), Path(out)
    found = {"undisturbed": train_to_the_end(recipe, folder / "undisturbed")}
    killed = "SIGKILL some steps after a checkpoint"
    found[killed] = train_to_the_end(recipe, folder / killed, killed_at(18))
    stopped = "Ctrl-C in a round and at its last step, SIGTERM in validation"
    signal_in_validation()
    found[stopped] = train_to_the_end(recipe, folder / stopped, signal_at(signal.SIGINT, 2, 8))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

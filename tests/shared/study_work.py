"""What a worker of a study may meet, without training anything; importable by its processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deadlib.errors import RecipeError
from deadlib.recipe import parse_recipe
from deadlib.study.training import Task
from deadlib.study.workers import run_all
from deadlib.training.stop import StoppedError, StopRequest

Share = Callable[[float], None]


def task(folder: Path, name: str) -> Task:
    return Task(name, parse_recipe({"dataset": "none"}), folder / name, calibrate=False)


def by_name(task: Task, share: Share) -> None:
    """What the name of the task says: sound, refused, broken, killed; `long` waits for a signal."""
    share(0.5)
    print(f"this is {task.name}", flush=True)
    kind = task.name.split()[0]
    if kind == "refused":
        raise RecipeError("the recipe is wrong")
    if kind == "broken":
        raise ZeroDivisionError("by nought")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "long":
        _wait_for_a_signal(task)
    (task.folder / "pid").write_text(str(os.getpid()))


def _wait_for_a_signal(task: Task) -> None:
    with StopRequest() as stop:
        (task.folder / "began").touch()
        while stop.number is None:
            time.sleep(0.02)
    (task.folder / "stopped").write_text(signal.Signals(stop.number).name)
    raise StoppedError("stopped, checkpoint written", stop.number)


if __name__ == "__main__":
    # python -c would leave the processes without a main module to import
    # a shell that starts a job in the background lets it ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[1])
    tasks = [task(folder, "long one"), task(folder, "sound one")]
    run_all(tasks, 1, folder / "log.txt", lambda *_: None, lambda *_: None, do=by_name)

"""One training of a study, from its recipe to its predictions and figures.

OUT/cells/<name>/
  run/                   as deadlib-train writes it
  predictions.parquet    of the run's own test split
  log.txt                what the libraries had to say
  cell.json              its figures; written last, so a folder with it is finished
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deadlib import runs
from deadlib.data.view import open_viewed
from deadlib.errors import RecipeError, RunError
from deadlib.recipe import Recipe, load_recipe
from deadlib.runs import Run, write_text
from tfrecords_tools import open_dataset

RECORD = "cell.json"
RUN = "run"
PREDICTIONS = "predictions.parquet"
LOG = "log.txt"
SCHEMA_VERSION = 1

OF_HISTORY = {
    "train_loss": "train_loss",
    "validation_loss": "validation_loss",
    "validation_accuracy": "validation_example_accuracy",
}
"""Figures of a training, and their columns in history.csv."""

Share = Callable[[float], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of one training."""

    name: str
    recipe: Recipe
    folder: Path
    calibrate: bool

    @property
    def run_folder(self) -> Path:
        return self.folder / RUN

    @property
    def predictions(self) -> Path:
        return self.folder / PREDICTIONS

    def is_finished(self, overwrite: bool = False) -> bool:
        """Whether there is nothing to do; `overwrite` removes a training of another recipe.

        Raises RunError as `record`.
        """
        try:
            return self.record() is not None
        except RunError:
            if not overwrite:
                raise
            shutil.rmtree(self.folder)
            return False

    def record(self) -> dict[str, Any] | None:
        """cell.json of this very training, finished; None where it is still to be done.

        Raises RunError where the folder holds the training of another recipe or dataset.
        """
        path = self.run_folder / runs.RECIPE
        if not path.is_file():
            return None
        if load_recipe(path) != self.recipe:
            raise RunError(
                f"{self.folder}: holds a training of another recipe; take another --out, or "
                "--overwrite to replace what has changed"
            )
        # of a training that was stopped, too: it could not go on
        trained_on = _mapping(self.run_folder / runs.DATASET).get("fingerprint")
        if trained_on not in (None, open_dataset(self.recipe.dataset).fingerprint):
            raise RunError(
                f"{self.folder}: was trained on another dataset than {self.recipe.dataset} is now; "
                "take another --out, or --overwrite to replace what has changed"
            )
        found = _mapping(self.folder / RECORD)
        same = found.get("calibrated") == self.calibrate
        return found if same and self.predictions.is_file() else None


def _mapping(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is missing or was cut off."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _print(sentence: str) -> None:
    print(f"warning: {sentence}", flush=True)


def work(task: Task, share: Share, warn: Warn = _print) -> None:
    """Train, or go on with what was stopped; calibrate if asked; predict the test split.

    share: told how much of the training is done; warn: told what one must know. Raises what
    `train` and `predict` raise; RecipeError where the split holds no test examples.
    """
    _check_test(task.recipe)
    run = _trained(task, share, warn)
    # also where the study asked for a calibration once and does no more
    for name in runs.CALIBRATION:
        (task.run_folder / name).unlink(missing_ok=True)
    if task.calibrate:
        from deadlib.inference import calibrate_run

        calibrate_run(run, warn=warn)
        run = Run.open(task.run_folder)
    _predicted(task, run, warn)
    record = {
        "schema_version": SCHEMA_VERSION,
        "name": task.name,
        "calibrated": task.calibrate,
        "figures": figures_of(run),
    }
    write_text(task.folder / RECORD, json.dumps(record, indent=1, allow_nan=False))


def _check_test(recipe: Recipe) -> None:
    """Raise RecipeError where there is nothing to test on, before hours of training."""
    if "test" not in open_viewed(recipe).splits:
        raise RecipeError(
            f"split: the dataset {recipe.dataset} has no test split where the recipe looks; give "
            "split.hold_out, split.fractions with a third share above 0, or an axis leave_out or "
            "folds"
        )


def figures_of(run: Run) -> dict[str, float | None]:
    """What the training itself tells of the weights kept; None where it does not."""
    kept = run.history.iloc[run.kept_round - 1]
    found = {name: float(kept.get(column, math.nan)) for name, column in OF_HISTORY.items()}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _trained(task: Task, share: Share, warn: Warn) -> Run:
    from deadlib.training import train

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training":
            share(done / total)

    started = (task.run_folder / runs.RECIPE).is_file()
    return train(
        task.recipe,
        task.run_folder,
        resume=started,
        progress=progress,
        warn=warn,
    )


def _predicted(task: Task, run: Run, warn: Warn) -> None:
    from deadlib.inference import predict

    predict(
        run,
        task.recipe.dataset,
        task.predictions,
        split="test",
        warn=warn,
    )

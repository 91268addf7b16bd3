"""A study, run: every cell trained and tested, and one table of them all.

    OUT/
      study.json table.html table.csv table.tex      of all that is finished
      figures/                                       the table, drawn
      predictions.parquet                            the test rows of all trainings
      cells/<name>/                                  one training; deadlib.study.training says what

A training that is finished is not done again, and one that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deadlib._version import __version__
from deadlib.bootstrap import Resampling
from deadlib.errors import DeadlibError
from deadlib.pages import write
from deadlib.study.answers import read_answers
from deadlib.study.cells import Cell, Training, cells_of
from deadlib.study.definition import Study, load_study
from deadlib.study.page import write_page
from deadlib.study.pool import write_pooled
from deadlib.study.table import Done, Row, csv_text, latex_text, rows_of
from deadlib.study.training import LOG, PREDICTIONS, Task
from deadlib.study.workers import run_all

CELLS = "cells"
RECORD = "study.json"
SCHEMA_VERSION = 1

Progress = Callable[[str, int, int], None]
OnEnd = Callable[[Training, str | None], None]


@dataclass(frozen=True)
class StudyResult:
    """A study that has come to its end.

    rows: the table; failed: what went wrong, by the name of the training; empty where all is well.
    """

    out: Path
    study: Study
    rows: list[Row]
    failed: dict[str, str]

    @property
    def page(self) -> Path:
        return self.out / "table.html"


def run_study(
    study: Study | str | Path,
    out: str | Path,
    *,
    jobs: int | None = 1,
    overwrite: bool = False,
    bootstrap: int = 2000,
    progress: Progress | None = None,
    on_end: OnEnd | None = None,
    command: str | None = None,
) -> StudyResult:
    """Train and test every cell of a study, and write the table of them all into `out`.

    study: from `load_study` or the path of a study file. jobs: trainings at a time, each in a
    process of its own; None for as many as there are GPUs, else one. overwrite: replace trainings
    in `out` whose recipe or dataset is another one now. bootstrap: resamples for each interval.
    progress: called as (stage, done, total). on_end: called after each training with what went
    wrong, or None.

    A training that fails hinders no other; the result and the table name it. A script that calls
    this has to guard its top level by `if __name__ == "__main__":`, as the processes import it.

    Raises RecipeError where the study or the recipe of a cell is wrong; RunError where `out` holds
    trainings of other recipes; DatasetError; WriteError. After KeyboardInterrupt the trainings
    under way write a checkpoint, and the same call goes on from there.
    """
    origin = "study" if isinstance(study, Study) else str(study)
    study = study if isinstance(study, Study) else load_study(study)
    out = Path(out)
    cells = cells_of(study, origin)
    trainings = [training for cell in cells for training in cell.trainings]
    tasks = [_task(training, study, out) for training in trainings]
    by_name = {training.name: training for training in trainings}
    waiting = [task for task in tasks if not task.is_finished(overwrite)]
    failed: dict[str, str] = {}
    shares = {task.name: 0.0 for task in waiting}
    told = 0

    def on_share(task: Task, share: float) -> None:
        nonlocal told
        shares[task.name] = share
        percent = int(100 * sum(shares.values()) / len(shares))
        if progress is not None and percent > told:
            progress("study, percent", percent, 100)
            told = percent

    def ended(task: Task, problem: str | None) -> None:
        if problem is not None:
            failed[task.name] = problem
        if on_end is not None:
            on_end(by_name[task.name], problem)
        on_share(task, 1.0)

    run_all(waiting, jobs, out / LOG, on_share, ended)
    done = [_done(cell, study, out, failed) for cell in cells]
    rows = rows_of(study, done, Resampling(bootstrap))
    result = StudyResult(out, study, rows, failed)
    _write(result, [t for t in trainings if t.name not in failed], command)
    return result


def _task(training: Training, study: Study, out: Path) -> Task:
    folder = out / CELLS / training.folder
    return Task(training.name, training.recipe, folder, study.calibrate)


def _done(cell: Cell, study: Study, out: Path, failed: dict[str, str]) -> Done:
    """What came of a cell; answers that do not match those of other repeats count as failed."""
    tasks = [_task(training, study, out) for training in cell.trainings]
    finished = [task for task in tasks if task.name not in failed]
    records = [record for task in finished if (record := task.record()) is not None]
    answers = None
    try:
        if finished:
            tables = [task.predictions for task in finished]
            answers = read_answers(tables, study.group_by)
    except DeadlibError as error:
        failed |= {task.name: str(error) for task in finished}
        records = []
    problems = {task.name: failed[task.name] for task in tasks if task.name in failed}
    return Done(cell, [record["figures"] for record in records], answers, problems)


def _write(result: StudyResult, finished: Sequence[Training], command: str | None) -> None:
    out, study = result.out, result.study
    title = study.title or "study"
    axes = [axis.title for axis in study.axes]
    write_pooled(
        out / PREDICTIONS,
        [(training, out / CELLS / training.folder / PREDICTIONS) for training in finished],
        command,
    )
    write(out / "table.csv", csv_text(axes, result.rows).encode())
    write(out / "table.tex", latex_text(title, axes, result.rows).encode())
    write_page(result.page, title, axes, result.rows, study_text(study), command)
    record: Mapping[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "study": study.model_dump(mode="json", exclude_unset=True),
        "axes": axes,
        "rows": [row.to_json() for row in result.rows],
        "failed": result.failed,
        "cells": {training.name: f"{CELLS}/{training.folder}" for training in finished},
        "command": command,
        "version": __version__,
    }
    write(out / RECORD, json.dumps(record, indent=1, allow_nan=False).encode())


def study_text(study: Study) -> str:
    """The study as YAML, its recipe within it."""
    return yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True), sort_keys=False)

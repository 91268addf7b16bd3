"""Run a simulation: plan it, draw its parts in any number of processes, put it in place whole."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deadlib._version import __version__
from deadlib.simulation.parameters import Parameters, SimulationError, make_parameters
from tfrecords_tools.errors import WriteError

if TYPE_CHECKING:
    from deadlib.simulation.truth import Rendered

RECORD = "simulation.json"
CELL_COLUMNS = (
    "path",
    "cell",
    "y_px",
    "x_px",
    "radius_px",
    "area_px",
    "state",
    "stress",
    "death_hours",
)


@dataclass(frozen=True)
class Task:
    """One part of the plan, complete in itself."""

    modality: str
    parameters: Parameters
    seed: int
    part: Any
    folder: Path


def simulate(
    modality: str,
    out: str | Path,
    *,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    **parameters: Any,
) -> Path:
    """Simulate an experiment into the folder `out`, which appears only when it is complete.

    `modality` is phase, transmitted or painting; `parameters` are the fields of that modality's
    dataclass in `deadlib.simulation.parameters`. The same arguments and seed give the same bytes
    with any number of `workers`. With `overwrite` an earlier simulation at `out` is replaced.

    Returns the folder. Raises SimulationError for parameters that do not fit, WriteError for an
    `out` that is not empty or a disk that refuses.
    """
    chosen = make_parameters(modality, parameters)
    if seed < 0:
        raise SimulationError(f"seed: found {seed}, expected 0 or more")
    if workers < 1:
        raise SimulationError(f"workers: found {workers}, expected 1 or more")
    out = Path(out)
    module = import_module(f"deadlib.simulation.{modality}")
    parts = module.plan(chosen, seed)
    if not parts:
        raise SimulationError("the plan has no image; lower imbalance or raise the numbers")
    with _folder_put_in_place(out, overwrite) as folder:
        tasks = [Task(modality, chosen, seed, part, folder) for part in parts]
        rows = _draw_all(tasks, workers, progress)
        _write_tables(folder, rows, module.tables(chosen, seed, parts, rows))
        from deadlib.simulation.truth import write_json

        record = {
            "modality": modality,
            "seed": seed,
            "version": __version__,
            "parameters": asdict(chosen),
            "images": len(rows.images),
        }
        write_json(folder / RECORD, record)
    return out


def _draw(task: Task) -> Rendered:
    module = import_module(f"deadlib.simulation.{task.modality}")
    rendered: Rendered = module.render(task.parameters, task.seed, task.part, task.folder)
    return rendered


def _draw_all(
    tasks: Sequence[Task], workers: int, progress: Callable[[str, int, int], None] | None
) -> Rendered:
    """Draw every task; rows in the order of the plan."""
    from deadlib.simulation.truth import Rendered

    rows = Rendered()
    for done, part in enumerate(_results(tasks, min(workers, len(tasks))), start=1):
        rows.extend(part)
        if progress:
            progress("simulate", done, len(tasks))
    return rows


def _results(tasks: Sequence[Task], workers: int) -> Iterator[Rendered]:
    if workers == 1:
        yield from map(_draw, tasks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        try:
            yield from pool.map(_draw, tasks)
        except BrokenProcessPool:
            raise SimulationError(
                "a worker process ended early: out of memory, or called from a script without "
                "`if __name__ == '__main__':` around it; mend that, or give workers=1"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_tables(folder: Path, rows: Rendered, others: dict[str, list[dict[str, Any]]]) -> None:
    from deadlib.simulation.truth import write_table

    write_table(folder / "images.csv", rows.images)
    write_table(folder / "truth" / "cells.csv", rows.cells, CELL_COLUMNS)
    for name, table in others.items():
        write_table(folder / name, table)


@contextmanager
def _folder_put_in_place(out: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its name at the end, or vanishes."""
    _check_free(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise WriteError(f"{out}: cannot be written ({error.strerror})") from None
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        _replace(folder, out)
    except OSError as error:
        raise WriteError(f"{out}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise WriteError(f"{out}: is a file, expected a folder to make; give another name")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise WriteError(
            f"{out}: is not empty; give another folder, or --overwrite to replace a simulation"
        )
    if not (out / RECORD).is_file():
        raise WriteError(
            f"{out}: is not empty and no simulation (no {RECORD}), so it is not overwritten; "
            "give another folder"
        )


def _replace(folder: Path, out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        os.replace(out, aside / "old")
        os.replace(folder, out)
        shutil.rmtree(aside)
        return
    if out.exists():
        out.rmdir()
    os.replace(folder, out)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

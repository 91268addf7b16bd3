"""A folder of images to a dataset directory in one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.journal import Journal
from tfrecords_tools.plan import make_plan
from tfrecords_tools.pool import Progress, Workers
from tfrecords_tools.settings import ConversionSettings

if TYPE_CHECKING:
    from tfrecords_tools.dataset import Dataset


def convert(
    source: str | Path,
    out: str | Path,
    settings: ConversionSettings | None = None,
    *,
    workers: Workers = 1,
    overwrite: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Plan the conversion of `source` and write it to `out`: `make_plan`, then `write_dataset`.

    With several workers call it below `if __name__ == "__main__":`, as processes are spawned.
    Raises what those two raise, before any planning PlanError where `out` is no place to write to.
    """
    from tfrecords_tools.shards import PROGRESS_FOLDER
    from tfrecords_tools.write import write_dataset

    check_out(Path(source), Path(out), overwrite)
    with Journal(Path(out) / PROGRESS_FOLDER, Path(source)) as journal:
        plan = make_plan(source, settings, workers=workers, journal=journal, progress=progress)
    return write_dataset(
        plan, out, workers=workers, overwrite=overwrite, command=command, progress=progress
    )


def check_out(source: Path, out: Path, overwrite: bool, append: bool = False) -> None:
    """Refuse an `out` that cannot be written to, before time is spent on planning.

    Raises PlanError where it lies inside the source folder or is a file, DatasetError where it
    holds a dataset that is not to be replaced or added to, or what no conversion put there.
    """
    from tfrecords_tools.dataset import INFO
    from tfrecords_tools.shards import PROGRESS_FOLDER
    from tfrecords_tools.write import refuse_foreign

    if out.resolve().is_relative_to(source.resolve()):
        raise PlanError(
            f"{out}: lies inside the source folder {source}, so the next conversion would read its "
            "own pictures; give a folder beside it"
        )
    if out.exists() and not out.is_dir():
        raise PlanError(f"{out}: a file, expected a new or empty folder; give another name")
    finished = (out / INFO).is_file() and not (out / PROGRESS_FOLDER).exists()
    if finished and not overwrite and not append:
        raise DatasetError(
            f"{out}: already holds a dataset; give another folder, --append to add what is new, or "
            "--overwrite to replace it"
        )
    refuse_foreign(out)

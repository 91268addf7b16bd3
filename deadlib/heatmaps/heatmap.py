"""A movie in, heat maps and a report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deadlib.acquisition import AS_TOLD_BY_FILES, Acquisition
from deadlib.errors import InputError
from deadlib.heatmaps.lapse import POSITIONS, Lapse, MapSettings, Progress, Warn, map_movie
from deadlib.heatmaps.movie import open_movie, reading_settings
from deadlib.heatmaps.report import write_report
from deadlib.heatmaps.summary import group_column
from deadlib.outputs import write_errors
from deadlib.runs import Run


def heatmap(
    run: Run | str | Path,
    movie: str | Path,
    out: str | Path,
    settings: MapSettings | None = None,
    *,
    reading: Mapping[str, Any] | None = None,
    table: str | Path | None = None,
    interval_hours: float | None = None,
    positions: Sequence[str] = (),
    group_by: str | None = None,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    command: str = "",
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Lapse:
    """Map a movie by a run and write maps, videos, curves, onsets and report.html into `out`.

    movie, table, interval_hours, positions: as in `open_movie`. reading: conversion settings that
    are to differ from those of the run's own images, such as pattern and channels. group_by: the
    column whose values are compared; by default the first that differs of dose, treatment,
    concentration, label and cell line. acquisition: what the movie does not say of how it was
    taken, and whether frames are to be resampled to the pixel size of the training.

    Positions that are finished in `out` with the same settings are kept. Raises InputError,
    SourceError, RunError or WriteError, each saying what to do; InputError also where `out` lies
    among the frames or holds files of others.
    """
    _check_out(Path(out), Path(movie))
    settings = settings or MapSettings()
    run = run if isinstance(run, Run) else Run.open(run)
    opened = open_movie(
        movie,
        reading_settings(run.dataset["settings"], **(reading or {})),
        table=table,
        interval_hours=interval_hours,
        positions=positions,
        pixel_size_um=acquisition.pixel_size_um,
        skip_bad=settings.skip_bad,
        progress=progress,
    )
    column = group_column([position.facts for position in opened.positions], group_by)
    lapse = map_movie(
        run, opened, Path(out), settings, acquisition=acquisition, progress=progress, warn=warn
    )
    write_report(lapse, Path(out), column, command)
    return lapse


def _check_out(out: Path, movie: Path) -> None:
    if movie.is_dir() and out.resolve().is_relative_to(movie.resolve()):
        raise InputError(
            f"{out}: lies in the movie {movie}, where its pictures would be taken for frames; give "
            "another --out"
        )
    if not out.is_dir():
        return
    with write_errors(out):
        names = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if names and POSITIONS not in names:
        raise InputError(
            f"{out}: holds files that deadlib-heatmap did not write (no {POSITIONS} among them), "
            "expected a new or empty folder, or one of earlier heat maps; give another --out"
        )

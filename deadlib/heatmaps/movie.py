"""A time-lapse as positions of ordered frames, however it lies on the disk."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

from deadlib.errors import InputError
from tfrecords_tools.container import ZARR_SUFFIX
from tfrecords_tools.discover import discover
from tfrecords_tools.images import IMAGE_SUFFIXES
from tfrecords_tools.labels import image_row, located_tables
from tfrecords_tools.listing import expanded, with_channels
from tfrecords_tools.locator import Locator
from tfrecords_tools.pattern import CHANNEL, name_pattern
from tfrecords_tools.pool import Progress
from tfrecords_tools.scale import same_scale
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, SourceImage, natural_key

SIMULATION = "simulation.json"
SIMULATED_TABLE = "images.csv"
_PLACE = ("experiment", "plate", "well", "row", "column", "field", "position", "scene")
_TIME = ("time_index", "time_hours")
_NOT_FACTS = {"source_id", "source_paths", "label", "pixel_size_um", *_TIME}
_NUMBER = re.compile(r"\d+")
_NO_FOLDER_NAME = re.compile(r"[^\w.+-]+")
_REGULAR = 0.2
"""How far a time may lie from its place on a regular clock, in intervals."""
_SHOWN = 5

Row = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """One frame of a position. time_hours: None where nothing says it."""

    time_index: int
    time_hours: float | None
    locators: tuple[str, ...]
    """What is read, one per channel file."""


@dataclass(frozen=True)
class Position:
    """A field of view over time.

    moments: in the order of time. missing: every `time_index` at which the movie should have a
    frame here, but has none. facts: what else is known of it, such as well and dose.
    """

    name: str
    moments: tuple[Moment, ...]
    missing: tuple[int, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Movie:
    """pixel_size_um: None where nothing says it. notes: sentences on what is odd but usable."""

    path: Path
    positions: tuple[Position, ...]
    pixel_size_um: float | None
    notes: tuple[str, ...]


def reading_settings(run_settings: Mapping[str, Any], **asked: Any) -> ConversionSettings:
    """How a movie is read: as the run's own images were, but for what is asked (None: not asked).

    Pages of a stack that does not say what they are count as time.
    """
    own = ConversionSettings.from_json(run_settings).for_prediction()
    boxes = own.labels == "boxes"
    settings = ConversionSettings(
        labels="none",
        pattern=own.pattern,
        table=None if boxes else own.table,
        path_column=own.path_column,
        channels=own.channels,
        z=own.z,
        pages=own.pages or "time",
        layout=own.layout,
        labels_required=False,
        allow_mixed=True,
    )
    return replace(settings, **{name: value for name, value in asked.items() if value is not None})


def open_movie(
    path: str | Path,
    settings: ConversionSettings,
    *,
    table: str | Path | None = None,
    interval_hours: float | None = None,
    positions: Sequence[str] = (),
    pixel_size_um: float | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Movie:
    """List the frames of a movie; no pixel is read.

    path: a folder of frames or stacks, a simulated experiment, or one stack (TIFF, OME-TIFF,
    OME-Zarr, vendor file). settings: as `reading_settings` gives them. table: a table of frames
    that must be there; otherwise one that the settings name is used where the folder has it.
    interval_hours: time between frames where the movie does not say it, or says it wrongly.
    positions: names of those wanted; all by default. pixel_size_um: where the files do not say it,
    or say it wrongly. skip_bad: leave out files that cannot be listed and rows of the table without
    a file, instead of refusing the movie.

    Raises InputError where there is no movie, no order in time, two frames for one time, several
    pixel sizes, or no such position; SourceError where files cannot be listed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path}: not found; give a folder of frames, or one stack of frames (TIFF, OME-TIFF, "
            "OME-Zarr)"
        )
    rows, problems = _listed(path, settings, table, progress)
    if problems and not skip_bad:
        shown = "; ".join(f"{problem.path}: {problem.reason}" for problem in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{path}: {len(problems)} files cannot be read as frames: {shown}{more}; or go on "
            "without them with --on-bad-frame skip"
        )
    left_out = [f"left out: {problem.path}: {problem.reason}" for problem in problems]
    rows, unnamed = _fitting(rows, settings)
    base = path.parent if _is_stack(path) else path
    if not any(row.get(name) is not None for row in rows for name in _TIME):
        rows = _numbered(path, rows)
    if interval_hours is not None:
        rows = _on_clock(rows, interval_hours)
    groups = _named_groups(path, rows)
    unknown = [name for name in positions if name not in groups]
    if unknown:
        raise InputError(
            f"{path}: no position {', '.join(unknown)}; it has {', '.join(groups)}; choose some of "
            "them with --positions"
        )
    indexed = {name: _indexed(path, name, found) for name, found in _clocked(groups).items()}
    expected = _expected(indexed.values())
    timed = len(_hours(rows)) == len(rows)
    chosen = tuple(
        _position(name, base, found, expected, timed)
        for name, found in indexed.items()
        if not positions or name in positions
    )
    notes = (
        *left_out,
        *unnamed,
        *_missing_notes(chosen),
        *_time_notes(chosen),
        *_short_notes(chosen),
    )
    return Movie(path, chosen, pixel_size_um or _pixel_size_um(path, rows), notes)


def in_words(moment: Moment) -> str:
    """A moment for a person: its number, and its time where known."""
    if moment.time_hours is None:
        return f"frame {moment.time_index}"
    return f"frame {moment.time_index} ({moment.time_hours:.4g} h)"


def folder_name(position: str) -> str:
    """The name of a position as that of a folder."""
    return _NO_FOLDER_NAME.sub("_", position).strip("._") or "position"


def _is_stack(path: Path) -> bool:
    return path.is_file() or path.suffix.lower() == ZARR_SUFFIX


def _listed(
    path: Path,
    settings: ConversionSettings,
    table: str | Path | None,
    progress: Progress | None,
) -> tuple[list[Row], list[Problem]]:
    """A row for every frame, and what is wrong with files."""
    if not _is_stack(path):
        found = discover(path, _with_table(path, settings, table), progress=progress)
        table_rows = found.rows.astype(object).where(found.rows.notna(), None).to_dict("records")
        rows = [{str(name): value for name, value in row.items()} for row in table_rows]
        return rows, found.problems
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(
            f"{path}: not a file of images; expected a folder of frames, or a file that ends in "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    problems: list[Problem] = []
    alone = {path.name: SourceImage((path.name,), {})}
    images = expanded(path.parent, alone, settings, problems, progress)
    images, _ = with_channels(images, settings, problems, [])
    frames = [
        {"position": path.name, **image_row(source_id, image, settings)}
        for source_id, image in images.items()
    ]
    return [_as_numbers(frame) for frame in frames], problems


def _fitting(rows: list[Row], settings: ConversionSettings) -> tuple[list[Row], list[str]]:
    """The rows whose names fit the pattern, and a sentence on the others; all where none fits."""
    if settings.pattern is None:
        return rows, []
    names = name_pattern(settings.pattern, settings.channels).names
    fitting = [row for row in rows if any(row.get(name) is not None for name in names)]
    if len(fitting) == len(rows) or set(names) <= {CHANNEL, "label"}:
        return rows, []
    if not fitting:
        return rows, [f"no name fits the pattern {settings.pattern}; it is not used"]
    odd = next(row["source_id"] for row in rows if row not in fitting)
    count = len(rows) - len(fitting)
    return fitting, [
        f"{count} images left out: their names do not fit {settings.pattern} (the first: {odd})"
    ]


def _with_table(
    path: Path, settings: ConversionSettings, table: str | Path | None
) -> ConversionSettings:
    if table is not None:
        demanded = replace(settings, table=str(table), labels_required=True)
        found = located_tables(path, demanded).table
    else:
        found = located_tables(path, settings).table
        simulated = (path / SIMULATION).is_file() or (found is None and settings.pattern is None)
        if simulated and (path / SIMULATED_TABLE).is_file():
            # It knows the hours, which a table of positions does not.
            found = SIMULATED_TABLE
    return replace(settings, table=found, labels="none" if found is None else "table")


def _as_numbers(row: Row) -> Row:
    """Times of a file as numbers; `discover` does this for folders."""
    numbers = {"time_index": int, "time_hours": float}
    return {
        name: numbers[name](value) if name in numbers and value is not None else value
        for name, value in row.items()
    }


def _numbered(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Rows without a time: the only number in which their names differ is the time's index."""
    if len(rows) == 1 or len({_place(row) for row in rows}) == len(rows):
        return [{**row, "time_index": 0} for row in rows]
    names = [str(row["source_id"]) for row in rows]
    shapes = {_NUMBER.sub("0", name) for name in names}
    numbers = [[int(number) for number in _NUMBER.findall(name)] for name in names]
    varying = (
        [place for place, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
        if len(shapes) == 1
        else []
    )
    if len(varying) != 1:
        raise InputError(
            f"{path}: nothing says which frame is when: {names[0]} and {names[-1]} do not differ "
            "in one number alone; say what the names mean, for example "
            "--pattern '{position}_t{time_index}.tif', or give a table with --table"
        )
    return [
        {**row, "time_index": found[varying[0]]} for row, found in zip(rows, numbers, strict=True)
    ]


def _on_clock(rows: Sequence[Row], interval_hours: float) -> list[Row]:
    """Rows with times by their index; by their rank where they have no index."""
    hours = sorted({row["time_hours"] for row in rows if row.get("time_hours") is not None})
    timed = []
    for row in rows:
        index = row.get("time_index")
        if index is None and row.get("time_hours") is not None:
            index = hours.index(row["time_hours"])
        time = None if index is None else index * interval_hours
        timed.append({**row, "time_index": index, "time_hours": time})
    return timed


def _place(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _PLACE if row.get(name) is not None)


def _named_groups(path: Path, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The frames of each position, under the shortest name that tells the positions apart."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(name, "")) for name in _PLACE), []).append(row)
    keys = list(groups)
    last = _PLACE.index("position")
    alone = [key[last] for key in keys]
    if len(set(alone)) == len(keys) and all(alone):
        names = alone
    else:
        varying = [i for i in range(len(_PLACE)) if len({key[i] for key in keys}) > 1]
        shown = varying or [i for i, value in enumerate(keys[0]) if value not in ("", "None")]
        names = ["_".join(key[i] for i in shown) or path.stem for key in keys]
    folders = Counter(folder_name(name) for name in names)
    twice = next((name for name in names if folders[folder_name(name)] > 1), None)
    if twice is not None:
        raise InputError(
            f"{path}: two positions would be called {folder_name(twice)}; rename one of them"
        )
    ordered = sorted(
        zip(names, groups.values(), strict=True), key=lambda pair: natural_key(pair[0])
    )
    return dict(ordered)


def _clocked(groups: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Frames with a time but no index get one: their place on the clock that all share, or their
    rank where they keep none."""
    rows = [row for found in groups.values() for row in found]
    if all(row.get("time_index") is not None for row in rows):
        return {name: list(found) for name, found in groups.items()}
    hours = _hours(rows)
    steps = [step for found in groups.values() for step in _steps(_hours(found))]
    first, interval = min(hours, default=0.0), median_low(steps) if steps else 1.0
    places = [(hour - first) / interval for hour in hours]
    regular = all(abs(place - round(place)) <= _REGULAR for place in places)
    ranks = sorted(set(hours))

    def index(row: Row) -> int | None:
        if row.get("time_index") is not None or row.get("time_hours") is None:
            return row.get("time_index")
        hour = float(row["time_hours"])
        return round((hour - first) / interval) if regular else ranks.index(hour)

    return {
        name: [{**row, "time_index": index(row)} for row in found] for name, found in groups.items()
    }


def _hours(rows: Iterable[Row]) -> list[float]:
    return [float(row["time_hours"]) for row in rows if row.get("time_hours") is not None]


def _steps(values: Iterable[float]) -> list[float]:
    ordered = sorted(set(values))
    return [after - before for before, after in pairwise(ordered)]


def _indexed(path: Path, name: str, rows: Sequence[Row]) -> dict[int, Row]:
    """Frames of a position by `time_index`. Raises InputError where that is missing or taken."""
    found: dict[int, Row] = {}
    for row in rows:
        index = row.get("time_index")
        if index is None:
            raise InputError(
                f"{path}: position {name}: nothing says when {row['source_id']} was taken; "
                "expected a time_index or time_hours for each frame; complete the table"
            )
        other = found.setdefault(int(index), row)
        if other is not row:
            raise InputError(
                f"{path}: position {name}: two frames for time index {index}, {other['source_id']} "
                f"and {row['source_id']}; remove one, or name what tells them apart in --pattern, "
                "as {position}"
            )
    ordered = dict(sorted(found.items()))
    known = _hours(ordered.values())
    if known != sorted(set(known)):
        raise InputError(
            f"{path}: position {name}: time_hours does not grow with time_index; correct the "
            "table, or give the time between frames with --interval-hours"
        )
    return ordered


def _expected(positions: Iterable[Mapping[int, Row]]) -> range:
    """Every time index that a position should have."""
    found = [list(indices) for indices in positions]
    step = round(median_low([s for indices in found for s in _steps(map(float, indices))] or [1]))
    every = [index for indices in found for index in indices]
    return range(min(every), max(every) + 1, max(step, 1))


def _position(
    name: str, base: Path, rows: Mapping[int, Row], expected: range, timed: bool
) -> Position:
    """timed: whether every frame of the movie has a time; otherwise none counts."""
    moments = tuple(
        Moment(
            index,
            float(row["time_hours"]) if timed else None,
            tuple(_absolute(base, text) for text in row["source_paths"]),
        )
        for index, row in rows.items()
    )
    first = next(iter(rows.values()))
    facts = {
        key: value
        for key, value in first.items()
        if key not in _NOT_FACTS
        and value is not None
        and all(row.get(key) == value for row in rows.values())
    }
    if first.get("label") is not None:
        facts["label"] = first["label"]
    return Position(name, moments, tuple(i for i in expected if i not in rows), facts)


def _absolute(base: Path, text: str) -> str:
    locator = Locator.parse(text)
    return str(replace(locator, files=tuple(str(base / file) for file in locator.files)))


def _pixel_size_um(path: Path, rows: Sequence[Row]) -> float | None:
    sizes = [float(row["pixel_size_um"]) for row in rows if row.get("pixel_size_um") is not None]
    if not sizes:
        return None
    if not same_scale(min(sizes), max(sizes)):
        raise InputError(
            f"{path}: frames of pixel sizes from {min(sizes):g} to {max(sizes):g} µm; give those "
            "of one size at a time, or say the right one with --pixel-size-um"
        )
    return median_low(sizes)


def _missing_notes(positions: Sequence[Position]) -> list[str]:
    notes = []
    for position in positions:
        if position.missing:
            shown = ", ".join(str(index) for index in position.missing[:_SHOWN])
            more = ", …" if len(position.missing) > _SHOWN else ""
            notes.append(
                f"position {position.name}: {len(position.missing)} of "
                f"{len(position.missing) + len(position.moments)} frames are missing (time index "
                f"{shown}{more}); the curve has a gap there, nothing is filled in"
            )
    return notes


def _time_notes(positions: Sequence[Position]) -> list[str]:
    if all(moment.time_hours is not None for p in positions for moment in p.moments):
        return []
    return [
        "nothing says when each frame was taken, so times are frame numbers; say the time between "
        "frames with --interval-hours"
    ]


def _short_notes(positions: Sequence[Position]) -> list[str]:
    short = [position.name for position in positions if len(position.moments) == 1]
    if not short:
        return []
    return [
        f"one frame only at {', '.join(short[:_SHOWN])}{', …' if len(short) > _SHOWN else ''}: "
        "there is a map, but no course in time and no onset"
    ]

"""Sequences of crops that await annotation.

A sequence is one window of one position over consecutive frames. DeadNet's second data set was
annotated by sequences of 10 frames of 256 x 256 px that do not overlap, 20 in a frame of
1344 x 1024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfrecords_tools.cut import WINDOW, Window, sliding_windows
from tfrecords_tools.errors import PlanError
from tfrecords_tools.images import examine
from tfrecords_tools.labelling import check_columns
from tfrecords_tools.rules import parse_conditions
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Row, natural_key
from tfrecords_tools.table import comparable

if TYPE_CHECKING:
    import pandas as pd

FRAMES = 10
"""Frames of a sequence, as published."""


class Moment(NamedTuple):
    """When and where a frame was taken."""

    position: str
    time_index: int


def sequence_table(
    source: str | Path,
    settings: ConversionSettings,
    *,
    frames: int = FRAMES,
    where: Sequence[str] = (),
) -> pd.DataFrame:
    """The sequences that await annotation: every crop of the settings' lattice, `frames` long.

    Args:
        source: folder of frames that have a position and a time_index.
        settings: how they are read; crop_px and stride_px are the lattice (without a stride crops
            do not overlap). Where their labels stand does not matter.
        frames: consecutive frames of a sequence; sequences follow each other without overlap, from
            the first frame of each position on, and end where a frame is missing.
        where: conditions as in label rules, such as `light_dose_s <= 80`, on the frames.

    Returns item, position, [light_dose_s,] top_px, left_px, height_px, width_px, first_frame,
    frames and paths (of its frames below `source`, with `;` between them): the columns of an
    annotation log that are known before. Of each position one frame is decoded, for its size.
    Raises PlanError where frames cannot be told by position and time, or no sequence is found.
    """
    import pandas as pd

    from tfrecords_tools.discover import discover
    from tfrecords_tools.labels import located_tables

    if settings.crop_px is None:
        raise PlanError("sequences are cut as crops: give a crop size, 256 px in DeadNet")
    if frames < 1:
        raise PlanError(f"sequences of {frames} frames: expected 1 or more")
    source = Path(source)
    settings = replace(settings, labels="none", label_rules=(), annotations=None)
    sources = discover(source, located_tables(source, settings))
    if sources.problems:
        first = sources.problems[0]
        raise PlanError(f"{first.path}: {first.reason}; {len(sources.problems)} such in all")
    rows = _where(sources.rows.astype(object), where)
    found = frames_by_moment(rows)
    by_position: dict[str, dict[int, Row]] = {}
    for moment in sorted(found, key=lambda moment: (natural_key(moment.position), moment[1])):
        by_position.setdefault(moment.position, {})[moment.time_index] = found[moment]
    table: list[Row] = []
    for lapse in by_position.values():
        starts = _starts(list(lapse), frames)
        if starts:
            windows = _lattice(source, lapse[starts[0]], settings)
            table += [
                _sequence(window, [lapse[start + place] for place in range(frames)], start)
                for start in starts
                for window in windows
            ]
    if not table:
        raise PlanError(
            f"{source}: no position has {frames} consecutive frames that hold a crop of "
            f"{settings.crop_px} px; ask for fewer frames, or a smaller crop"
        )
    return pd.DataFrame(table)


def frames_by_moment(rows: Sequence[Row]) -> dict[Moment, Row]:
    """The frames by position and time. Raises PlanError where these do not tell them apart."""
    there = {name for row in rows for name, value in row.items() if value is not None}
    lacking = [name for name in ("position", "time_index") if name not in there]
    if lacking:
        raise PlanError(
            f"the images have no {' and no '.join(lacking)}, by which sequences are found; give "
            "them by a pattern, such as '{position}_t{time_index}.tif', or a table"
        )
    frames: dict[Moment, Row] = {}
    for row in rows:
        position, time = comparable(row.get("position")), comparable(row.get("time_index"))
        if position is None or time is None:
            continue
        if not time.isdecimal():
            raise PlanError(
                f"{row['source_id']}: time_index is {row['time_index']}, expected the number of "
                "the frame, 0 or more"
            )
        moment = Moment(position, int(time))
        other = frames.setdefault(moment, row)
        if other is not row:
            raise PlanError(
                f"{row['source_id']} and {other['source_id']} are both frame {time} of position "
                f"{row['position']}; positions need names of their own, in all wells and plates, "
                "for example by a pattern whose {position} holds the well as well"
            )
    return frames


def _where(rows: pd.DataFrame, where: Sequence[str]) -> list[Row]:
    """The frames that meet all conditions, their values as text."""
    texts: list[Row] = [
        {str(name): value if value == value else None for name, value in row.items()}
        for row in rows.to_dict("records")
    ]
    for condition_text in where:
        conditions = parse_conditions(condition_text, f"where {condition_text!r}")
        check_columns(conditions, texts, f"where '{condition_text}'")
        texts = [
            row
            for row in texts
            if all(
                condition.holds(row | {condition.column: comparable(row[condition.column])})
                for condition in conditions
            )
        ]
    return texts


def _starts(times: Sequence[int], frames: int) -> list[int]:
    """First frames of sequences that follow each other; a gap begins anew."""
    starts: list[int] = []
    run: list[int] = []
    for time in times:
        run = [*run, time] if run and time == run[-1] + 1 else [time]
        if len(run) == frames:
            starts.append(run[0])
            run = []
    return starts


def _lattice(source: Path, frame: Row, settings: ConversionSettings) -> list[Window]:
    fact = examine([source / path for path in frame["source_paths"]])
    side = settings.crop_px or fact.width_px
    return sliding_windows(
        fact.height_px, fact.width_px, side, settings.stride_px or side, settings.lattice
    )


def _sequence(window: Window, frames: Sequence[Row], start: int) -> Row:
    first = frames[0]
    dose = {"light_dose_s": first["light_dose_s"]} if "light_dose_s" in first else {}
    return {
        "item": f"{first['position']}_t{start:03}_y{window.top_px}_x{window.left_px}",
        "position": first["position"],
        **dose,
        **{name: getattr(window, name) for name in WINDOW},
        "first_frame": start,
        "frames": len(frames),
        "paths": ";".join(path for frame in frames for path in frame["source_paths"]),
    }

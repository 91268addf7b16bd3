"""Sequences of crops: what experts annotate, and what their annotations make of the frames.

A sequence is one window of one position over consecutive frames. DeadNet's second data set was
annotated by sequences of 10 frames of 256 x 256 px that do not overlap, 20 in a frame of
1344 x 1024; every frame of a sequence takes the label of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfrecords_tools.annotations import CONCORDANT, RESPONSES, UNSURE, judged, read_annotations
from tfrecords_tools.cut import WINDOW, Window, sliding_windows
from tfrecords_tools.errors import PlanError
from tfrecords_tools.images import examine
from tfrecords_tools.labelling import check_columns, ruled
from tfrecords_tools.rules import parse_conditions, parse_rule
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, Row, natural_key
from tfrecords_tools.table import comparable

if TYPE_CHECKING:
    import pandas as pd

FRAMES = 10
"""Frames of a sequence, as published."""

_NAMES_SHOWN = 6


class Annotated(NamedTuple):
    """Frames with their annotations.

    rows: one per frame and item, with label, item, annotators and the window; behind them the
    frames that label rules give a label, without a window. windows: those of all items in each
    frame, by its source_id, whatever came of the item.
    """

    rows: list[Row]
    windows: dict[str, list[Window]]


class _Moment(NamedTuple):
    """When and where a frame was taken."""

    position: str
    time_index: int


def annotated(
    rows: Sequence[Row],
    source: Path,
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
    warnings: list[str],
) -> Annotated:
    """The frames of all items that the annotators agree on, and those that label rules add.

    An item that lies at an unknown position, or of which a frame is missing, goes to `problems`.
    Raises PlanError where frames cannot be told by position and time, where no item is agreed on,
    or where a label rule gives another class than the annotators.
    """
    log = str(settings.annotations)
    responses = read_annotations(source / log)
    items = judged(responses)
    frames = _frames(rows)
    positions = {moment.position for moment in frames}
    found: list[Row] = []
    windows: dict[str, list[Window]] = {}
    unknown: dict[str, int] = {}
    for item in items.to_dict("records"):
        position = comparable(item["position"]) or ""
        times = range(item["first_frame"], item["first_frame"] + item["frames"])
        there = {time: frames.get(_Moment(position, time)) for time in times}
        window = Window(*(item[name] for name in WINDOW))
        for frame in there.values():
            if frame is not None:
                windows.setdefault(frame["source_id"], []).append(window)
        if item["verdict"] != CONCORDANT:
            continue
        missing = [time for time, frame in there.items() if frame is None]
        if position not in positions:
            unknown[item["position"]] = unknown.get(item["position"], 0) + 1
        elif missing:
            problems.append(_missing_frames(log, item["item"], item["position"], missing))
        else:
            found += [_labelled(frame, item) for frame in there.values() if frame is not None]
    problems += [_unknown_position(log, name, count, frames) for name, count in unknown.items()]
    notes.append(_counted(log, items, responses["annotator"].nunique()))
    replaced = int(responses["replaced"].sum())
    if replaced:
        notes.append(f"{log}: {replaced} answers replaced by a later one of the same annotator")
    if not found and not problems:
        raise PlanError(f"{_counted(log, items, responses['annotator'].nunique())}; none is left")
    if settings.label_rules:
        beside, counted = _by_rules(rows, settings.label_rules, warnings)
        side = settings.crop_px
        notes.append(f"{counted}; they give crops of {side} px that touch no annotated window")
        if set(items["height_px"]) | set(items["width_px"]) != {side}:
            warnings.append(f"{log} has windows of another size than the crops of {side} px beside")
        found += beside
    return Annotated(found, windows)


def annotated_side(windows: Mapping[str, Sequence[Window]]) -> int | None:
    """The side of the annotated windows; None where there are none, or several sizes."""
    sides = {side for found in windows.values() for window in found for side in window[2:4]}
    return sides.pop() if len(sides) == 1 else None


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
    found = _frames(rows)
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


def _frames(rows: Sequence[Row]) -> dict[_Moment, Row]:
    """The frames by position and time. Raises PlanError where these do not tell them apart."""
    there = {name for row in rows for name, value in row.items() if value is not None}
    lacking = [name for name in ("position", "time_index") if name not in there]
    if lacking:
        raise PlanError(
            f"the images have no {' and no '.join(lacking)}, by which sequences are found; give "
            "them by a pattern, such as '{position}_t{time_index}.tif', or a table"
        )
    frames: dict[_Moment, Row] = {}
    for row in rows:
        position, time = comparable(row.get("position")), comparable(row.get("time_index"))
        if position is None or time is None:
            continue
        if not time.isdecimal():
            raise PlanError(
                f"{row['source_id']}: time_index is {row['time_index']}, expected the number of "
                "the frame, 0 or more"
            )
        moment = _Moment(position, int(time))
        other = frames.setdefault(moment, row)
        if other is not row:
            raise PlanError(
                f"{row['source_id']} and {other['source_id']} are both frame {time} of position "
                f"{row['position']}; positions need names of their own, in all wells and plates, "
                "for example by a pattern whose {position} holds the well as well"
            )
    return frames


def _labelled(frame: Row, item: Mapping[Any, Any]) -> Row:
    dose = item["light_dose_s"]
    known = {} if dose != dose or frame.get("light_dose_s") else {"light_dose_s": f"{dose:g}"}
    window = {name: item[name] for name in WINDOW}
    named = {"item": item["item"], "annotators": str(item["annotators"]), "label": item["label"]}
    return frame | known | window | named


def _by_rules(
    rows: Sequence[Row], rules: Sequence[str], warnings: list[str]
) -> tuple[list[Row], str]:
    classes = [name for name in RESPONSES if name != UNSURE]
    for rule in rules:
        if parse_rule(rule).label not in classes:
            raise PlanError(
                f"label rule '{rule}': beside annotations the classes are {' and '.join(classes)}"
            )
    return ruled(rows, rules, required=True, warnings=warnings)


def _missing_frames(log: str, item: str, position: str, missing: Sequence[int]) -> Problem:
    shown = ", ".join(str(time) for time in missing[:_NAMES_SHOWN])
    more = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
    reason = f"frame {shown}{more} of position {position} is missing; add it, or delete the item"
    return Problem(f"{log}, item {item}", reason)


def _unknown_position(
    log: str, position: str, items: int, frames: Mapping[_Moment, Row]
) -> Problem:
    names = sorted({str(row["position"]) for row in frames.values()}, key=natural_key)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    reason = (
        f"{items} items lie there, but no image does; the images have "
        f"{', '.join(names[:_NAMES_SHOWN])}{more}; add the images, or correct the name"
    )
    return Problem(f"{log}, position {position}", reason)


def _counted(log: str, items: pd.DataFrame, annotators: int) -> str:
    labels = items["label"].value_counts().to_dict()
    verdicts = items["verdict"].value_counts().to_dict()
    kept = " and ".join(f"{labels.get(name, 0)} {name}" for name in RESPONSES if name != UNSURE)
    return (
        f"{log}: {len(items)} items by {annotators} annotators, {kept} kept; left out are "
        f"{verdicts.get('unsure', 0)} with an unsure answer and "
        f"{verdicts.get('disagreement', 0)} with answers that differ"
    )


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

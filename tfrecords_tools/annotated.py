"""What annotations make of images: the frames of the items that annotators settled.

An item is an image, a window of one, or a sequence, each frame of which takes the label of the
whole.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from tfrecords_tools.annotations import (
    ADJUDICATED,
    CONCORDANCE,
    DISAGREEMENT,
    MAJORITY,
    SHARE,
    UNSURE,
    classes_of,
    judged,
    read_annotations,
)
from tfrecords_tools.cut import WINDOW, Window
from tfrecords_tools.errors import PlanError
from tfrecords_tools.labelling import ruled
from tfrecords_tools.rules import parse_rule
from tfrecords_tools.sequences import Moment, frames_by_moment
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, Row, natural_key
from tfrecords_tools.table import comparable

if TYPE_CHECKING:
    import pandas as pd

_NAMES_SHOWN = 6
_LEFT_OUT = {
    CONCORDANCE: {UNSURE: "with an unsure answer", DISAGREEMENT: "with answers that differ"},
    MAJORITY: {UNSURE: "mostly with unsure answers", DISAGREEMENT: "without a majority"},
}
_ALL_UNSURE = {UNSURE: "with unsure answers only"}


class Annotated(NamedTuple):
    """Frames with their annotations.

    rows: one per frame and item, with label, item, annotators and the window (None for the whole
    image); behind them the frames that label rules give a label, without an item. windows: those
    of all items in each frame, by its source_id, whatever came of the item. beyond_border: whether
    these may reach past the border, as those of single images do.
    """

    rows: list[Row]
    windows: dict[str, list[Window]]
    beyond_border: bool


class _Frames(NamedTuple):
    """What of an item there is."""

    rows: list[Row]
    missing: Problem | None
    """Why the item cannot be used, where it is not whole."""


_FramesOf = Callable[[Mapping[Any, Any]], _Frames]


def annotated(
    rows: Sequence[Row],
    source: Path,
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
    warnings: list[str],
) -> Annotated:
    """The frames of all items that `settings.agreement` keeps, and those that label rules add.

    An item of an image that is not there, at an unknown position, or of which a frame is missing,
    goes to `problems`. Where annotators need not agree, the shares of their answers become columns.
    Raises PlanError where frames of sequences cannot be told by position and time, where no item
    is kept, or where a label rule gives another class than the annotators.
    """
    import pandas as pd

    log = str(settings.annotations)
    responses = read_annotations(source / log)
    items = judged(responses, settings.agreement)
    shares = [str(name) for name in items if str(name).startswith(SHARE)]
    is_sequences = bool(items["frames"].notna().all())
    frames_of = _sequences_in(rows, log) if is_sequences else _images_in(rows, log)
    found: list[Row] = []
    windows: dict[str, list[Window]] = {}
    whole: set[str] = set()
    missing: Counter[Problem] = Counter()
    for item in items.to_dict("records"):
        frames = frames_of(item)
        edges = [item[name] for name in WINDOW]
        place = None if pd.isna(edges[0]) else Window._make([*map(int, edges), "", None, None])
        for frame in frames.rows:
            if place is None:
                whole.add(frame["source_id"])
            else:
                windows.setdefault(frame["source_id"], []).append(place)
        if item["label"] is None:
            continue
        if frames.missing is not None:
            missing[frames.missing] += 1
            continue
        known = {
            "item": item["item"],
            "annotators": str(item["annotators"]),
            "label": item["label"],
        }
        if settings.agreement != CONCORDANCE:
            known |= {name: repr(float(item[name])) for name in shares}
        window = {name: getattr(place, name, None) for name in WINDOW}
        found += [frame | _dose(frame, item) | window | known for frame in frames.rows]
    _refuse_twins(found, log)
    problems += [
        Problem(place, reason.format(items=count)) for (place, reason), count in missing.items()
    ]
    counted = _counted(log, items, responses, settings.agreement)
    notes.append(counted)
    replaced = int(responses["replaced"].sum())
    if replaced:
        notes.append(f"{log}: {replaced} answers replaced by a later one of the same annotator")
    if not found and not problems:
        raise PlanError(f"{counted}; none is left")
    if settings.label_rules:
        unseen = [row for row in rows if row["source_id"] not in whole]
        beside, words = _by_rules(unseen, settings.label_rules, classes_of(responses), warnings)
        side = settings.crop_px
        notes.append(f"{words}; they give crops of {side} px that touch no annotated window")
        if {*items["height_px"], *items["width_px"]} != {side}:
            warnings.append(f"{log} has windows of another size than the crops of {side} px beside")
        found += beside
    return Annotated(found, windows, not is_sequences)


def annotated_side(windows: Mapping[str, Sequence[Window]]) -> int | None:
    """The side of the annotated windows; None where there are none, or several sizes."""
    sides = {side for found in windows.values() for window in found for side in window[2:4]}
    return sides.pop() if len(sides) == 1 else None


def item_window(
    source_id: str, item: str, place: Sequence[float], size_px: tuple[int, int]
) -> Window:
    """The window of an item in an image of `size_px`, named so that the example's id is the item's
    name where that begins with the image's, as ids of examples do.

    place: top, left, height and width, NaN for the whole image.
    """
    if any(number != number for number in place):
        return Window(0, 0, *size_px)
    top_px, left_px, height_px, width_px = (int(number) for number in place)
    return Window(top_px, left_px, height_px, width_px, _suffix(source_id, item))


def _suffix(source_id: str, item: str) -> str:
    return item.removeprefix(source_id) if item.startswith(source_id) else f"_{item}"


def _sequences_in(rows: Sequence[Row], log: str) -> _FramesOf:
    """How the frames of a sequence are found: by position and time."""
    frames = frames_by_moment(rows)
    positions = {moment.position for moment in frames}
    names = sorted({str(row["position"]) for row in frames.values()}, key=natural_key)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    known = f"{', '.join(names[:_NAMES_SHOWN])}{more}"

    def frames_of(item: Mapping[Any, Any]) -> _Frames:
        position = comparable(item["position"]) or ""
        times = range(item["first_frame"], item["first_frame"] + item["frames"])
        there = {time: frames.get(Moment(position, time)) for time in times}
        found = [frame for frame in there.values() if frame is not None]
        gaps = [time for time, frame in there.items() if frame is None]
        if position not in positions:
            reason = (
                f"{{items}} items lie there, but no image does; the images have {_plain(known)}; "
                "add the images, or correct the name"
            )
            return _Frames(found, Problem(f"{log}, position {item['position']}", reason))
        if gaps:
            return _Frames(found, _missing_frames(log, item["item"], item["position"], gaps))
        return _Frames(found, None)

    return frames_of


def _images_in(rows: Sequence[Row], log: str) -> _FramesOf:
    """How the image of an item is found: by its name, or that of one of its channel files."""
    by_name = {row["source_id"]: row for row in rows}
    files = Counter(path for row in rows for path in row["source_paths"])
    for row in rows:
        for path in row["source_paths"]:
            if files[path] == 1:
                by_name.setdefault(path, row)
    elsewhere = {PurePosixPath(name).name: name for name in by_name}
    searches = iter(range(_NAMES_SHOWN))

    def hint(path: str) -> str:
        """The image that may be meant; the search by letters, which takes long, for a few only."""
        close = elsewhere.get(PurePosixPath(path).name)
        if close is None and next(searches, None) is not None:
            close = next(iter(difflib.get_close_matches(path, list(by_name), n=1)), None)
        return f"did you mean {close}? " if close else ""

    def frames_of(item: Mapping[Any, Any]) -> _Frames:
        found = by_name.get(item["path"])
        if found is not None:
            return _Frames([found], None)
        reason = (
            f"there is no image {item['path']}; {hint(item['path'])}paths count from the folder of "
            "the images; correct it, or add the image"
        )
        return _Frames([], Problem(f"{log}, item {item['item']}", _plain(reason)))

    return frames_of


def _refuse_twins(rows: Sequence[Row], log: str) -> None:
    """Examples are told apart by the names of image and item, put together."""
    names = Counter(
        row["source_id"] + ("" if row["top_px"] is None else _suffix(row["source_id"], row["item"]))
        for row in rows
    )
    twins = [name for name, count in names.items() if count > 1]
    if twins:
        raise PlanError(
            f"{log}: two items would both become example {twins[0]}; rename one of them"
        )


def _plain(text: str) -> str:
    """Text in which nothing is to be filled in."""
    return text.replace("{", "{{").replace("}", "}}")


def _dose(frame: Row, item: Mapping[Any, Any]) -> Row:
    dose = item["light_dose_s"]
    return {} if dose != dose or frame.get("light_dose_s") else {"light_dose_s": f"{dose:g}"}


def _by_rules(
    rows: Sequence[Row], rules: Sequence[str], classes: Sequence[str], warnings: list[str]
) -> tuple[list[Row], str]:
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
    return Problem(f"{log}, item {item}", _plain(reason))


def _counted(log: str, items: pd.DataFrame, responses: pd.DataFrame, rule: str) -> str:
    labels = items["label"].value_counts().to_dict()
    verdicts = items["verdict"].value_counts().to_dict()
    kept = " and ".join(f"{labels.get(name, 0)} {name}" for name in classes_of(responses))
    left_out = " and ".join(
        f"{verdicts.get(verdict, 0)} {words}"
        for verdict, words in _LEFT_OUT.get(rule, _ALL_UNSURE).items()
    )
    decided, tied = verdicts.get(ADJUDICATED, 0), int(items["tied"].sum())
    return (
        f"{log}: {len(items)} items by {responses['annotator'].nunique()} annotators, {kept} kept; "
        f"left out are {left_out}"
        + (f"; {decided} are adjudicated" if decided else "")
        + (f"; of {tied} with a tie one of the classes is drawn" if tied else "")
    )

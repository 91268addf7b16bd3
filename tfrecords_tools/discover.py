"""A source folder as a table: which images there are, their labels and their metadata."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tfrecords_tools.annotated import annotated
from tfrecords_tools.cut import WINDOW, Window
from tfrecords_tools.errors import SourceError
from tfrecords_tools.exports import Exports, find_exports
from tfrecords_tools.labelling import ruled
from tfrecords_tools.labels import (
    check_labels,
    image_row,
    join_by_keys,
    join_table,
    read_labels,
    uneven_wells,
    with_well,
)
from tfrecords_tools.listing import expanded, with_channels
from tfrecords_tools.locator import Locator
from tfrecords_tools.pattern import CHANNEL, CHANNEL_PLACE, name_pattern
from tfrecords_tools.pool import Progress
from tfrecords_tools.scale import PIXEL_SIZE, scaled
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import (
    Problem,
    Row,
    SourceImage,
    Sources,
    find_images,
    natural_key,
)
from tfrecords_tools.split import PLACES
from tfrecords_tools.table import BOX_COLUMNS, ROW_NUMBER, typed

if TYPE_CHECKING:
    import pandas as pd

# The order of the manifest's metadata; any other column follows as the source has it.
KNOWN_METADATA = (
    "experiment",
    "plate",
    "well",
    "row",
    "column",
    "field",
    "position",
    "time_index",
    "time_hours",
    "cell_line",
    "treatment",
    "concentration_um",
    "viability",
)


_FOLDERS_SHOWN = 5


def discover(
    source: Path,
    settings: ConversionSettings,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Sources:
    """Read the source folder as the settings say. `classes`: the only labels there can be.

    Files that hold many images are listed, without reading pixels.

    Raises SourceError where nothing can be read: no folder, no image, no table, no such column.
    What is wrong with single files or rows is collected in `problems`.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    files = find_images(source)
    table = read_labels(source, settings, files) if settings.table is not None else None
    by_path = table is not None and "path" in table
    if table is not None and by_path:
        files = _in_named_folders(files, table, settings, notes)
    if table is not None and by_path and _has_channel_place(table):
        images = _images_of_table(table, files, settings, problems)
        images = expanded(source, images, settings, problems, progress)
    else:
        exports = Exports()
        if settings.pattern is None or settings.layout != "auto":
            exports = find_exports(source, files, settings, problems, notes)
        alone = [path for path in files if path not in exports.files]
        images = _images_of_names(alone, settings, problems, notes) | exports.stacks
        images = expanded(source, images, settings, problems, progress) | exports.images
    images, channels = with_channels(images, settings, problems, notes)
    rows = [image_row(source_id, image, settings) for source_id, image in images.items()]
    if table is not None and by_path:
        rows = join_table(rows, table, files, settings, problems, notes)
    elif table is not None:
        rows = join_by_keys(rows, table, settings, problems, notes)
    rows = _with_positions([with_well(row) for row in rows], images)
    uneven = uneven_wells(rows)
    if uneven is not None:
        notes.append(uneven)
    warnings: list[str] = []
    if settings.labels == "rules":
        required = settings.labels_required
        rows, counted = ruled(rows, settings.label_rules, required=required, warnings=warnings)
        notes.append(f"{counted} and are {'left out' if required else 'unlabelled'}")
    windows: dict[str, list[Window]] = {}
    beyond_border = False
    if settings.labels == "annotations":
        rows, windows, beyond_border = annotated(rows, source, settings, problems, notes, warnings)
    rows = check_labels(rows, settings, classes, problems, notes)
    frame, metadata = _as_frame(rows, settings)
    frame = scaled(frame, settings, problems)
    if PIXEL_SIZE in frame and PIXEL_SIZE not in metadata:
        metadata = (*metadata, PIXEL_SIZE)
    return Sources(frame, metadata, problems, notes, warnings, channels, windows, beyond_border)


def _has_channel_place(table: pd.DataFrame) -> bool:
    return bool(table["path"].str.contains(CHANNEL_PLACE, regex=False, na=False).any())


def _with_positions(rows: Sequence[Row], images: Mapping[str, SourceImage]) -> list[Row]:
    """Where images are frames of one file and nothing says where they were taken, the file does.

    Otherwise the frames of a time lapse would count as images that know nothing of each other.
    """
    there = {name for row in rows for name in row}
    placed = any(there.issuperset(place) for place in PLACES)
    if placed or not any(images[row["source_id"]].position for row in rows):
        return list(rows)
    return [
        row | {"position": images[row["source_id"]].position or row["source_id"]} for row in rows
    ]


def _in_named_folders(
    files: Sequence[str], table: pd.DataFrame, settings: ConversionSettings, notes: list[str]
) -> list[str]:
    """The files in folders that the table names an image of; masks and the like lie elsewhere."""
    named = {
        PurePosixPath(Locator.parse(path.replace(CHANNEL_PLACE, channel)).files[0]).parent
        for path in table["path"].dropna()
        for channel in settings.channels or ("",)
    }
    kept = [path for path in files if PurePosixPath(path).parent in named]
    left_out = {str(PurePosixPath(path).parent) for path in set(files).difference(kept)}
    if left_out:
        shown = ", ".join(sorted(left_out, key=natural_key)[:_FOLDERS_SHOWN])
        more = ", …" if len(left_out) > _FOLDERS_SHOWN else ""
        notes.append(
            f"{len(files) - len(kept)} images left out: {settings.table} names none in their "
            f"folders ({shown}{more})"
        )
    return kept


def _in_folder_of_pattern(files: Sequence[str], pattern: str, notes: list[str]) -> Sequence[str]:
    """The files in the folder that the pattern names without braces, if any lie there."""
    folders = pattern.split("/")[:-1]
    literal = itertools.takewhile(lambda folder: "{" not in folder, folders)
    folder = "".join(f"{name}/" for name in literal)
    kept = [path for path in files if path.startswith(folder)]
    if not kept or len(kept) == len(files):
        return files
    notes.append(f"{len(files) - len(kept)} images left out: not in {folder}, as the pattern says")
    return kept


def _images_of_names(
    files: Sequence[str],
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
) -> dict[str, SourceImage]:
    """Images by source id, channel files joined by the channel's name in the file name."""
    if settings.pattern is None:
        return {path: SourceImage((path,), {}) for path in files}
    files = _in_folder_of_pattern(files, settings.pattern, notes)
    pattern = name_pattern(settings.pattern, settings.channels)
    if settings.labels == "pattern" and settings.labels_required and "label" not in pattern.names:
        raise SourceError(
            f"pattern {settings.pattern}: no part {{label}}, though labels are to come from it"
        )
    by_channel = CHANNEL in pattern.names
    members: dict[str, dict[str, str]] = {}
    parts: dict[str, Mapping[str, str]] = {}
    ignored: dict[str, int] = {}
    for path in files:
        match = pattern.match(path)
        if match is None and (settings.labels_required or by_channel):
            reason = f"does not fit the pattern {settings.pattern}; rename it or change the pattern"
            problems.append(Problem(path, reason))
            continue
        found = dict(match.parts) if match else {}
        source_id = match.source_id if match else path
        channel = found.pop(CHANNEL, "")
        if by_channel and settings.channels and channel not in settings.channels:
            ignored[channel] = ignored.get(channel, 0) + 1
            continue
        other = members.setdefault(source_id, {}).get(channel)
        if other is not None:
            reason = (
                f"a second file of channel {channel}, as {other} is; keep one, or name what tells "
                "them apart in the pattern ({*} does not)"
            )
            problems.append(Problem(path, reason))
            continue
        members[source_id][channel] = path
        parts[source_id] = found
    if by_channel and not settings.channels:
        names = sorted({name for found in members.values() for name in found}, key=natural_key)
        raise SourceError(
            f"pattern {settings.pattern}: has {{channel}}, so the channels must be named in order; "
            f"the file names have --channels {','.join(names)}"
        )
    notes += [
        f"channel {name}: {count} files left out, not among --channels"
        for name, count in ignored.items()
    ]
    if not by_channel:
        return {
            key: SourceImage(tuple(found.values()), parts[key]) for key, found in members.items()
        }
    return _complete(members, parts, settings.channels, problems, ignored)


def _complete(
    members: Mapping[str, Mapping[str, str]],
    parts: Mapping[str, Mapping[str, str]],
    channels: Sequence[str],
    problems: list[Problem],
    ignored: Iterable[str] = (),
) -> dict[str, SourceImage]:
    """The images that have a file for every channel, in the order of `channels`.

    ignored: channels that files have beside these. Raises SourceError for one that none has.
    """
    known = {name for found in members.values() for name in found}
    nowhere = [name for name in channels if name not in known]
    if nowhere and known.union(ignored):
        names = ", ".join(sorted(known.union(ignored), key=natural_key))
        raise SourceError(
            f"--channels names {', '.join(nowhere)}, but no file has it; file names have {names}"
        )
    images = {}
    for source_id, found in members.items():
        missing = [name for name in channels if name not in found]
        if missing:
            present = ", ".join(name for name in channels if name in found) or "none"
            reason = f"channel {', '.join(missing)} is missing (found: {present}); add the file"
            problems.append(Problem(source_id, reason))
            continue
        images[source_id] = SourceImage(tuple(found[name] for name in channels), parts[source_id])
    return images


def _images_of_table(
    table: pd.DataFrame,
    files: Sequence[str],
    settings: ConversionSettings,
    problems: list[Problem],
) -> dict[str, SourceImage]:
    """Images whose path in the table has `{channel}`: one file per channel name."""
    if not settings.channels:
        raise SourceError(
            f"{settings.table}: paths have {{channel}}, so the channels must be named in order, "
            "for example --channels DNA,ER"
        )
    pattern = name_pattern(settings.pattern, settings.channels) if settings.pattern else None
    known = set(files)
    members: dict[str, dict[str, str]] = {}
    parts: dict[str, Mapping[str, str]] = {}
    for source_id in dict.fromkeys(table["path"].dropna()):
        paths = {name: source_id.replace(CHANNEL_PLACE, name) for name in settings.channels}
        found = {name: path for name, path in paths.items() if path in known}
        if not found:
            continue
        members[source_id] = found
        match = pattern.match(next(iter(found.values()))) if pattern else None
        parts[source_id] = {k: v for k, v in match.parts.items() if k != CHANNEL} if match else {}
    return _complete(members, parts, settings.channels, problems)


def _as_frame(
    rows: Sequence[Row], settings: ConversionSettings
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows in natural order of their source, numbers as numbers, and the metadata's names."""
    import pandas as pd

    own = ("source_id", "source_paths", "label")
    ordered = sorted(rows, key=lambda row: natural_key(row["source_id"]))
    seen = dict.fromkeys(name for row in ordered for name in row)
    places = {"boxes": (ROW_NUMBER, *BOX_COLUMNS), "annotations": WINDOW}
    boxes = places.get(settings.labels, ())
    names = [name for name in KNOWN_METADATA if name in seen]
    names += [name for name in seen if name not in {*own, *names, *boxes, ROW_NUMBER}]
    columns = {
        name: pd.Series([row.get(name) for row in ordered], dtype=object)
        for name in (*own, *boxes, *names)
    }
    frame = pd.DataFrame(columns)
    metadata = tuple(name for name in names if frame[name].notna().any())
    for name in metadata:
        frame[name] = typed(name, frame[name])
    frame = frame.astype({name: "float64" for name in boxes})
    return frame[[*own, *boxes, *metadata]], metadata

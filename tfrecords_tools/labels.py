"""Labels and metadata: from folders, file names, or a table joined by path."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools.container import row_letters
from tfrecords_tools.errors import SourceError
from tfrecords_tools.locator import Locator
from tfrecords_tools.naming import labels_in, named_label
from tfrecords_tools.pattern import CHANNEL_PLACE
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, Row, SourceImage, natural_key
from tfrecords_tools.table import (
    AMOUNTS,
    BOX_COLUMNS,
    ROW_NUMBER,
    as_number,
    check_columns,
    comparable,
    metadata_name,
    read_table,
)

if TYPE_CHECKING:
    import pandas as pd

_WELL = re.compile(r"([A-Za-z]{1,2})0*([0-9]+)")
_WITHIN_A_PLATE = frozenset({"well", "row", "column", "field", "position"})
_VALUES_SHOWN = 5
_CLOCK = re.compile(r"(\d+)d(\d+)h(\d+)m")


def located_tables(source: Path, settings: ConversionSettings) -> ConversionSettings:
    """Settings whose table and annotations are relative to the source folder where they lie inside,
    else absolute.

    A relative one is looked for in the source folder first, then in the current one. Where new
    images are converted to be predicted only the source folder counts, because the table of
    another experiment may name files alike; a missing table of labels is then left out. Raises
    SourceError.
    """
    if settings.annotations is not None:
        log = _located(source, settings.annotations, settings)
        if log is None:
            raise SourceError(
                f"{source / settings.annotations}: no such annotation log; deadlib-convert "
                "sequences writes the table of what is to be annotated"
            )
        settings = replace(settings, annotations=log)
    if settings.table is None:
        return settings
    table = _located(source, settings.table, settings)
    if table is None:
        if not settings.labels_required and settings.labels != "boxes":
            labels = "none" if settings.labels == "table" else settings.labels
            return replace(settings, table=None, labels=labels)
        columns = f"{settings.path_column}, {', '.join(BOX_COLUMNS)}"
        needed = f"; boxes are needed: columns {columns}" if settings.labels == "boxes" else ""
        raise SourceError(f"{source / settings.table}: no such table{needed}")
    return replace(settings, table=table)


def _located(source: Path, file: str, settings: ConversionSettings) -> str | None:
    candidates = [source / file, *([Path(file)] if settings.labels_required else [])]
    path = next((path.resolve() for path in candidates if path.is_file()), None)
    if path is None:
        return None
    inside = path.is_relative_to(source.resolve())
    return path.relative_to(source.resolve()).as_posix() if inside else path.as_posix()


def read_labels(source: Path, settings: ConversionSettings, files: Sequence[str]) -> pd.DataFrame:
    """The table with the columns path (below the source), label, row_number, and metadata.

    A table without paths, a plate layout, is joined by the columns that it shares with the images.
    """
    origin = source / str(settings.table)
    frame = read_table(origin)
    labelled = settings.labels in ("table", "boxes")
    by_keys = settings.path_column not in frame and settings.labels != "boxes"
    by_keys = by_keys and settings.path_column == ConversionSettings.path_column
    if not by_keys:
        hint = "name the column of paths (--path-column)"
        check_columns(frame, [settings.path_column], origin, hint)
    if labelled and settings.labels_required:
        check_columns(frame, [settings.label_column], origin, "name the column (--label-column)")
        if frame[settings.label_column].isna().all():
            raise SourceError(f"{origin}: column {settings.label_column} is empty in every row")
    if settings.labels == "boxes":
        check_columns(frame, BOX_COLUMNS, origin, "a table of boxes has one box per row, in pixels")
    own = {settings.path_column: "path"}
    if labelled and settings.label_column in frame:
        own[settings.label_column] = "label"
    renamed = frame.rename(
        columns={name: metadata_name(name) for name in frame.columns if name not in own}
    )
    renamed = renamed.rename(columns=own)
    # Row numbers as a spreadsheet shows them: the header is row 1.
    renamed.insert(0, ROW_NUMBER, range(2, len(renamed) + 2))
    _check_amounts(renamed, origin)
    if not by_keys:
        renamed["path"] = _below_source(renamed["path"], source, origin, set(files), settings)
    return renamed


def _check_amounts(table: pd.DataFrame, origin: Path) -> None:
    """Raise SourceError, naming the rows, for a dose or viability that is no number."""
    wrong = [
        f"{origin}, row {row}, {name}: found {text!r}, expected a number such as 0.5"
        for name in AMOUNTS
        if name in table
        for row, text in zip(table[ROW_NUMBER], table[name], strict=True)
        if text is not None and not _is_amount(text)
    ]
    if wrong:
        more = f"\nand {len(wrong) - _VALUES_SHOWN} more" if len(wrong) > _VALUES_SHOWN else ""
        raise SourceError(
            "\n".join(wrong[:_VALUES_SHOWN])
            + f"{more}\nCorrect the table; deadlib-plates table reads decimal commas and names rows"
        )


def _is_amount(text: str) -> bool:
    number = as_number(text)
    return number is not None and isfinite(number)


def _below_source(
    paths: pd.Series, source: Path, origin: Path, files: set[str], settings: ConversionSettings
) -> pd.Series:
    """Paths as they stand in the source folder; the table may count them from its own folder."""
    import pandas as pd

    def from_base(base: Path) -> pd.Series:
        def convert(text: str | None) -> str | None:
            if text is None:
                return None
            relative = os.path.relpath(base / text.replace("\\", "/"), source.resolve())
            return Path(relative).as_posix()

        return pd.Series([convert(text) for text in paths], index=paths.index, dtype=object)

    def known(candidate: pd.Series) -> bool:
        return any(
            Locator.parse(text.replace(CHANNEL_PLACE, channel)).files[0] in files
            for text in candidate.dropna()
            for channel in settings.channels or ("",)
        )

    for base in (source.resolve(), origin.resolve().parent):
        candidate = from_base(base)
        if known(candidate):
            return candidate
    raise SourceError(
        f"{origin}: none of its {len(paths)} paths is an image below {source}; the first one is "
        f"{paths.iloc[0]}, the first image found {min(files, key=natural_key)}"
    )


def image_row(source_id: str, image: SourceImage, settings: ConversionSettings) -> Row:
    """An image with the label and metadata that its path gives."""
    parts = dict(image.parts)
    named = parts.pop("label", None)
    label = None
    if settings.labels == "pattern":
        label = named
    elif settings.labels == "names":
        label = named_label(source_id, settings.label_names)
    elif settings.labels == "folder":
        # An export's own folders (one per time point) are no classes: its images say where it lies.
        place = image.paths[0] if CHANNEL_PLACE in source_id else source_id
        label = place.split("/", 1)[0] if "/" in place else None
    if "time_hours" in parts:
        parts["time_hours"] = _in_hours(parts["time_hours"])
    row: Row = {"source_id": source_id, "source_paths": image.paths, "label": label}
    return row | {metadata_name(name): value for name, value in parts.items()}


def _in_hours(text: str) -> str:
    """A time as live-cell microscopes write it in file names, 01d02h30m, in hours."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return text
    days, hours, minutes = (int(part) for part in match.groups())
    return f"{24 * days + hours + minutes / 60:.6g}"


def join_table(
    rows: Sequence[Row],
    table: pd.DataFrame,
    files: Sequence[str],
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
) -> list[Row]:
    """Images with their row of the table, or with boxes one row per box.

    A row may name the image, a channel file, or a file of several images: then it is for all of
    them, unless other columns (time_index, field) that the images have tell rows of one file apart.
    What does not match in either direction goes to `problems`.
    """
    by_path: dict[str, list[Row]] = {}
    for row in rows:
        locators = [Locator.parse(text) for text in row["source_paths"]]
        read = [file for locator in locators for file in locator.files]
        for path in dict.fromkeys((row["source_id"], *row["source_paths"], *read)):
            by_path.setdefault(path, []).append(row)
    # A file left out for a reason of its own needs no second complaint from its row.
    excused = {*files, *(problem.path for problem in problems)}
    found: dict[str, list[Row]] = {}
    entries: list[Row] = [
        dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)
    ]
    repeated = Counter(entry["path"] for entry in entries)
    for entry in entries:
        images = by_path.get(entry["path"], [])
        if len(images) > 1 and repeated[entry["path"]] > 1:
            images = [row for row in images if _agree(row, entry)]
        for image in images:
            found.setdefault(image["source_id"], []).append(entry)
        if not images and entry["path"] not in excused:
            problems.append(_row_without_image(entry, settings))
    if settings.labels == "boxes":
        empty = sum(row["source_id"] not in found for row in rows)
        if empty:
            notes.append(f"{empty} images have no box in {settings.table}; they give no example")
        return [
            _merged(row, entry) | _box(entry, settings, problems)
            for row in rows
            for entry in found.get(row["source_id"], [])
        ]
    joined = []
    unlisted = 0
    for row in rows:
        entries = found.get(row["source_id"], [])
        if entries:
            joined += _one_row(row, entries, settings, problems)
        elif settings.labels_required and settings.unlisted == "skip":
            unlisted += 1
        elif settings.labels_required:
            reason = (
                f"no row in {settings.table}; add one, or move the file out of the source folder"
            )
            problems.append(Problem(row["source_id"], reason))
        else:
            joined.append(row)
    if unlisted:
        notes.append(f"{unlisted} images left out: {settings.table} does not list them")
    return joined


def join_by_keys(
    rows: Sequence[Row],
    table: pd.DataFrame,
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
) -> list[Row]:
    """Images with the row of a plate layout: the one that agrees in all columns that both have.

    Wells agree as B3 and B03, or as row and column. Raises SourceError where nothing is shared.
    """
    listed: list[Row] = [
        dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)
    ]
    entries = [_with_place(entry) for entry in listed]
    images = [_with_place(row) for row in rows]
    known = dict.fromkeys(name for image in images for name in image)
    own = {"source_id", "source_paths", "label", ROW_NUMBER}
    keys = [name for name in entries[0] if name in known and name not in own]
    if not keys:
        has = ", ".join(name for name in known if name not in own) or "none"
        raise SourceError(
            f"{settings.table}: no column {settings.path_column}, and none that the images have, "
            f"such as well (columns of the images: {has}); name the column of paths "
            "(--path-column), or give the images metadata by --pattern"
        )
    by_key: dict[tuple[str | None, ...], list[Row]] = {}
    for entry, as_listed in zip(entries, listed, strict=True):
        by_key.setdefault(_key(entry, keys), []).append(as_listed)
    there = {name: {comparable(entry[name]) for entry in entries} for name in keys}
    used = set()
    unlisted: Counter[str] = Counter()
    joined = []
    for row, image in zip(rows, images, strict=True):
        key = _key(image, keys)
        found = by_key.get(key, [])
        used.add(key)
        where = ", ".join(f"{name}={image.get(name)}" for name in keys)
        if len(found) == 1:
            joined.append(row | {k: v for k, v in found[0].items() if k not in keys})
        elif found:
            numbers = ", ".join(str(entry[ROW_NUMBER]) for entry in found)
            reason = f"{where} stands in rows {numbers} of {settings.table}; keep one"
            problems.append(Problem(row["source_id"], reason))
        elif settings.labels_required and settings.unlisted == "skip":
            nowhere = _nowhere(image, there)
            unlisted[f"no row has {nowhere}" if nowhere else "wells of plates that it has"] += 1
        elif settings.labels_required:
            nowhere = _nowhere(image, there)
            reason = f"no row in {settings.table} for {where}" + (
                f"; it has no {nowhere} at all (but {_few(there[nowhere.split('=')[0]])})"
                if nowhere
                else ""
            )
            advice = "; add one, leave the image out, or skip all such images with --unlisted skip"
            problems.append(Problem(row["source_id"], reason + advice))
        else:
            joined.append(row)
    if unlisted:
        shares = ", ".join(f"{what}: {count}" for what, count in unlisted.items())
        notes.append(
            f"{unlisted.total()} images left out: {settings.table} does not list them ({shares})"
        )
    spare = sum(len(found) for key, found in by_key.items() if key not in used)
    notes.append(
        f"{settings.table} joined by {', '.join(keys)}"
        + (f"; {spare} of its {len(entries)} rows fit no image" if spare else "")
    )
    return joined


def _nowhere(image: Row, there: Mapping[str, Collection[str | None]]) -> str | None:
    """A value of the image that no row of the table has, such as plate=3, coarser columns first."""
    for name, known in there.items():
        if name not in _WITHIN_A_PLATE and comparable(image.get(name)) not in known:
            return f"{name}={image.get(name)}"
    return None


def _few(values: Collection[str | None]) -> str:
    known = sorted((value for value in values if value is not None), key=natural_key)
    return ", ".join(known[:_VALUES_SHOWN]) + (", …" if len(known) > _VALUES_SHOWN else "")


def _key(values: Mapping[str, Any], names: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(comparable(values.get(name)) for name in names)


def _agree(row: Row, entry: Row) -> bool:
    """Whether an image and a row of the table have no column with different values."""
    image, other = _with_place(row), _with_place(entry)
    shared = [name for name in other if name in image and name not in ("label", "path")]
    return all(comparable(image[name]) == comparable(other[name]) for name in shared if other[name])


def with_well(row: Row) -> Row:
    """The image with its well by name, where only row and column say which it is."""
    if row.get("well") is not None:
        return row
    placed = _with_place({k: v for k, v in row.items() if k != "well"})
    text = placed.get("well")
    return row | {"well": text} if text is not None and _WELL.fullmatch(text) else row


def uneven_wells(rows: Sequence[Row]) -> str | None:
    """Words where wells have differing numbers of images, which is allowed; frames do not count."""
    images: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        if row.get("well") is None or row.get("time_index") is not None:
            return None
        key = tuple(str(row[name]) for name in ("experiment", "plate", "well") if row.get(name))
        images.setdefault(key, set()).add(row["source_id"])
    counts = Counter(len(found) for found in images.values())
    if len(counts) < 2:
        return None
    usual, number = counts.most_common(1)[0]
    odd = [f"{' '.join(key)}: {len(found)}" for key, found in images.items() if len(found) != usual]
    more = ", …" if len(odd) > _VALUES_SHOWN else ""
    return (
        f"{number} of {len(images)} wells have {usual} images, the others {min(counts)} to "
        f"{max(counts)} ({', '.join(odd[:_VALUES_SHOWN])}{more})"
    )


def _with_place(values: Row) -> Row:
    """Wells in one spelling (B03), also where row and column name them."""
    column = "column" if "column" in values else "col"
    letters, number = values.get("row"), values.get(column)
    text = values.get("well")
    placed = "well" in values or ("row" in values and column in values)
    if text is None and letters is not None and number is not None:
        letters = str(letters)
        text = (row_letters(int(letters) - 1) if letters.isdecimal() else letters) + str(number)
    if not placed:
        return values
    match = _WELL.fullmatch(str(text)) if text is not None else None
    well = f"{match[1].upper()}{int(match[2]):02}" if match else text
    return {k: v for k, v in values.items() if k not in ("row", "column", "col")} | {"well": well}


def check_labels(
    rows: Sequence[Row],
    settings: ConversionSettings,
    classes: Sequence[str] | None,
    problems: list[Problem],
    notes: list[str],
) -> list[Row]:
    """The rows whose label can be used. Raises SourceError if no image lies in a class folder."""
    if settings.labels == "none":
        return list(rows)
    if classes is not None:
        return _known_labels(rows, classes, notes)
    if not settings.labels_required:
        return list(rows)
    unlabelled = [row for row in rows if row["label"] is None]
    if settings.labels == "folder" and rows and len(unlabelled) == len(rows):
        raise SourceError(
            f"{rows[0]['source_id']} and all other images lie directly in the source folder, where "
            "a folder per class was expected; sort them into such folders, or say where the labels "
            "are: --pattern, --table, --boxes or --labels none"
        )
    place = "lies in no class folder" if settings.labels == "folder" else "no label"
    for row in unlabelled:
        if settings.labels == "names":
            found = labels_in(row["source_id"], settings.label_names)
            place = (
                f"its name has {' and '.join(found) or 'none'} of the labels "
                f"{', '.join(settings.label_names)}, expected exactly one"
            )
        where = f" in row {row[ROW_NUMBER]} of {settings.table}" if ROW_NUMBER in row else ""
        reason = f"{place}{where}; give it one, or leave it out"
        problems.append(Problem(row["source_id"], reason))
    return [row for row in rows if row["label"] is not None]


def _known_labels(rows: Sequence[Row], classes: Sequence[str], notes: list[str]) -> list[Row]:
    """Labels that the classes do not have are taken off: such an image has no known class."""
    unknown: dict[str, int] = {}
    checked = []
    for row in rows:
        label = row["label"]
        if label is not None and label not in classes:
            unknown[label] = unknown.get(label, 0) + 1
            row = row | {"label": None}
        checked.append(row)
    # A folder of new images is no claim about their class unless a class folder is among them.
    if any(row["label"] is not None for row in checked):
        notes += [
            f"label {label} is none of the classes {', '.join(classes)}: {count} examples count as "
            "unlabelled"
            for label, count in unknown.items()
        ]
    return checked


def _one_row(
    row: Row, entries: Sequence[Row], settings: ConversionSettings, problems: list[Problem]
) -> list[Row]:
    """The image with its single row, or with what the rows of its channel files agree on."""
    paths = [entry["path"] for entry in entries]
    if len(set(paths)) < len(paths):
        numbers = ", ".join(str(entry[ROW_NUMBER]) for entry in entries)
        reason = f"stands in rows {numbers} of {settings.table}; keep one"
        problems.append(Problem(row["source_id"], reason))
        return []
    shared = {
        name: value
        for name, value in entries[0].items()
        if name == ROW_NUMBER or all(entry[name] == value for entry in entries)
    }
    if "label" in entries[0] and "label" not in shared:
        found = ", ".join(sorted({str(entry["label"]) for entry in entries}))
        reason = f"its channel files have different labels in {settings.table}: {found}; correct it"
        problems.append(Problem(row["source_id"], reason))
        return []
    return [_merged(row, shared)]


def _merged(row: Row, entry: Mapping[str, Any]) -> Row:
    """The image's row with the table's columns; where both have one, the table's value stands."""
    values = {k: v for k, v in entry.items() if k != "path" and (v is not None or k not in row)}
    return row | values


def _box(entry: Row, settings: ConversionSettings, problems: list[Problem]) -> Row:
    """The box as numbers; a value that is none becomes a problem and a box of NaN."""
    try:
        return {name: float(entry[name]) for name in BOX_COLUMNS}
    except (TypeError, ValueError):
        found = ", ".join(f"{name}={entry[name]}" for name in BOX_COLUMNS)
        reason = f"row {entry[ROW_NUMBER]} of {settings.table}: {found}; expected four numbers"
        problems.append(Problem(entry["path"], reason))
        return dict.fromkeys(BOX_COLUMNS, float("nan"))


def _row_without_image(entry: Row, settings: ConversionSettings) -> Problem:
    if entry["path"] is None:
        return Problem(f"{settings.table}, row {entry[ROW_NUMBER]}", "no path; fill it in")
    reason = f"row {entry[ROW_NUMBER]} of {settings.table} names it, but there is no such image"
    return Problem(entry["path"], f"{reason}; add the file or delete the row")

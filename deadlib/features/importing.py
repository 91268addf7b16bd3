"""Feature tables of other programs: CSV of CellProfiler, Columbus or anything like them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deadlib.errors import InputError
from deadlib.features.splits import well_name
from deadlib.features.table import CELL, CELLS, IMAGE, ROWS, WELL, check_name, table_schema
from deadlib.outputs import written_whole
from deadlib.predictions import as_names, nearest_name
from tfrecords_tools.container import row_letters
from tfrecords_tools.split import group_columns, group_names
from tfrecords_tools.table import TEXT_COLUMNS, read_table, typed

KNOWN = frozenset(
    {"example_id", "image_id", "split", "label", "group", "concentration_um", "viability"}
    | {"time_index", "time_hours"} | TEXT_COLUMNS
)  # fmt: skip
"""Columns that say what a row is; they are never features."""
NAMES = {
    name.lower(): ours
    for ours, names in {
        "plate": ("Metadata_Plate", "PlateName", "Plate ID", "Barcode", "Metadata_Barcode"),
        "well": ("Metadata_Well", "WellName", "Well Name"),
        "field": ("Metadata_Site", "Metadata_Field", "FieldIndex", "Field", "Site"),
        "row": ("Metadata_Row", "Row"),
        "column": ("Metadata_Column", "Metadata_Col", "Column", "Col"),
        "treatment": ("Metadata_Compound", "Compound", "Metadata_Treatment"),
        "concentration_um": ("Concentration",),
    }.items()
    for name in names
}
"""Names that other programs give to what we know, in lower case."""
NOT_MEASURED = (
    "metadata_*", "filename_*", "pathname_*", "url_*", "*imagenumber*", "*objectnumber*",
    "*object_number*", "*object no*", "*location_*", "*_center_?", "*parent_*", "*children_*",
    "executiontime*", "md5digest*", "group_*", "moduleerror*", "scaling_*", "height_*", "width_*",
    "processingstatus*", "channel_*", "bounding*box*", "position?x*", "position?y*", "x", "y",
    "*boundingbox*", "timepoint", "plane", "measurement*", "screen*", "evaluation*",
    "*absolute position*", "unnamed*", "id", "index",
    "*concentration*", "*dose*", "*viability*", "*luminescence*", "atp", "*_atp*", "*replicate*",
    "class", "*label*", "target", "truth",
)  # fmt: skip
"""Columns, in lower case, that number, name or place a cell or image and so would tell more of
the plate than of the cell, or say what was done to the well and what became of it."""


@dataclass(frozen=True)
class Imported:
    """What became of the CSV: how many rows, which columns are features, which were not taken."""

    path: Path
    rows: int
    features: tuple[str, ...]
    left_out: tuple[str, ...]


def import_features(
    tables: Sequence[str | Path],
    out: str | Path,
    *,
    per: str = WELL,
    columns: Mapping[str, str] | None = None,
    join: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    command: str | None = None,
) -> Imported:
    """Write the feature table `out` from CSV or Parquet tables with a row per cell, field or well.

    Several tables stand under each other, as one per plate; with `join` they stand side by side,
    joined by these columns as CellProfiler's by ImageNumber and ObjectNumber, and their features
    bear the name of their file. columns: our name to theirs, `{"plate": "Barcode"}`. per: what a
    row of `out` is; where several rows of the input are of one, it has their median and the number
    of them as `cells`. leave_out: patterns of columns that are no features, beside NOT_MEASURED.

    Every other column of numbers is a feature. Raises InputError where a column is not there, or
    nothing names the rows.
    """
    out = Path(out)
    check_name(out)
    if per not in ROWS:
        raise InputError(f"per {per}: expected one of {', '.join(ROWS)}")
    paths = [Path(table) for table in tables]
    if not paths:
        raise InputError("no table to import; give one CSV or several")
    frame = _joined(paths, join) if join else _stacked(paths)
    frame = _renamed(paths[0], frame, dict(columns or {}))
    patterns = [*NOT_MEASURED, *(pattern.lower() for pattern in leave_out)]
    features, left_out = _features(frame, patterns)
    if not features:
        raise InputError(
            f"{paths[0]}: no column of numbers that could be a feature; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    frame = _rows(paths[0], frame, features, per)
    about = {"rows": per, "tables": [str(path) for path in paths], "command": command}
    counted = [CELLS] if CELLS in frame and CELLS not in features else []
    table = pa.Table.from_pandas(frame, preserve_index=False)
    schema = table_schema(table.schema.remove_metadata(), [*counted, *features], about)
    with written_whole(out) as partial:
        pq.write_table(table.cast(schema), partial)
    return Imported(out, len(frame), tuple(features), tuple(left_out))


def _stacked(paths: Sequence[Path]) -> pd.DataFrame:
    frames = [read_table(path) for path in paths]
    expected = set(frames[0].columns)
    for path, frame in zip(paths, frames, strict=True):
        differ = sorted(expected ^ set(frame.columns))
        if differ:
            raise InputError(
                f"{path}: its columns are not those of {paths[0]} ({len(differ)} stand in one "
                f"only, for example {differ[0]}); tables of the same cells are put side by side "
                "with --join"
            )
    return pd.concat(frames, ignore_index=True)


def _joined(paths: Sequence[Path], by: Sequence[str]) -> pd.DataFrame:
    """Tables side by side. One with only some of the columns, such as a row per image, tells
    everything of it to each of its cells."""
    frames = []
    for path in paths:
        frame = read_table(path)
        there = [name for name in by if name in frame]
        if not there:
            raise InputError(f"{path}: none of the columns to join by, {', '.join(by)}")
        if frame.duplicated(there).any():
            twice = frame.loc[frame.duplicated(there), there].iloc[0].to_dict()
            raise InputError(f"{path}: two rows have {twice}; expected one of each to join by")
        names = {
            name: f"{path.stem}_{name}"
            for name in frame
            if name not in by and not _is_known(str(name))
        }
        frames.append((there, frame.rename(columns=names)))
    frames.sort(key=lambda found: -len(found[0]))
    joined = frames[0][1]
    for there, frame in frames[1:]:
        # what both say of the cell, such as its plate, is said once
        fresh = [name for name in frame if name in there or name not in joined]
        joined = joined.merge(frame[fresh], on=there, how="inner")
    if joined.empty:
        raise InputError(
            f"{paths[0]}: no row has the same {', '.join(by)} as one of the other tables"
        )
    return joined


def _is_known(name: str) -> bool:
    return name in KNOWN or name.lower() in NAMES or name.lower().startswith("metadata_")


def _renamed(path: Path, frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    for ours, theirs in columns.items():
        if theirs not in frame:
            near = nearest_name(theirs, [str(name) for name in frame])
            raise InputError(
                f"{path}: no column {theirs}, to be read as {ours}{near}; found "
                f"{', '.join(map(str, frame.columns))}"
            )
    renamed = {theirs: ours for ours, theirs in columns.items()}
    for name in map(str, frame.columns):
        told = NAMES.get(name.lower(), name.lower() if name.lower() in KNOWN else None)
        if told and name not in renamed and told not in (*renamed.values(), *frame.columns):
            renamed[name] = told
    frame = frame.rename(columns=renamed)
    if WELL not in frame and {"row", "column"} <= set(frame):
        frame[WELL] = [_well_of(a, b) for a, b in zip(frame["row"], frame["column"], strict=True)]
    if WELL in frame:
        frame[WELL] = frame[WELL].map(well_name, na_action="ignore")
    return frame


def _well_of(row: str | None, column: str | None) -> str | None:
    if row is None or column is None:
        return None
    letters = row_letters(int(row) - 1) if row.isdecimal() and int(row) > 0 else row
    return well_name(f"{letters}{column}")


def _features(frame: pd.DataFrame, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which columns are features, made numbers in the frame, and which other columns are not."""
    features, left_out = [], []
    for name in map(str, frame.columns):
        if name in KNOWN:
            frame[name] = typed(name, frame[name])
            continue
        bare = name.lower()
        numbers = pd.to_numeric(frame[name], errors="coerce").astype(np.float64)
        measured = not any(fnmatch.fnmatchcase(bare, pattern) for pattern in patterns)
        # text that says "not a number" is no number; any other text is a name
        texts = frame[name].dropna()
        is_number = texts.map(_is_number).all() and len(texts) > 0
        if measured and is_number:
            frame[name] = numbers
            features.append(name)
        else:
            left_out.append(name)
    return features, left_out


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(path: Path, frame: pd.DataFrame, features: list[str], per: str) -> pd.DataFrame:
    """One row per cell, image or well, each with an example_id."""
    known = [name for name in frame if name in KNOWN]
    if per == CELL:
        frame = frame[[*known, *features]]
        if "example_id" in frame and frame["example_id"].is_unique:
            return frame
        names = group_names(frame, _place(path, frame, IMAGE))
        number = names.groupby(names).cumcount() + 1
        return frame.drop(columns="example_id", errors="ignore").assign(
            example_id=names + "#" + number.astype(str)
        )
    if "example_id" in frame:
        names = as_names(frame["example_id"])
    else:
        names = group_names(frame, _place(path, frame, per))
    grouped = frame.groupby(names.to_numpy(), sort=False)
    medians = grouped[features].median()
    told = {
        name: grouped[name].first().where(grouped[name].nunique(dropna=False) == 1)
        for name in known
        if name != "example_id"
    }
    counted = {} if CELLS in features else {CELLS: grouped.size()}
    if (grouped.size() == 1).all():
        counted = {}
    parts = pd.concat(
        [pd.DataFrame(told), pd.DataFrame(counted, index=medians.index), medians], axis=1
    )
    return parts.rename_axis("example_id").reset_index()


def _place(path: Path, frame: pd.DataFrame, per: str) -> tuple[str, ...]:
    there = [str(name) for name in frame if frame[name].notna().any()]
    finest = next((n for n in ("field", WELL) if n in there), None) if per == IMAGE else WELL
    if finest is None or finest not in there:
        raise InputError(
            f"{path}: no column {WELL}, nor row and column, so nothing says which well a row is "
            f"of; found {', '.join(map(str, frame.columns))}; name it with --column well=NAME"
        )
    if finest == "field" and WELL in there:
        return tuple(dict.fromkeys((*group_columns((WELL,), there), "field")))
    return group_columns((finest,), there)

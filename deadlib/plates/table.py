"""A clean plate table from a raw one: one row per plate and well, under deadlib's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deadlib.errors import InputError
from deadlib.outputs import written_whole
from deadlib.plates.amounts import ambiguous, amount
from deadlib.plates.columns import ROW, named_columns, plate_names
from deadlib.plates.geometry import (
    Place,
    PlateFormat,
    format_for,
    parse_well,
    plate_format,
    row_number,
)
from deadlib.plates.normalise import Reference, normalised
from deadlib.plates.selection import selected
from deadlib.plates.settings import TableSettings
from tfrecords_tools.table import read_table

COLUMNS = (
    "plate",
    "well",
    "row",
    "column",
    "edge",
    "treatment",
    "concentration_um",
    "viability",
    "label",
)
RAW = "viability_raw"
HOURS = "_hours"
SHOWN = 5
_HOURS_UNIT = r"\s*h(ours?)?$"


@dataclass(frozen=True)
class PlateTable:
    """One row per plate and well, by plate, row and column.

    frame: COLUMNS as far as the source has them (`row` and `column` from 1, `edge` and numbers as
    such), `viability_raw` where viability was normalised, then other columns as text. references:
    what viability was divided by, for each plate. notes: what was done to the rows, with counts;
    warnings: what its owner should look at.
    """

    frame: pd.DataFrame
    plate: PlateFormat
    references: tuple[Reference, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plate_table(path: str | Path, settings: TableSettings) -> PlateTable:
    """Read a raw table, CSV or Parquet, and clean it as the settings say.

    In this order: columns are named, places and numbers read, empty wells and wells without class
    left out, repeated rows dropped, viability normalised, wells selected.

    Raises InputError (SourceError where the file cannot be read), naming the row as a spreadsheet
    numbers it: a well that is none or outside the plate, a dose or viability that is no number,
    rows of one well that contradict each other, a control labelled as dying, no reference well.
    """
    path = Path(path)
    notes: list[str] = []
    warnings: list[str] = []
    frame = named_columns(read_table(path), settings, path)
    frame = _placed(frame, settings, path)
    plate = plate_format(settings.wells) if settings.wells else format_for(_places(frame))
    _check_inside(frame, plate, path)
    frame = _treated(frame, settings, path, notes, warnings)
    frame = _with_numbers(frame, settings, path, warnings)
    frame = _once_each(frame, settings, path, warnings)
    references: tuple[Reference, ...] = ()
    if "viability" in frame and settings.normalise != "none":
        frame[RAW] = frame["viability"]
        frame["viability"], references = normalised(frame, settings, str(path))
    frame = _labelled(frame, settings, path, notes, warnings)
    frame = selected(frame, settings, str(path), notes)
    if frame.empty:
        raise InputError(f"{path}: no well is left; {'; '.join(notes)}")
    frame["edge"] = [plate.is_edge(place, settings.edge_width) for place in _places(frame)]
    named = [name for name in ("experiment", "plate") if name in frame]
    frame = frame.sort_values(
        [*named, "row", "column"],
        key=lambda c: c.fillna("?").map(_natural) if c.name in named else c,
    )
    order = [name for name in (*COLUMNS, RAW) if name in frame]
    order += [name for name in map(str, frame) if name not in (*order, ROW)]
    return PlateTable(
        frame[order].reset_index(drop=True), plate, references, tuple(notes), tuple(warnings)
    )


def write_table(table: PlateTable, out: Path) -> None:
    """The table as CSV, which `deadlib-convert --table` joins to images. Raises WriteError."""
    frame = table.frame.copy()
    frame["edge"] = frame["edge"].map({True: "true", False: "false"})
    with written_whole(out) as partial:
        frame.to_csv(partial, index=False, float_format="%.9g")


def _natural(plate: str) -> tuple[int, float, str]:
    number = amount(plate)
    return (1, 0.0, plate) if number is None else (0, number, plate)


def _places(frame: pd.DataFrame) -> list[Place]:
    pairs = zip(frame["row"], frame["column"], strict=True)
    return [Place(int(row), int(column)) for row, column in pairs]


def _placed(frame: pd.DataFrame, settings: TableSettings, path: Path) -> pd.DataFrame:
    """Every row with its plate, well, row and column."""
    if settings.plate is not None and "plate" in frame:
        raise InputError(
            f"{path}: has a column of plates, so --plate {settings.plate} is one too many; leave "
            "it out"
        )
    if "plate" not in frame and settings.plate is None:
        raise InputError(
            f"{path}: no column plate; name it with --column plate=NAME, or give the plate that "
            f"the whole table is of with --plate 1; it has {_names(frame)}"
        )
    by_pair = {"row", "column"} <= set(frame)
    if "well" not in frame and not by_pair:
        raise InputError(
            f"{path}: no column well (B03), nor row and column; name them with --column well=NAME; "
            f"it has {_names(frame)}"
        )
    wrong: list[str] = []
    places = [_place(entry, wrong, path) for entry in frame.to_dict("records")]
    frame = frame.assign(plate=frame.get("plate", settings.plate))
    wrong += [
        f"{path}, row {row}: no plate; fill it in" for row in frame[ROW][frame["plate"].isna()]
    ]
    _refuse(wrong)
    return frame.assign(
        well=[place.well for place in places],
        row=[place.row for place in places],
        column=[place.column for place in places],
    )


def _place(entry: dict[Any, Any], wrong: list[str], path: Path) -> Place:
    where = f"{path}, row {entry[ROW]}"
    told = {name: entry[name] for name in ("well", "row", "column") if entry.get(name) is not None}
    by_name = parse_well(told["well"]) if "well" in told else None
    by_pair = None
    if "row" in told and "column" in told:
        row, column = row_number(told["row"]), amount(str(told["column"]))
        by_pair = Place(row, int(column)) if row and column and column % 1 == 0 else None
    place = by_name or by_pair
    found = ", ".join(f"{name} {value!r}" for name, value in told.items()) or "nothing"
    if ("well" in told and by_name is None) or place is None:
        wrong.append(f"{where}: found {found}, expected a well such as B03")
    elif by_name and by_pair and by_name != by_pair:
        wrong.append(f"{where}: {found} do not agree; correct one")
    return place or Place(1, 1)


def _check_inside(frame: pd.DataFrame, plate: PlateFormat, path: Path) -> None:
    _refuse(
        [
            f"{path}, row {row}: well {place.well} is outside a plate of {plate.wells} wells "
            f"({plate.rows} x {plate.columns})"
            for row, place in zip(frame[ROW], _places(frame), strict=True)
            if not plate.holds(place)
        ]
    )


def _treated(
    frame: pd.DataFrame,
    settings: TableSettings,
    path: Path,
    notes: list[str],
    warnings: list[str],
) -> pd.DataFrame:
    """Treatments in one spelling; empty wells left out."""
    if "treatment" not in frame:
        needs = [
            what
            for what, needed in {
                "viability as a share of the DMSO wells": "viability" in frame
                and settings.normalise != "none",
                "a range of viability for treated wells": settings.viability_range is not None,
                "healthy wells per plate": settings.healthy_per_plate is not None,
                "labels by treatment": bool(settings.labels),
            }.items()
            if needed
        ]
        if needs:
            raise InputError(
                f"{path}: no column treatment, which {' and '.join(needs)} needs; name it with "
                f"--column treatment=NAME; it has {_names(frame)}"
            )
        return frame
    unknown = [name for name in settings.treatments if name not in set(frame["treatment"])]
    if unknown:
        warnings.append(f"treatments {', '.join(unknown)} are to be renamed, but no row has them")
    names = {**settings.treatments, **_controls_by_spelling(frame, settings)}
    frame = frame.assign(treatment=frame["treatment"].map(lambda name: names.get(name, name)))
    empty = frame["treatment"].isin(settings.empty)
    if empty.any():
        notes.append(f"{_rows(empty)} of empty wells left out ({', '.join(settings.empty)})")
    nameless = frame["treatment"].isna()
    if nameless.any():
        warnings.append(f"{_rows(nameless)} without treatment left out: {_wells(frame[nameless])}")
    return frame[~empty & ~nameless]


def _controls_by_spelling(frame: pd.DataFrame, settings: TableSettings) -> dict[str, str]:
    """dmso and Dmso as the settings write it."""
    spelt = {name.lower(): name for name in (*settings.controls, *settings.reference)}
    found = frame["treatment"].dropna().unique()
    return {name: spelt[name.lower()] for name in found if name.lower() in spelt}


def _with_numbers(
    frame: pd.DataFrame, settings: TableSettings, path: Path, warnings: list[str]
) -> pd.DataFrame:
    """Doses, viability and times as numbers; a control without dose has none of it, which is 0."""
    wrong: list[str] = []
    examples = {name: "28 or 28h" for name in map(str, frame) if name.endswith(HOURS)}
    examples |= {"concentration_um": "0.5 or 0,5", "viability": "0.83 or 251880"}
    for name, example in examples.items():
        if name not in frame:
            continue
        texts = frame[name]
        if name.endswith(HOURS):
            texts = texts.str.replace(_HOURS_UNIT, "", regex=True)
        unclear = ambiguous(texts.dropna()) if settings.decimal == "auto" else None
        if unclear is not None:
            raise InputError(
                f"{path}: {name} {unclear!r} may be a decimal comma or thousands; say which with "
                "--decimal comma or --decimal point"
            )
        numbers = [None if t is None else amount(t, settings.decimal) for t in texts]
        wrong += [
            f"{path}, row {row}, {name}: found {text!r}, expected a number such as {example}"
            for row, text, number in zip(frame[ROW], texts, numbers, strict=True)
            if text is not None and number is None
        ]
        frame = frame.assign(**{name: pd.Series(numbers, frame.index, dtype="float64")})
    _refuse(wrong)
    if "concentration_um" in frame:
        frame = _checked_doses(frame, settings, path, warnings)
    if "viability" in frame:
        if frame["viability"].isna().all():
            raise InputError(f"{path}: viability is empty in every row; choose another column")
        missing = frame["viability"].isna()
        if missing.any():
            dropped = ", and are in no range" if settings.viability_range else ""
            warnings.append(
                f"{_rows(missing)} without viability{dropped}: {_wells(frame[missing])}"
            )
    return frame


def _checked_doses(
    frame: pd.DataFrame, settings: TableSettings, path: Path, warnings: list[str]
) -> pd.DataFrame:
    negative = frame["concentration_um"] < 0
    _refuse(
        [
            f"{path}, row {row}, concentration_um: found {dose:g}, expected 0 or more"
            for row, dose in zip(
                frame[ROW][negative], frame["concentration_um"][negative], strict=True
            )
        ]
    )
    if "treatment" not in frame:
        return frame
    control = frame["treatment"].isin(settings.controls)
    absent = frame["concentration_um"].isna()
    if (absent & ~control).any():
        warnings.append(
            f"{_rows(absent & ~control)} of treated wells without dose: "
            f"{_wells(frame[absent & ~control])}"
        )
    return frame.assign(concentration_um=frame["concentration_um"].mask(absent & control, 0.0))


def _once_each(
    frame: pd.DataFrame, settings: TableSettings, path: Path, warnings: list[str]
) -> pd.DataFrame:
    """Rows that say the same of one plate and well once; rows that differ are refused."""
    places = pd.DataFrame({"plate": plate_names(frame), "well": frame["well"]})
    again = places.duplicated(keep=False)
    if not again.any() or settings.duplicates == "keep":
        if again.any():
            twice = frame[places.duplicated()]
            warnings.append(f"{_rows(len(twice))} of wells that stand before kept: {_wells(twice)}")
        return frame
    wrong = []
    keys = [places["plate"][again], places["well"][again]]
    for (plate, well), rows in frame[again].groupby(keys, sort=False):
        numbers = ", ".join(map(str, rows[ROW]))
        differing = [c for c in rows if c != ROW and rows[c].nunique(dropna=False) > 1]
        if differing:
            first = differing[0]
            found = " and ".join(str(value) for value in rows[first].unique())
            wrong.append(
                f"{path}, rows {numbers}: plate {plate}, well {well} stands more than once, with "
                f"{first} {found}; keep one row"
            )
        elif settings.duplicates == "refuse":
            wrong.append(
                f"{path}, rows {numbers}: plate {plate}, well {well} stands more than once; keep "
                "one row"
            )
    _refuse(wrong)
    repeated = places.duplicated()
    warnings.append(
        f"{_rows(repeated)} left out that say the same of a well again: {_wells(frame[repeated])}"
    )
    return frame[~repeated]


def _labelled(
    frame: pd.DataFrame,
    settings: TableSettings,
    path: Path,
    notes: list[str],
    warnings: list[str],
) -> pd.DataFrame:
    """Rows with a class, where there is any; a control is never one of the dying classes."""
    if "label" not in frame and settings.labels:
        frame = frame.assign(label=frame["treatment"].map(settings.labels))
        without = sorted(set(frame["treatment"]) - set(settings.labels))
        if without:
            warnings.append(f"labels name no class for {', '.join(without)}")
    if "label" not in frame:
        return frame
    if frame["label"].isna().all():
        raise InputError(f"{path}: no well has a label; name another column, or leave it out")
    unlabelled = frame["label"].isna()
    if unlabelled.any():
        notes.append(f"{_rows(unlabelled)} without label left out: {_wells(frame[unlabelled])}")
    frame = frame[~unlabelled]
    if "treatment" in frame:
        controls = frame[frame["treatment"].isin(settings.controls)]
        classes = Counter(controls["label"])
        treated = set(frame["label"][~frame["treatment"].isin(settings.controls)])
        shared = [name for name in classes if name in treated]
        if len(classes) > 1 and shared:
            counts = ", ".join(f"{name} ({count})" for name, count in classes.most_common())
            raise InputError(
                f"{path}: {' and '.join(settings.controls)} wells are labelled {counts}, and "
                "treated wells too; a control has one class of its own. Is the column of labels "
                "that of the plate's row? Name another with --column label=NAME"
            )
    return frame


def _names(frame: pd.DataFrame) -> str:
    return ", ".join(name for name in map(str, frame) if name != ROW) or "no known column"


def _rows(found: pd.Series | int) -> str:
    count = found if isinstance(found, int) else int(found.sum())
    return "1 row" if count == 1 else f"{count} rows"


def _wells(frame: pd.DataFrame) -> str:
    pairs = list(zip(plate_names(frame), frame["well"], strict=True))
    shown = ", ".join(f"plate {plate} {well}" for plate, well in pairs[:SHOWN])
    return shown + (f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else "")


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        more = f"\nand {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError("\n".join(wrong[:SHOWN]) + more)

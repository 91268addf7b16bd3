"""What a table knows of each well, one value for the well whatever number of rows it has."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deadlib.errors import InputError
from deadlib.plates.columns import known_name
from deadlib.plates.drawing import Amounts, Categories, Scale, scale_of
from deadlib.plates.geometry import Place, parse_well, row_number
from deadlib.predictions import as_names, nearest_name, open_predictions
from tfrecords_tools import open_dataset
from tfrecords_tools.table import PROBABILITY, read_table, typed

PLACE = frozenset({"experiment", "plate", "well", "row", "column"})
PREDICTED = "predicted"
DISAGREEMENT = "disagreement"
FIELDS = "fields"
SEVERAL = "several"
LOGARITHMIC = frozenset({"concentration_um"})
LEGENDS = {
    "concentration_um": "concentration (µM)",
    "viability": "viability (share of control)",
    PREDICTED: "predicted class",
    DISAGREEMENT: "predicted class",
    FIELDS: "rows (fields) of the well",
}


@dataclass(frozen=True)
class WellTable:
    """Rows with their well, ready to be averaged.

    frame: the columns of the source, and `well` in one spelling; plates: the name of each row's
    plate; classes: of a prediction table, whose columns `probability_<class>` the frame has.
    """

    origin: str
    frame: pd.DataFrame
    plates: pd.Series
    classes: tuple[str, ...] = ()

    def values(self) -> list[str]:
        """Names that `well_values` understands."""
        names = [str(c) for c in self.frame if c not in ("well", "plate", "experiment")]
        made = [PREDICTED, DISAGREEMENT, FIELDS] if self.classes else [FIELDS]
        return [*names, *(name for name in made if name not in names)]


@dataclass(frozen=True)
class WellValues:
    """One value for each well of each plate: {plate: {well: value}}.

    marked: wells with a cross, by plate; mark: what it says.
    """

    name: str
    legend: str
    plates: dict[str, dict[str, Any]]
    scale: Scale
    marked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mark: str = ""


def read_wells(path: str | Path, by: Sequence[str] = ()) -> WellTable:
    """The rows of a plate table, a prediction table (CSV or Parquet) or a dataset directory.

    by: columns that name a plate, by default `plate`, with `experiment` where there are several; a
    table without them is of one plate. Rows without well are left out. Raises InputError where no
    row has a well, or a well cannot be read.
    """
    path = Path(path)
    frame, classes = _read(path)
    places = {str(c): known_name(str(c)) for c in frame if known_name(str(c)) in PLACE}
    frame = frame.rename(columns={c: name for c, name in places.items() if name not in frame})
    unknown = [name for name in by if name not in frame]
    if unknown:
        close = nearest_name(unknown[0], [str(c) for c in frame])
        raise InputError(f"{path}: no column {unknown[0]}{close}; it has {_listed(frame)}")
    names = list(by) or _usual_names(frame)
    frame = frame.assign(well=_wells(frame, path))
    frame = frame[frame["well"].notna()]
    if names:
        parts = [as_names(frame[name]).fillna("?") for name in names]
        plates = pd.Series(map("/".join, zip(*parts, strict=True)), index=frame.index)
    else:
        plates = pd.Series("1", index=frame.index)
    return WellTable(str(path), frame, plates, classes)


def well_values(table: WellTable, name: str) -> WellValues:
    """One value for each well: the mean of numbers, or the name that all its rows have.

    `predicted` is the class with the highest probability after averaging over the rows of the
    well; `disagreement` the same, with the wells marked whose label is another one; `fields` the
    number of rows, unless a table of wells tells it. A well whose rows name different things has
    the value `several`. Raises InputError for a column that there is not or that is empty.
    """
    frame, plates = table.frame, table.plates
    if name == FIELDS and FIELDS not in frame:
        counts = frame.groupby([plates, frame["well"]], sort=False).size()
        return _of(table, name, counts)
    if name in (PREDICTED, DISAGREEMENT) and table.classes:
        columns = [PROBABILITY + label for label in table.classes]
        means = frame.groupby([plates, frame["well"]], sort=False)[columns].mean()
        calls = means.set_axis(list(table.classes), axis=1).idxmax(axis=1)
        found = _of(table, name, calls, Categories(table.classes))
        return found if name == PREDICTED else _with_disagreement(table, found)
    if name not in frame:
        raise InputError(
            f"{table.origin}: no column {name}{nearest_name(name, table.values())}; it has "
            f"{', '.join(table.values())}"
        )
    column = frame[name]
    if not column.notna().any():
        raise InputError(f"{table.origin}: column {name} is empty in every row with a well")
    wells = column.groupby([plates, frame["well"]], sort=False)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _of(table, name, wells.mean())
    return _of(table, name, wells.agg(_common))


def _read(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if path.is_dir():
        return open_dataset(path).manifest.copy(), ()
    if _is_predicted(path):
        found = open_predictions(path)
        rows = found.frame.copy()
        for place, label in enumerate(found.classes):
            rows[PROBABILITY + label] = found.probabilities[:, place]
        return rows, found.classes
    frame = read_table(path)
    return pd.DataFrame({name: typed(str(name), frame[name]) for name in frame}), ()


def _is_predicted(path: Path) -> bool:
    """Whether a table has probabilities; told by its header, as embeddings are large."""
    names: Iterable[object] = ()
    if path.suffix.lower() == ".csv":
        names = read_table(path)
    elif path.suffix.lower() == ".parquet" and path.is_file():
        with suppress(pa.ArrowException, OSError):
            names = pq.read_schema(path).names
    return sum(str(name).startswith(PROBABILITY) for name in names) > 1


def _usual_names(frame: pd.DataFrame) -> list[str]:
    several = "experiment" in frame and frame["experiment"].nunique() > 1
    known = "plate" in frame and frame["plate"].notna().any()
    return ["experiment"] * several + ["plate"] * bool(known)


def _wells(frame: pd.DataFrame, path: Path) -> pd.Series:
    if "well" in frame and frame["well"].notna().any():
        places = [None if pd.isna(text) else (parse_well(text), text) for text in frame["well"]]
    elif {"row", "column"} <= set(frame):
        pairs = zip(as_names(frame["row"]), as_names(frame["column"]), strict=True)
        places = [_pair(row, column) for row, column in pairs]
    else:
        raise InputError(
            f"{path}: no column well, nor row and column, so there is no plate to draw; it has "
            f"{_listed(frame)}"
        )
    wrong = [str(found[1]) for found in places if found is not None and found[0] is None]
    if wrong:
        raise InputError(
            f"{path}: {wrong[0]!r} is no well; expected a name such as B03; rows like this: "
            f"{len(wrong)}"
        )
    if all(found is None for found in places):
        raise InputError(f"{path}: no row has a well, so there is no plate to draw")
    names = [None if found is None or found[0] is None else found[0].well for found in places]
    return pd.Series(names, index=frame.index, dtype=object)


def _pair(row: str | None, column: str | None) -> tuple[Place | None, str] | None:
    if row is None or column is None or pd.isna(row) or pd.isna(column):
        return None
    number = row_number(row)
    valid = number is not None and column.isdecimal() and int(column) > 0
    return (Place(number or 1, int(column)) if valid else None), f"row {row}, column {column}"


def _common(values: pd.Series) -> Any:
    known = values.dropna().unique()
    if len(known) == 0:
        return None
    return str(known[0]) if len(known) == 1 else SEVERAL


def _of(table: WellTable, name: str, values: pd.Series, scale: Scale | None = None) -> WellValues:
    plates: dict[str, dict[str, Any]] = {plate: {} for plate in table.plates.unique()}
    for key, value in values.items():
        plate, well = _key(key)
        plates[plate][well] = None if pd.isna(value) else value
    if scale is None and name.startswith(PROBABILITY):
        scale = Amounts(0.0, 1.0)
    logarithmic = name in LOGARITHMIC and bool((values > 0).any())
    found = scale or scale_of(values, logarithmic=logarithmic)
    return WellValues(name, LEGENDS.get(name, name.replace("_", " ")), plates, found)


def _key(key: Hashable) -> tuple[str, str]:
    plate, well = key if isinstance(key, tuple) else ("", "")
    return str(plate), str(well)


def _with_disagreement(table: WellTable, calls: WellValues) -> WellValues:
    if "label" not in table.frame or not table.frame["label"].notna().any():
        raise InputError(
            f"{table.origin}: no labels, so there is nothing that predictions could disagree with"
        )
    labels = table.frame["label"].groupby([table.plates, table.frame["well"]]).agg(_common)
    marked: dict[str, list[str]] = {}
    for key, label in labels.items():
        plate, well = _key(key)
        if label is not None and label != calls.plates[plate][well]:
            marked.setdefault(plate, []).append(well)
    return WellValues(
        calls.name,
        calls.legend,
        calls.plates,
        calls.scale,
        {plate: tuple(wells) for plate, wells in marked.items()},
        "label is another class",
    )


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(str(name) for name in frame)

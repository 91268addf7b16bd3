"""A raw plate table with deadlib's names for its columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deadlib.errors import InputError
from deadlib.plates.settings import TableSettings
from tfrecords_tools.discover import KNOWN_METADATA
from tfrecords_tools.table import RESERVED_COLUMNS

ROW = "row in the table"
"""Column of the row numbers as a spreadsheet shows them: the header is row 1."""

FOUND = (*KNOWN_METADATA, "label")


def named_columns(raw: pd.DataFrame, settings: TableSettings, origin: Path) -> pd.DataFrame:
    """The columns that are named in the settings or known by name, and ROW; cells are text or None.

    Of several columns that are to be one those that the table has count, as where each plate has
    one of its own. Known by name are the manifest's metadata columns, however they are spelt (Plate
    and plate; Col is column). Raises InputError for a column that there is not, for two that could
    be the same, and where a row fills several of those that are to be one.
    """
    found: dict[str, pd.Series] = {ROW: pd.Series(range(2, len(raw) + 2), index=raw.index)}
    taken = {name for names in settings.columns.values() for name in names}
    for name, sources in settings.columns.items():
        _refuse_reserved(name, origin)
        there = [source for source in sources if source in raw]
        if not there:
            raise _no_column(raw, name, sources, origin)
        found[name] = _the_filled_one(raw, name, there, found[ROW], origin)
    for name in FOUND:
        if name in found:
            continue
        alike = [c for c in map(str, raw) if c not in taken and known_name(c) == name]
        if len(alike) > 1:
            raise InputError(
                f"{origin}: columns {' and '.join(alike)} could both be {name}; say which with "
                f"--column {name}={alike[0]}"
            )
        if alike:
            found[name] = raw[alike[0]]
    return pd.DataFrame(found)


def plate_names(frame: pd.DataFrame) -> pd.Series:
    """Names of plates that are different: with the experiment in front, where there is one."""
    if "experiment" not in frame:
        return frame["plate"]
    return frame["experiment"].fillna("?") + "/" + frame["plate"]


def known_name(column: str) -> str:
    """The manifest's name for a column that is spelt otherwise, or the column's own."""
    # the micro sign and the Greek letter
    plain = column.lower().translate({0xB5: "u", 0x3BC: "u"})
    plain = re.sub(r"[\s_\-.()]+", "_", plain).strip("_")
    plain = "column" if plain == "col" else plain
    return plain if plain in FOUND else column


def _refuse_reserved(name: str, origin: Path) -> None:
    if name in RESERVED_COLUMNS - {"label"}:
        raise InputError(
            f"{origin}: a column cannot be called {name}, which deadlib uses itself; give another "
            f"name, such as source_{name}"
        )


def _no_column(raw: pd.DataFrame, name: str, sources: Sequence[str], origin: Path) -> InputError:
    close = difflib.get_close_matches(sources[0], list(raw.columns), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return InputError(
        f"{origin}: no column {' or '.join(sources)}, which is to be {name}{hint}; it has "
        f"{', '.join(raw.columns)}"
    )


def _the_filled_one(
    raw: pd.DataFrame, name: str, sources: Sequence[str], rows: pd.Series, origin: Path
) -> pd.Series:
    filled = raw[list(sources)].notna().sum(axis=1)
    if (filled > 1).any():
        row = rows[filled > 1].iloc[0]
        raise InputError(
            f"{origin}, row {row}: {' and '.join(sources)} are both filled, but only one of them "
            f"can be {name}"
        )
    values = raw[sources[0]]
    for source in sources[1:]:
        values = values.where(values.notna(), raw[source])
    return values

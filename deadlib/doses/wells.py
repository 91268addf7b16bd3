"""Wells with compound, dose and viability, from a prediction table of fields, tiles or wells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.aggregation import How, pooled
from deadlib.errors import PredictionError
from deadlib.predictions import PredictionTable, as_names, require_column
from tfrecords_tools.table import PROBABILITY

Floats = NDArray[np.float64]
Scale = Literal["log", "index"]

CONTROLS = ("DMSO", "Untreated")
CALLED = "called_"
ONE_PLATE = "all"
ONE_COMPOUND = "all wells"


@dataclass(frozen=True)
class Columns:
    """What the columns of the table are called."""

    plate: str = "plate"
    well: str = "well"
    compound: str = "treatment"
    dose: str = "concentration_um"
    viability: str = "viability"


@dataclass(frozen=True)
class Wells:
    """One row per plate and well.

    frame: plate, well, compound (text), control (bool), dose (NaN for controls without), place (the
    dose on its scale, NaN for controls), viability (NaN where unknown), rows (how many of the
    table), predicted, probability_<class>, called_<class> (the share of its rows called so).
    remarks: what was left out or taken for granted, in words.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    scale: Scale
    how: How
    remarks: tuple[str, ...] = ()

    @property
    def treated(self) -> pd.DataFrame:
        return self.frame[~self.frame.control]

    @property
    def controls(self) -> pd.DataFrame:
        return self.frame[self.frame.control]

    @property
    def compounds(self) -> list[str]:
        return sorted(self.treated.compound.unique())

    def of_place(self, place: float) -> float:
        """The dose at a place: 10 to its power, or itself."""
        return float(10**place) if self.scale == "log" else float(place)

    def place_of(self, dose: float) -> float:
        """Where a dose stands: its decimal logarithm, or itself."""
        return float(np.log10(dose)) if self.scale == "log" else float(dose)


def wells_of(
    table: PredictionTable,
    columns: Columns | None = None,
    *,
    controls: Sequence[str] = CONTROLS,
    how: How = "mean",
    scale: Scale = "log",
) -> Wells:
    """Join the rows of each plate and well.

    Plates of one name in two experiments (column `experiment`) are two. controls: compounds that
    are controls, or conditions COLUMN=VALUE; how: as in `aggregation.pooled`; scale: log for
    concentrations, index where doses are only numbered. Raises PredictionError: no wells or doses,
    a dose or viability that is no number, rows of one well that disagree.
    """
    columns = columns or Columns()
    frame, remarks = table.frame, []
    require_column(table.path, frame, columns.well, "whose rows are one answer")
    require_column(
        table.path, frame, columns.dose, "how much of the compound; another one: --dose COLUMN"
    )
    rows = pd.DataFrame({"well": as_names(frame[columns.well])}, index=frame.index)
    for name, column, alone, what in (
        ("plate", columns.plate, ONE_PLATE, "one plate"),
        ("compound", columns.compound, ONE_COMPOUND, "one compound"),
    ):
        if column in frame:
            rows[name] = as_names(frame[column])
        else:
            rows[name] = alone
            remarks.append(f"There is no column {column}: all wells are taken for {what}.")
    rows["plate"] = _apart(rows["plate"], frame)
    rows["control"] = _is_control(table, rows["compound"], controls)
    rows["dose"] = _numbers(table, columns.dose, "dose", unless=rows["control"].to_list())
    if columns.viability in frame:
        rows["viability"] = _numbers(table, columns.viability, "viability")
    else:
        rows["viability"] = np.nan
        remarks.append(
            f"There is no column {columns.viability}: answers are not shown against viability."
        )
    unnamed = rows["well"].isna() | rows["plate"].isna() | (rows.compound.isna() & ~rows.control)
    nameless = int(unnamed.sum())
    if nameless == len(rows):
        raise PredictionError(
            f"{table.path}: no row has a plate, a well and a {columns.compound}; name the columns "
            "with --column plate=NAME, --column well=NAME and --compound NAME"
        )
    if nameless:
        remarks.append(f"{nameless:,} rows without plate, well or {columns.compound} are left out.")
    joined = _joined(table, rows, ~unnamed.to_numpy(), how)
    joined, more = _placed(joined, scale)
    found = Wells(joined, table.classes, scale, how, (*remarks, *more))
    if found.treated.empty:
        raise PredictionError(
            f"{table.path}: no well with a dose; expected numbers in the column {columns.dose} of "
            "wells that are no controls"
        )
    return found


def as_number(cell: object) -> float:
    """A number as plate readers and spreadsheets write it: 0,5 and 1,00E-02 too. NaN for nothing.

    Raises ValueError for anything else.
    """
    if cell is None or (isinstance(cell, float) and np.isnan(cell)) or cell is pd.NA:
        return float("nan")
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return float("nan")
        if text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        found = float(text)
    else:
        found = float(cell)  # type: ignore[arg-type]
    if not np.isfinite(found):
        raise ValueError(cell)
    return found


def _numbers(
    table: PredictionTable, column: str, what: str, unless: Sequence[bool] | None = None
) -> list[float]:
    """The column's numbers. Those of rows in `unless` may be anything."""
    found, wrong = [], []
    for number, cell in enumerate(table.frame[column].to_list()):
        excused = unless is not None and unless[number]
        try:
            value = as_number(cell)
            if value < 0 and what == "dose":
                raise ValueError(cell)
        except (TypeError, ValueError):
            value = float("nan")
            if not excused:
                wrong.append((table.frame.index[number], cell))
        found.append(float("nan") if excused and what == "dose" else value)
    if wrong:
        row, cell = wrong[0]
        raise PredictionError(
            f"{table.path}, row {row}, column {column}: found {cell!r}, expected a {what} as a "
            f"number{', 0 or more' if what == 'dose' else ''}; rows like this: {len(wrong)}; mend "
            f"the table, name the wells as controls (--control), or name another column "
            f"(--{what} COLUMN)"
        )
    return found


def _apart(plate: pd.Series, frame: pd.DataFrame) -> pd.Series:
    """The names of plates, with the experiment before them where two experiments share one."""
    if "experiment" not in frame:
        return plate
    experiment = as_names(frame["experiment"])
    if not (experiment.groupby(plate).nunique() > 1).any():
        return plate
    return (experiment.fillna("?") + "/" + plate).where(plate.notna(), None)


def _is_control(table: PredictionTable, compound: pd.Series, controls: Sequence[str]) -> pd.Series:
    found = pd.Series(False, index=compound.index)
    for control in controls:
        column, is_condition, value = control.partition("=")
        if is_condition:
            require_column(table.path, table.frame, column, "named by --control")
            named = as_names(table.frame[column])
        else:
            named, value = compound, control
        found |= named.map(lambda name, v=value: _alike(name, v))
    return found


def _alike(name: object, wanted: str) -> bool:
    return isinstance(name, str) and name.strip().casefold() == wanted.strip().casefold()


def _joined(
    table: PredictionTable, rows: pd.DataFrame, kept: NDArray[np.bool_], how: How
) -> pd.DataFrame:
    rows = rows[kept]
    grouped = rows.groupby(["plate", "well"], sort=True)
    for column, what in (("compound", "compound"), ("control", "role"), ("dose", "dose")):
        counts = grouped[column].nunique(dropna=False)
        if (counts > 1).any():
            plate, well = counts.index[int((counts > 1).to_numpy().argmax())]
            told = rows[(rows.plate == plate) & (rows.well == well)][column].unique()
            raise PredictionError(
                f"{table.path}: well {well} of plate {plate} has more than one {what} "
                f"({', '.join(map(str, told[:4]))}); a well has one: mend the table, or name the "
                "columns of plate and well (--column plate=NAME)"
            )
    frame = grouped.agg(
        compound=("compound", "first"),
        control=("control", "first"),
        dose=("dose", "first"),
        viability=("viability", "mean"),
        rows=("dose", "size"),
    )
    number = np.asarray(grouped.ngroup(), np.intp)
    found = pooled(number, table.probabilities[kept], how=how)
    frame["predicted"] = [table.classes[k] for k in found.predicted_index]
    for k, name in enumerate(table.classes):
        frame[PROBABILITY + name] = found.probabilities[:, k]
        frame[CALLED + name] = found.votes[:, k] / found.sizes
    return frame.reset_index()


def _placed(frame: pd.DataFrame, scale: Scale) -> tuple[pd.DataFrame, list[str]]:
    """Doses on their scale; what cannot stand there is left out and told."""
    remarks = []
    missing = ~frame.control & frame.dose.isna()
    zero = ~frame.control & (frame.dose == 0) & (scale == "log")
    if missing.any():
        remarks.append(f"{int(missing.sum()):,} wells without a dose are left out.")
    if zero.any():
        remarks.append(
            f"{int(zero.sum()):,} wells with dose 0 are left out, as there is no logarithm of 0. "
            "If they are controls, say so with --control."
        )
    frame = frame[~(missing | zero)].reset_index(drop=True)
    doses = frame.dose.where(~frame.control)
    frame["place"] = np.log10(doses) if scale == "log" else doses
    unknown = int(frame.viability.isna().sum())
    if 0 < unknown < len(frame):
        remarks.append(
            f"Viability is missing for {unknown:,} of {len(frame):,} wells; they stand in no "
            "picture against viability."
        )
    return frame, remarks

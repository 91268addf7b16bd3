"""Where an image was taken: which plate, and where on it. Numbers a model could guess classes by
without looking at a single cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WELL = r"^([A-Za-z]{1,2})0*(\d{1,2})$"
MOST_LINES = 48
"""Rows or columns of a plate of 1,536 wells."""


def place_on_plate(frame: pd.DataFrame) -> Floats | None:
    """Row, column and distance from the edge of the wells that there are: (N, D), NaN where
    unknown; each row and each column also as a number of its own. None where no column tells.

    Read from a column `well` such as B03, or from `row` and `column`.
    """
    found = _rows_and_columns(frame)
    if found is None:
        return None
    row, column = found
    if row.notna().sum() == 0 or row.nunique() * column.nunique() < 2:
        return None
    edge = np.minimum.reduce([row - row.min(), row.max() - row])
    side = np.minimum.reduce([column - column.min(), column.max() - column])
    parts = [np.stack([row, column, np.minimum(edge, side)], axis=1).astype(np.float64)]
    parts += [one_hot(line) for line in (row, column) if line.nunique() <= MOST_LINES]
    return np.concatenate(parts, axis=1)


def one_hot(values: pd.Series) -> Floats:
    """(N, values): 1 in the column of an example's value; unknown values have none."""
    codes, names = pd.factorize(values, sort=True)
    return np.asarray(np.asarray(codes)[:, None] == np.arange(len(names)), np.float64)


def _rows_and_columns(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    if {"row", "column"} <= set(frame):
        row, column = frame["row"].map(_line), pd.to_numeric(frame["column"], errors="coerce")
    elif "well" in frame:
        parts = frame["well"].astype("string").str.extract(WELL)
        row, column = parts[0].map(_line), pd.to_numeric(parts[1], errors="coerce")
    else:
        return None
    known = row.notna() & column.notna()
    return row.where(known).astype(float), column.where(known).astype(float)


def _line(value: object) -> float:
    """The number of a row: B and 2 are 2, AA is 27; NaN for anything else."""
    text = str(value).strip().upper()
    try:
        return float(text)
    except ValueError:
        pass
    if not 1 <= len(text) <= 2 or not text.isalpha() or not text.isascii():
        return float("nan")
    number = 0
    for letter in text:
        number = 26 * number + ord(letter) - ord("A") + 1
    return float(number)

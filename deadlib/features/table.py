"""The feature table: a row per cell, image or well, what is known of it, and its features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib.errors import InputError

METADATA_KEY = b"deadlib_features"
CELL, IMAGE, WELL = ROWS = ("cell", "image", "well")
CELLS = "cells"
"""The column that counts the cells of an image or well: a feature as well."""
IMAGE_ID = "image_id"
"""In a table of cells: the example that a cell was found in."""


@dataclass(frozen=True)
class FeatureTable:
    """N rows. frame: all columns, index 0..N-1; features: the names of those that are features;
    rows: cell, image or well; about: how the table came about."""

    path: Path
    frame: pd.DataFrame
    features: tuple[str, ...]
    rows: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> NDArray[np.float64]:
        """(N, D), NaN where a feature is not known."""
        return self.frame[list(self.features)].to_numpy(np.float64)

    @property
    def known(self) -> pd.DataFrame:
        """(N, ...) everything but the features."""
        return self.frame.drop(columns=[name for name in self.features if name != CELLS])


def open_features(path: str | Path) -> FeatureTable:
    """Read a feature table. Raises InputError where it is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a table that deadlib-features wrote")
    try:
        metadata = (pq.read_schema(path).metadata or {}).get(METADATA_KEY)
        frame = pd.read_parquet(path) if metadata else pd.DataFrame()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from None
    if metadata is None:
        raise InputError(
            f"{path}: no feature table; measure one with deadlib-features measure, or make one of "
            "a CSV with deadlib-features import"
        )
    about = json.loads(metadata)
    if frame.empty:
        raise InputError(f"{path}: the table has no rows; no cell was found in any image")
    return FeatureTable(path, frame, tuple(about["features"]), about["rows"], about)


def table_schema(schema: pa.Schema, features: Sequence[str], about: dict[str, Any]) -> pa.Schema:
    """The schema of a feature table with these features. about: must tell `rows`."""
    told = json.dumps({**about, "features": list(features)})
    return schema.with_metadata({METADATA_KEY: told.encode()})


def check_name(out: Path) -> None:
    """Raise InputError where the table would stand under the name of another kind of file."""
    if out.suffix.lower() != ".parquet":
        raise InputError(
            f"{out}: ends in {out.suffix or 'no suffix'}, expected .parquet, as the table is "
            "written as Parquet; give a name such as features.parquet"
        )

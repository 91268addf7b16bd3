"""The rows of a feature table with the splits, labels and groups of a dataset or recipe."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from deadlib.errors import InputError
from deadlib.features.table import IMAGE_ID, FeatureTable
from deadlib.predictions import as_names
from tfrecords_tools.container import row_letters
from tfrecords_tools.dataset import Dataset

TAKEN = ("split", "label", "group")
PLACES = ("experiment", "plate", "well", "position", "field", "time_index")
"""What rows of a table from elsewhere and examples have in common, coarse to fine."""
_WELL = re.compile(r"([A-Za-z]{1,2})[-_ ]?0*(\d{1,2})")
_ROW_COLUMN = re.compile(r"0*(\d{1,2})[-_ /]0*(\d{1,2})")


def with_splits(table: FeatureTable, dataset: Dataset) -> tuple[pd.DataFrame, int]:
    """What is known of each row of a table, with split, label and group of a dataset, and how many
    rows the dataset does not know, whose split is null.

    Rows are found by the examples they were measured in, else by the places that both know (plate,
    well, field). Raises InputError where they have nothing in common, and where a row stands for
    examples of several splits or labels.
    """
    examples = dataset.manifest[dataset.manifest["split"].notna()]
    known = table.known
    keys = _keys(table, known, examples)
    if keys == ["example_id"]:
        column = IMAGE_ID if IMAGE_ID in known else "example_id"
        names, of_example = known[column], examples["example_id"]
    else:
        names, of_example = _joined(known, keys), _joined(examples, keys)
    found = {
        name: _one_each(examples[name], of_example, table, name)
        for name in TAKEN
        if name in examples
    }
    known = known.drop(columns=[name for name in TAKEN if name in known])
    for name, values in found.items():
        known[name] = names.map(values).astype(object)
    strangers = known["split"].isna()
    if strangers.all():
        raise InputError(
            f"{table.path}: no row is of {dataset.folder}; rows were looked for by "
            f"{', '.join(keys)}, for example {names.iloc[0]}, and the dataset has "
            f"{of_example.iloc[0]}"
        )
    return known.where(known.notna(), None), int(strangers.sum())


def well_name(text: str) -> str:
    """A well as the glossary writes it: B03 for b3, B-3 and B 03, and for 2-3; else unchanged."""
    letters = _WELL.fullmatch(text.strip())
    if letters:
        return f"{letters[1].upper()}{int(letters[2]):02}"
    numbers = _ROW_COLUMN.fullmatch(text.strip())
    if numbers and int(numbers[1]) > 0:
        return f"{row_letters(int(numbers[1]) - 1)}{int(numbers[2]):02}"
    return text


def _keys(table: FeatureTable, known: pd.DataFrame, examples: pd.DataFrame) -> list[str]:
    ids = known.get(IMAGE_ID, known.get("example_id"))
    if ids is not None and ids.isin(examples["example_id"]).any():
        return ["example_id"]
    finest = PLACES.index("well") if table.rows == "well" else len(PLACES)
    keys = [
        name
        for name in PLACES[: finest + 1]
        if all(name in frame and frame[name].notna().any() for frame in (known, examples))
    ]
    if not keys or ("well" in known and "well" not in keys):
        raise InputError(
            f"{table.path}: nothing says which example of the dataset a row is; expected the "
            f"columns plate and well in both, found {', '.join(map(str, known.columns))} and "
            f"{', '.join(map(str, examples.columns))}; name them with --column when you import"
        )
    return keys


def _joined(frame: pd.DataFrame, keys: list[str]) -> pd.Series:
    texts = {name: as_names(frame[name]) for name in keys}
    if "well" in texts:
        texts["well"] = texts["well"].map(well_name, na_action="ignore")
    columns = pd.DataFrame(texts)
    return columns.fillna("").agg("/".join, axis=1).where(columns.notna().all(axis=1), None)


def _one_each(values: pd.Series, of: pd.Series, table: FeatureTable, name: str) -> dict[str, Any]:
    """The value of all examples of each row. Raises InputError where a row has several."""
    grouped = values.groupby(of)
    several = grouped.nunique(dropna=name != "label") > 1
    if several.any() and name != "group":
        place = several.index[int(several.to_numpy().argmax())]
        found = ", ".join(sorted(map(str, values[of == place].unique())))
        raise InputError(
            f"{table.path}: {place} stands for examples with different {name}s ({found}), "
            f"{int(several.sum())} of {len(several)} are like this; a {table.rows} needs one "
            f"{name}: split by well or wider, or measure --per image"
        )
    first = grouped.first()
    return {str(key): None if value != value else value for key, value in first.items()}

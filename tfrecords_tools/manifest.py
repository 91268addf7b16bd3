"""The manifest: one row per example, with one fixed type per kind of column; absent is null."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.errors import PlanError

LAST_COLUMNS = ("shard", "index")


def manifest_table(examples: pd.DataFrame) -> pa.Table:
    """The examples of a plan as they are written; their class index follows from the label."""
    names = [str(name) for name in examples.columns if name != "class_index"]
    return pa.table({name: _column(name, examples[name]) for name in names})


def manifest_frame(table: pa.Table) -> pd.DataFrame:
    """The table in pandas; whole numbers beside an absent one stay whole (Int64)."""
    frame: pd.DataFrame = table.to_pandas()
    for name in table.column_names:
        column = table[name]
        if pa.types.is_integer(column.type) and column.null_count:
            frame[name] = pd.array(column.to_pylist(), dtype="Int64")
    return frame


def joined(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """The rows of both, earlier ones first and unchanged; a column that one lacks is null there.

    Raises PlanError where a column holds another kind of value than before.
    """
    names = [name for name in earlier.column_names if name not in LAST_COLUMNS]
    names += [name for name in later.column_names if name not in (*names, *LAST_COLUMNS)]
    columns = {}
    for name in (*names, *LAST_COLUMNS):
        before, after = (
            table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
            for table in (earlier, later)
        )
        kind = _common_type(name, before, after)
        columns[name] = pa.concat_arrays(
            [chunk for column in (before, after) for chunk in column.cast(kind).chunks]
        )
    return pa.table(columns)


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _common_type(name: str, before: pa.ChunkedArray, after: pa.ChunkedArray) -> pa.DataType:
    if name == "source_paths":
        return pa.list_(pa.string())
    present = [column.type for column in (before, after) if column.null_count < len(column)]
    kinds = list(dict.fromkeys(present))
    if not kinds:
        return pa.string()
    if len(kinds) == 1:
        return kinds[0]
    if {str(kind) for kind in kinds} == {"int64", "double"}:
        return pa.float64()
    raise PlanError(
        f"column {name}: {_words(before)} in the dataset, {_words(after)} in the new images; write "
        "it the same way in both"
    )


def _words(column: pa.ChunkedArray) -> str:
    first = column.drop_null()[0].as_py()
    kind = "text" if pa.types.is_string(column.type) else "numbers"
    return f"{kind} (such as {first})"


def _column(name: str, values: pd.Series) -> pa.Array:
    if name == "source_paths":
        return pa.array([list(paths) for paths in values], type=pa.list_(pa.string()))
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of several types
        array = pa.nulls(len(values))
    if pa.types.is_boolean(array.type):
        return array
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float64())
    return pa.array([None if pd.isna(v) else str(v) for v in values], type=pa.string())

"""Tables of labels, metadata and boxes: CSV or Parquet in, clean columns out."""

from __future__ import annotations

import difflib
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

# Names for things, never amounts: plate 1 and well column 03 stay text.
TEXT_COLUMNS = frozenset(
    {
        "experiment",
        "plate",
        "well",
        "row",
        "column",
        "field",
        "position",
        "cell_line",
        "treatment",
        "channel",
        "item",
        "label",
    }
)
# Amounts by their meaning: frame 007 is a number.
TIMES = frozenset({"time_index", "time_hours"})
# What doses and effects are computed from, so that a word in them must not pass for a name.
AMOUNTS = ("concentration_um", "viability")
ROW_NUMBER = "row_number"
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
# Columns of the manifest that say which example it is and where it lies, not how it came about.
PLACE_COLUMNS = frozenset(
    {"example_id", "split", "label", "group", "source_id", "source_paths"}
    | {"image_sha256", "image_crc32c"}
    | {"top_px", "left_px", "height_px", "width_px", "tile_row", "tile_column"}
    | {*BOX_COLUMNS, "shard", "index"}
)

# The manifest's and the prediction table's own columns; a source's column of that name is renamed.
RESERVED_COLUMNS = frozenset(
    {
        "path",
        "row_number",
        "example_id",
        "split",
        "label",
        "class_index",
        "group",
        "source_id",
        "source_paths",
        "top_px",
        "left_px",
        "height_px",
        "width_px",
        "image_sha256",
        "image_crc32c",
        "shard",
        "index",
        "predicted",
        "prediction_set",
        "out_of_distribution",
        "softmax_temperature",
        "embedding",
    }
)
# Before the name of a class: the prediction table's column of its probabilities.
PROBABILITY = "probability_"

# What R, pandas and spreadsheets write for an absent value; "None" may be the name of a class.
ABSENT = ("", "NA", "NaN", "nan", "#N/A")
_LEADING_ZERO = re.compile(r"0\d")
_DECIMAL_COMMA = r"^\s*(-?\d+),(\d+(?:[eE][+-]?\d+)?)\s*$"
_WHOLE = re.compile(r"-?\d+\.0")


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file with every cell as stripped text, and None where it is empty.

    Columns of a Parquet file whose cells are lists, such as embeddings, are left out. Raises
    SourceError where the file is missing, empty, damaged or of another kind.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise SourceError(
            f"{path}: a table is a .csv or .parquet file, found {suffix or 'no suffix'}"
        )
    try:
        frame = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such table") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{path}: cannot be read as a table ({reason}); expected {suffix[1:]} with a header row"
        ) from None
    if frame.empty:
        raise SourceError(f"{path}: the table has no rows; expected one per image, or per box")
    named = [name for name in frame.columns if not str(name).startswith("Unnamed:")]
    return pd.DataFrame({str(name).strip(): _as_text(frame[name]) for name in named})


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [c.name for c in pq.read_schema(path) if not pa.types.is_nested(c.type)]
    return pd.read_parquet(path, columns=columns)


def _read_csv(path: Path) -> pd.DataFrame:
    """CSV as programs of all countries write it: `;` or a tab between cells, then 0,5 is 0.5."""
    import pandas as pd

    separator, encoding = csv_dialect(path)
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_values=ABSENT,
        encoding=encoding,
    )
    if separator == ",":
        return frame
    return frame.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)


def csv_dialect(path: Path) -> tuple[str, str]:
    """What stands between the cells of a CSV file, by its header, and its encoding."""
    encoding = _encoding(path)
    with path.open(encoding=encoding) as file:
        header = file.readline()
    return max(",;\t", key=header.count), encoding


def _encoding(path: Path) -> str:
    """UTF-8; else what spreadsheets save as text: UTF-16 with its mark, or Windows' Western one."""
    content = path.read_bytes()
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def check_columns(frame: pd.DataFrame, needed: Iterable[str], origin: Path, hint: str) -> None:
    """Raise SourceError, naming the nearest column there is, where one of `needed` is missing."""
    columns = list(frame.columns)
    for name in needed:
        if name in columns:
            continue
        close = difflib.get_close_matches(name, columns, n=1)
        nearest = f"did you mean {close[0]}? " if close else ""
        raise SourceError(
            f"{origin}: no column {name}; {nearest}it has {', '.join(columns)}; {hint}"
        )


def typed(name: str, values: pd.Series) -> pd.Series:
    """A column of text as numbers where each value is one, unless it names something.

    Codes with leading zeros stay text, unless they are times.
    """
    import pandas as pd

    present = values.dropna()
    if name in TEXT_COLUMNS or present.empty:
        return values.astype(object)
    if name not in TIMES and present.str.match(_LEADING_ZERO).any():
        return values.astype(object)
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.isna().any():
        return values.astype(object)
    whole = len(present) == len(values) and bool((numbers % 1 == 0).all())
    return pd.to_numeric(values).astype(
        "int64" if whole and numbers.abs().max() < 2**53 else "float64"
    )


def comparable(value: Any) -> str | None:
    """A value to compare: 1, 01 and 1.0 are the same."""
    if value is None:
        return None
    number = as_number(str(value))
    return str(value) if number is None else f"{number:.12g}"


def as_number(text: str) -> float | None:
    """The number that a text is, else None; 1_2 is a name, though Python would read 12."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def metadata_name(name: str) -> str:
    """The manifest's name for a source's column."""
    reserved = name in RESERVED_COLUMNS or name.startswith(PROBABILITY)
    return f"source_{name}" if reserved else name


def _as_text(values: pd.Series) -> pd.Series:
    """Stripped text; whole numbers that gaps in the column turned into 1.0 are 1 again."""
    import pandas as pd

    texts = [None if pd.isna(value) else str(value).strip() or None for value in values]
    if all(text is None or _WHOLE.fullmatch(text) for text in texts):
        texts = [None if text is None else text.removesuffix(".0") for text in texts]
    return pd.Series(texts, index=values.index, dtype=object)

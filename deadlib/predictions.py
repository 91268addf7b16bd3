"""The prediction table as files hold it: one row per example, labelled or not.

What reads predictions for a purpose of its own (an evaluation, a dose curve, a map of embeddings)
begins here, so that all refuse the same tables in the same words.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib.errors import PredictionError
from deadlib.outputs import written_whole
from tfrecords_tools.table import ABSENT, PROBABILITY, csv_dialect

METADATA_KEY = b"deadlib"
SEEN_BY_SPLIT = "seen_in_training_by_split"
LOGIT = "logit_"
# what rounding to three decimals may take from the sum, for each class
LARGEST_GAP = 5e-4
# large, and few look at them
HEAVY = frozenset({"embedding", "source_paths"})
# probabilities nearer than this are equal, and `predicted` decides between them
EQUAL = 1e-9


@dataclass(frozen=True)
class PredictionTable:
    """N rows as they stand in the file.

    frame: all columns but the heavy ones that were not asked for, rows numbered from 1 as a
    spreadsheet shows them less its header; classes: K names; probabilities (N, K) float64, rows
    summing to 1; metadata: what `deadlib-predict` recorded, empty for a table from elsewhere.
    calls_only: the table has answers without probabilities, which are then 1 for each call.
    """

    path: Path
    frame: pd.DataFrame
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    metadata: dict[str, Any] = field(default_factory=dict)
    calls_only: bool = False

    @property
    def predicted_index(self) -> NDArray[np.intp]:
        """The most probable class of each row, (N,); of equal ones that of column `predicted`."""
        return self.probabilities.argmax(axis=1)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """(N, D), of a table that was read with `embedding`.

        Raises PredictionError without, naming the row where one is no row of finite numbers.
        """
        advice = "take the table as deadlib-predict wrote it, in .parquet"
        if "embedding" not in self.frame and self.path.suffix.lower() == ".csv":
            raise PredictionError(f"{self.path}: no column embedding can be in CSV; {advice}")
        require_column(
            self.path, self.frame, "embedding", "the features that the network decides by"
        )
        column = self.frame["embedding"]
        rows = [row if isinstance(row, np.ndarray) else None for row in column]
        width = next((len(row) for row in rows if row is not None), 0)
        for place, row in zip(column.index, rows, strict=True):
            if row is None or len(row) != width or row.dtype.kind not in "fiu" or not width:
                shown = "no list of numbers" if row is None else f"{len(row)} values"
                raise PredictionError(
                    f"{self.path}, row {place}, column embedding: found {shown}, expected "
                    f"{width or 'some'} numbers as in the other rows; {advice}"
                )
        found = np.stack(rows).astype(np.float32)  # type: ignore[arg-type]
        broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(broken):
            raise PredictionError(
                f"{self.path}, row {column.index[broken[0]]}, column embedding: not all numbers "
                f"are finite; rows like this: {len(broken)}; predict these images again"
            )
        return found


def open_predictions(
    path: str | Path,
    *,
    heavy: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    calls: bool = False,
) -> PredictionTable:
    """Read a table of predictions, Parquet or CSV; labels are not looked at.

    Needs one column `probability_<class>` for each of at least two classes, or as many
    `logit_<class>`. heavy: which of `embedding` and `source_paths` to read as well. columns: our
    name -> the table's, for tables of other programs. calls: also take a table that has neither,
    but a column `predicted`; the classes are then those that are called or stand as labels. Raises
    PredictionError, naming row and column.
    """
    path = Path(path)
    frame, metadata = read_frame(path, heavy=heavy, columns=columns)
    return from_frame(path, frame, metadata, calls=calls)


def from_frame(
    path: Path, frame: pd.DataFrame, metadata: dict[str, Any], *, calls: bool = False
) -> PredictionTable:
    """The checked table of what `read_frame` read."""
    classes, calls_only = classes_of(path, frame, metadata, calls=calls)
    found = (called if calls_only else probabilities)(path, frame, classes)
    return PredictionTable(path, frame, classes, found, metadata, calls_only)


def classes_of(
    path: Path, frame: pd.DataFrame, metadata: dict[str, Any], *, calls: bool = False
) -> tuple[tuple[str, ...], bool]:
    """The classes of a table, and whether it has only calls, which are refused without `calls`."""
    if calls and not any(map(_is_probability, frame)):
        return _called_classes(path, frame, metadata), True
    return class_names(path, frame, metadata), False


def of_split(table: PredictionTable, split: str) -> PredictionTable:
    """The rows of one split. Raises PredictionError where there are none."""
    require_column(table.path, table.frame, "split", "asked for with --split")
    splits = as_names(table.frame["split"])
    chosen = (splits == split).to_numpy()
    if not chosen.any():
        names = sorted(splits.dropna().unique())
        raise PredictionError(
            f"{table.path}: no rows of split {split}{nearest_name(split, names)}; found "
            f"{', '.join(names)}"
        )
    return replace(
        table,
        frame=table.frame[chosen],
        probabilities=table.probabilities[chosen],
        metadata=metadata_of_split(table.metadata, split),
    )


def write_predictions(path: Path, table: PredictionTable) -> None:
    """Write the rows of a table as Parquet with its metadata: a whole file or none.

    Raises PredictionError where the name ends otherwise, WriteError where the disk refuses.
    """
    check_output(path)
    found = pa.Table.from_pandas(table.frame, preserve_index=False)
    metadata = {METADATA_KEY: json.dumps(table.metadata).encode()}
    with written_whole(path) as partial:
        pq.write_table(found.replace_schema_metadata(metadata), partial)


def check_output(path: Path) -> None:
    """Raise PredictionError where a table of predictions cannot have this name."""
    if path.suffix.lower() != ".parquet":
        raise PredictionError(
            f"{path}: tables of predictions are Parquet; give a name that ends in .parquet"
        )


def read_frame(
    path: Path, *, heavy: Sequence[str] = (), columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not path.is_file():
        raise PredictionError(f"{path}: no such file; give a table that deadlib-predict wrote")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            schema = pq.read_schema(path)
            names = [name for name in schema.names if name not in HEAVY - set(heavy)]
            frame = pd.read_parquet(path, columns=names)
            metadata = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
        elif suffix == ".csv":
            # cells that hold lists are read from Parquet only
            frame = _read_csv(path).drop(columns=list(HEAVY), errors="ignore")
            metadata = {}
        else:
            raise PredictionError(f"{path}: not a table; expected a name in .parquet or .csv")
    except (pa.ArrowException, pd.errors.ParserError, ValueError, OSError) as error:
        raise PredictionError(f"{path}: cannot be read as a table ({error})") from None
    if frame.empty:
        raise PredictionError(f"{path}: the table has no rows")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    frame = _renamed(path, frame, columns or {})
    if not any(map(_is_probability, frame)):
        frame = _from_logits(path, frame)
    return frame, metadata


def _read_csv(path: Path) -> pd.DataFrame:
    """CSV as programs of all countries write it: `;` or a tab between cells, then 0,5 is 0.5."""
    separator, encoding = csv_dialect(path)
    frame = pd.read_csv(
        path,
        sep=separator,
        decimal="." if separator == "," else ",",
        keep_default_na=False,
        na_values=ABSENT,
        encoding=encoding,
    )
    # row numbers that a program wrote without a name
    return frame[[name for name in frame if not str(name).startswith("Unnamed:")]]


def _renamed(path: Path, frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with its columns under our names; what had such a name before makes place."""
    for ours, theirs in columns.items():
        require_column(path, frame, theirs, f"asked for as {ours}")
    taken = {ours: frame[theirs] for ours, theirs in columns.items()}
    rest = frame.drop(columns=[*{*columns, *columns.values()} & {*frame.columns}])
    return pd.DataFrame({**taken, **rest}) if taken else frame


def metadata_of_split(metadata: dict[str, Any], split: str | None) -> dict[str, Any]:
    """The metadata as it holds of the rows of one split: images that taught the model are counted
    among these alone."""
    by_split = metadata.get(SEEN_BY_SPLIT)
    if split is None or by_split is None or metadata.get("seen_in_training") is None:
        return metadata
    seen = by_split.get(split, 0)
    return metadata | {"seen_in_training": seen, SEEN_BY_SPLIT: {split: seen} if seen else {}}


def require_column(path: Path, frame: pd.DataFrame, name: str, meaning: str) -> None:
    if name not in frame:
        raise PredictionError(
            f"{path}: no column {name} ({meaning}){nearest_name(name, list(frame.columns))}; "
            f"found {', '.join(map(str, frame.columns))}"
        )


def _is_probability(column: object) -> bool:
    return str(column).startswith(PROBABILITY)


def class_names(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> tuple[str, ...]:
    told = metadata.get("classes", ())
    missing = [name for name in told if PROBABILITY + name not in frame]
    if 0 < len(missing) < len(told):
        raise PredictionError(
            f"{path}: the model knows the classes {', '.join(told)}, but there is no column "
            f"{', '.join(PROBABILITY + name for name in missing)}: take the table as "
            "deadlib-predict wrote it"
        )
    # other columns of such a name then say something of the sample
    if len(told) > 1 and not missing:
        return tuple(told)
    found = [str(c).removeprefix(PROBABILITY) for c in frame if str(c).startswith(PROBABILITY)]
    if len(found) < 2:
        raise PredictionError(
            f"{path}: found {len(found)} columns {PROBABILITY}<class>, expected one for each of at "
            f"least two classes (for example {PROBABILITY}dead and {PROBABILITY}living)"
        )
    return tuple(found)


def probabilities(path: Path, frame: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """(N, K), rows divided by their sum, which differs from 1 by rounding only.

    Where classes are equally probable, the one that column `predicted` names is so by 1e-9 more:
    whoever wrote the table knew which answer to give.
    """
    tolerance = LARGEST_GAP * len(classes) + 1e-9
    columns = []
    for name in classes:
        column = pd.to_numeric(frame[PROBABILITY + name], errors="coerce").astype(float)
        bad = ~((column >= 0) & (column <= 1 + tolerance))
        if bad.any():
            row = column.index[int(bad.to_numpy().argmax())]
            cell = frame[PROBABILITY + name].to_list()[int(bad.to_numpy().argmax())]
            advice = (
                "predict this image again, or take its row out"
                if pd.isna(cell)
                else "logits must go through a softmax first"
            )
            raise PredictionError(
                f"{path}, row {row}, column {PROBABILITY}{name}: found {cell!r}, expected a "
                f"probability in 0-1; rows like this: {int(bad.sum())}; {advice}"
            )
        columns.append(column.to_numpy())
    found = np.stack(columns, axis=1)
    sums = found.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > tolerance)
    if len(wrong):
        names = ", ".join(PROBABILITY + name for name in classes)
        raise PredictionError(
            f"{path}, row {frame.index[int(wrong[0])]}, columns {names}: the probabilities sum to "
            f"{sums[wrong[0]]:.4g}, expected 1; rows like this: {len(wrong)}"
        )
    return _decided(np.asarray(found / sums[:, None]), frame, classes)


def _decided(
    found: NDArray[np.float64], frame: pd.DataFrame, classes: Sequence[str]
) -> NDArray[np.float64]:
    if "predicted" not in frame:
        return found
    called = pd.Index(classes).get_indexer(pd.Index(as_names(frame["predicted"])))
    row = np.arange(len(found))
    height = np.where(called >= 0, found[row, called], 0.0)
    tied = (height >= found.max(axis=1) - EQUAL) & (height < 1) & (called >= 0)
    found[row[tied], called[tied]] += 2 * EQUAL
    return found / found.sum(axis=1, keepdims=True)


def _called_classes(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> tuple[str, ...]:
    """What is called or stands as a label, in alphabetic order, unless the metadata tells."""
    require_column(
        path, frame, "predicted", f"the call of each row, as there is no {PROBABILITY}<class>"
    )
    if told := tuple(metadata.get("classes", ())):
        return told
    found = set(as_names(frame["predicted"]).dropna())
    if "label" in frame:
        found |= set(as_names(frame["label"]).dropna())
    if len(found) < 2:
        raise PredictionError(
            f"{path}, column predicted: found no call but {', '.join(found) or 'empty cells'}, "
            "expected at least two classes"
        )
    return tuple(sorted(found))


def called(path: Path, frame: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """(N, K): 1 for the call of each row in column `predicted`, 0 for the other classes."""
    calls = as_names(frame["predicted"])
    for row, name in calls[~calls.isin(classes)].items():
        found = "no call" if pd.isna(name) else f"{name!r}{nearest_name(name, classes)}"
        raise PredictionError(
            f"{path}, row {row}, column predicted: found {found}, expected one of the classes "
            f"{', '.join(classes)}; rows like this: {int((~calls.isin(classes)).sum())}"
        )
    return np.eye(len(classes))[pd.Index(classes).get_indexer(pd.Index(calls))]


def _from_logits(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with probabilities, the softmax of its logits where it has them."""
    names = [str(name) for name in frame if str(name).startswith(LOGIT)]
    if not names:
        return frame
    logits = frame[names].apply(pd.to_numeric, errors="coerce").astype(float)
    bad = ~np.isfinite(logits.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise PredictionError(
            f"{path}, row {frame.index[row]}, column {names[column]}: found "
            f"{frame[names[column]].to_list()[row]!r}, expected a number; rows like this: "
            f"{int(bad.any(axis=1).sum())}"
        )
    powers = np.exp(logits.to_numpy() - logits.to_numpy().max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    told = {PROBABILITY + n.removeprefix(LOGIT): shares[:, k] for k, n in enumerate(names)}
    return frame.drop(columns=names).assign(**told)


def as_names(column: pd.Series) -> pd.Series:
    """Names as text, null where missing; 1.0 is 1, as nulls turn whole numbers into floats."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")


def nearest_name(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""

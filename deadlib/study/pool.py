"""The test rows of all trainings of a study, in one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deadlib.inference import read_metadata
from deadlib.outputs import written_whole
from deadlib.predictions import METADATA_KEY
from deadlib.study.cells import Training

CELL = "study_cell"
SEED = "study_seed"
OF_THE_DATA = (
    "dataset",
    "fingerprint",
    "trained_on_fingerprint",
    "trained_on_confounding",
    "predicted_split",
    "classes",
    "bn_at_test",
    "coverage",
)
IN_PART = ("card", "split")
"""What single runs tell in other counts: kept where they agree."""


def write_pooled(
    path: Path, tables: Sequence[tuple[Training, Path]], command: str | None = None
) -> None:
    """Join prediction tables, each row with its cell and seed (columns study_cell, study_seed).

    Columns that a table has not are null, as the probabilities of classes that its run does not
    know. Metadata are what all tables share, and the commands. Without any table an earlier one is
    taken away.
    """
    if not tables:
        path.unlink(missing_ok=True)
        return
    schema = pa.unify_schemas(
        [pq.read_schema(table).remove_metadata() for _, table in tables],
        promote_options="permissive",
    )
    schema = schema.append(pa.field(CELL, pa.string())).append(pa.field(SEED, pa.int64()))
    metadata = _shared([read_metadata(table) for _, table in tables], command)
    schema = schema.with_metadata({METADATA_KEY: json.dumps(metadata).encode()})
    with written_whole(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for part in _parts(tables, schema):
            writer.write_table(part)


def _parts(tables: Sequence[tuple[Training, Path]], schema: pa.Schema) -> Iterator[pa.Table]:
    for training, path in tables:
        found = pq.read_table(path).replace_schema_metadata(None)
        columns = {name: found[name] for name in found.column_names}
        columns[CELL] = pa.array([training.cell.name] * len(found), pa.string())
        columns[SEED] = pa.array([training.recipe.seed] * len(found), pa.int64())
        for field in schema:
            if field.name not in columns:
                columns[field.name] = pa.nulls(len(found), field.type)
        yield pa.table({name: columns[name] for name in schema.names}).cast(schema)


def _shared(told: Sequence[dict[str, Any]], command: str | None) -> dict[str, Any]:
    found = _alike(told, OF_THE_DATA)
    for key in IN_PART:
        parts = [one.get(key) or {} for one in told]
        found[key] = _alike(parts, parts[0])
    if "confounding" not in found["card"]:
        # a card without it would say that nothing is confounded
        del found["card"]
    convert = (told[0].get("command") or {}).get("convert")
    return found | {
        "command": {"convert": convert, "study": command},
        "seen_in_training": _sum([one.get("seen_in_training") for one in told]),
    }


def _alike(told: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """Those of the keys that all have with one value."""
    first = told[0]
    return {
        key: first[key]
        for key in keys
        if key in first and all(key in one and one[key] == first[key] for one in told)
    }


def _sum(counts: Sequence[int | None]) -> int | None:
    """None where one is not known and the others are none."""
    total = sum(count or 0 for count in counts)
    return None if total == 0 and None in counts else total

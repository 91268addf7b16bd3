"""From a plan to a dataset directory: shards, then manifest.parquet, then deadlib.json.

A directory is a dataset once deadlib.json is in it. Killed at any moment and started again, a
conversion ends with the bytes of an undisturbed one, whatever the number of workers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.dataset import INFO, MANIFEST, SCHEMA_VERSION, Dataset, open_dataset
from tfrecords_tools.errors import DatasetError, PlanError, WriteError
from tfrecords_tools.plan import Plan
from tfrecords_tools.pool import run_tasks
from tfrecords_tools.shards import (
    PROGRESS_FOLDER,
    ShardFacts,
    ShardTask,
    write_shard,
    write_whole,
)

_PLAN = "plan.json"
_SHARD_NAME = re.compile(r".+\.tfrecord-\d{5}-of-\d{5}")
Progress = Callable[[str, int, int], None] | None

_PACKAGES = ("deadlib", "imagecodecs", "numpy", "pandas", "pillow", "pyarrow", "tensorflow")

# An allowance for metadata and framing, for the estimate of what a full disk lacks.
_BYTES_BESIDE_THE_IMAGE = 1024


def write_dataset(
    plan: Plan,
    out: str | Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    command: str | None = None,
    progress: Progress = None,
) -> Dataset:
    """Write a plan as a dataset directory, or finish one that was interrupted.

    Args:
        plan: from `make_plan`.
        out: the dataset directory; it may be missing, empty, or an interrupted conversion of the
            same plan.
        workers: processes; the bytes written do not depend on their number.
        overwrite: replace the dataset, or the interrupted conversion of another plan, in `out`.
        command: how the dataset is made again, for deadlib.json.
        progress: called with (stage, done, total).

    Raises DatasetError where `out` holds something else, WriteError where the disk refuses
    (finished shards are kept: the same call goes on from there), SourceError where an image has
    vanished or changed since it was planned.
    """
    out = Path(out)
    manifest = _parquet(_manifest_table(plan.examples))
    document = _plan_document(plan, manifest)
    text = _json(document)
    plan_sha256 = hashlib.sha256(text).hexdigest()
    try:
        if _claim(out, text, plan_sha256, overwrite):
            return open_dataset(out)
        shards = _write_shards(plan, out, workers, progress)
        scratch = out / PROGRESS_FOLDER
        write_whole(out / MANIFEST, manifest, scratch)
        info = {
            "schema_version": SCHEMA_VERSION,
            **document,
            "shards": [vars(shard) for shard in shards],
            "plan_sha256": plan_sha256,
            "fingerprint": _fingerprint(document, shards),
            "versions": _versions(),
            "command": command,
        }
        write_whole(out / INFO, _json(info), scratch)
        _tidy(scratch)
    except OSError as error:
        raise _refused(error, plan, out) from None
    return open_dataset(out)


def _plan_document(plan: Plan, manifest: bytes) -> dict[str, Any]:
    """All of the plan as JSON; the examples by the checksum of their table."""
    return {
        "name": plan.name,
        "classes": list(plan.classes),
        "channels": list(plan.channels),
        "encoding": plan.encoding,
        "settings": plan.settings.to_json(),
        "split": plan.split_info,
        "audit": plan.audit,
        "skipped": list(plan.skipped),
        "intensity": plan.facts["intensity"],
        "sizes": plan.facts["sizes"],
        "dtypes": plan.facts["dtypes"],
        "manifest": {
            "examples": len(plan.examples),
            "bytes": len(manifest),
            "sha256": hashlib.sha256(manifest).hexdigest(),
        },
    }


def _claim(out: Path, text: bytes, plan_sha256: str, overwrite: bool) -> bool:
    """Make `out` ours, with the plan in it. True where the same plan is finished there already.

    The plan is written before an old dataset is taken away, so that at every moment the folder
    is empty, a dataset, or an interrupted conversion.
    """
    scratch = out / PROGRESS_FOLDER
    finished = (out / INFO).is_file()
    if finished and scratch.is_dir():
        # Killed while tidying up, or before an old dataset was taken away.
        _tidy(scratch)
        if not overwrite and open_dataset(out).info["plan_sha256"] == plan_sha256:
            return True
    if finished and not overwrite:
        raise DatasetError(
            f"{out}: already holds a dataset; give another folder, or --overwrite to replace it"
        )
    interrupted = (scratch / _PLAN).is_file()
    if interrupted and (scratch / _PLAN).read_bytes() != text:
        if not overwrite:
            raise DatasetError(
                f"{out}: holds an interrupted conversion of other images or settings; repeat the "
                "command that it was started with, give another folder, or --overwrite to start "
                "anew"
            )
        _tidy(scratch)
    if not finished and not interrupted:
        _check_empty(out)
    scratch.mkdir(parents=True, exist_ok=True)
    for partial in scratch.glob("*.partial"):
        partial.unlink()
    write_whole(scratch / _PLAN, text, scratch)
    (out / INFO).unlink(missing_ok=True)
    return False


def _check_empty(out: Path) -> None:
    """Refuse a folder that holds what no conversion put there."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DatasetError(f"{out}: a file, expected a new or empty folder; give another name")
    other = next((path.name for path in out.iterdir() if path.name != PROGRESS_FOLDER), None)
    if other is not None:
        raise DatasetError(
            f"{out}: holds other files (such as {other}), expected a new or empty folder; give "
            "another one"
        )


def _tidy(scratch: Path) -> None:
    """Remove the progress folder; the plan last, as it tells what the rest belongs to."""
    for path in sorted(scratch.iterdir(), key=lambda path: path.name == _PLAN):
        path.unlink()
    scratch.rmdir()


def _write_shards(plan: Plan, out: Path, workers: int, report: Progress) -> list[ShardFacts]:
    tasks = list(_tasks(plan, out))
    total = len(plan.examples)
    shards: list[ShardFacts] = []

    def finished(shard: ShardFacts) -> None:
        shards.append(shard)
        if report is not None:
            report("writing", sum(shard.examples for shard in shards), total)

    run_tasks(write_shard, tasks, workers=workers, finished=finished)
    names = [task.file for task in tasks]
    for path in out.iterdir():
        if _SHARD_NAME.fullmatch(path.name) and path.name not in names:
            path.unlink()  # of the dataset that this one replaces
    return sorted(shards, key=lambda shard: names.index(shard.file))


def _tasks(plan: Plan, out: Path) -> Iterator[ShardTask]:
    """One task per run of rows of one shard. Raises PlanError where rows are out of place."""
    files = plan.examples["shard"].to_numpy()
    starts = np.flatnonzero(np.r_[True, files[1:] != files[:-1]])
    for start, stop in zip(starts, [*starts[1:], len(files)], strict=True):
        rows = plan.examples.iloc[start:stop]
        if (rows["index"].to_numpy() != np.arange(stop - start)).any() or start != np.argmax(
            files == files[start]
        ):
            raise PlanError(f"{files[start]}: the rows of a shard must stand together, in order")
        yield ShardTask(out, plan.source, str(files[start]), plan.encoding, int(start), rows)


def _manifest_table(examples: pd.DataFrame) -> pa.Table:
    """The manifest with one fixed type per kind of column; what is absent is null."""
    names = [str(name) for name in examples.columns if name != "class_index"]
    return pa.table({name: _column(name, examples[name]) for name in names})


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


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _json(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _fingerprint(document: dict[str, Any], shards: list[ShardFacts]) -> str:
    """Equal for two datasets only where all that a model sees is equal."""
    parts = [document["classes"], document["channels"], document["manifest"]["sha256"]]
    return hashlib.sha256(json.dumps([parts, [s.sha256 for s in shards]]).encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in _PACKAGES
    }


def _refused(error: OSError, plan: Plan, out: Path) -> WriteError:
    """What the disk refused, in words. Finished shards stay for the next try."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return WriteError(
            f"{error.filename or out}: cannot be written ({error.strerror or error}); make the "
            "folder writable and start the same command again: what is finished is kept"
        )
    missing = [not (out / file).exists() for file in plan.examples["shard"]]
    rows = plan.examples[missing]
    depth = max(np.dtype(dtype).itemsize for dtype in plan.facts["dtypes"])
    pixels = int((rows["height_px"] * rows["width_px"]).sum())
    needed = pixels * len(plan.channels) * depth + len(rows) * _BYTES_BESIDE_THE_IMAGE
    free = shutil.disk_usage(out).free
    return WriteError(
        f"{out}: the disk is full: about {_in_megabytes(needed)} still to be written, "
        f"{_in_megabytes(free)} free; make room and start the same command again (what is "
        "finished is kept), or give a folder on another disk"
    )


def _in_megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

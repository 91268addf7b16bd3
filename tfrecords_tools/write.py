"""From a plan to a dataset directory: shards, then manifest.parquet, then deadlib.json.

A directory is a dataset once deadlib.json is in it. Killed at any moment and started again, a
conversion ends with the bytes of an undisturbed one, whatever the number of workers.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.dataset import (
    INFO,
    INTENSITY,
    MANIFEST,
    SAVED,
    SCHEMA_VERSION,
    SKETCHES,
    Dataset,
    document_path,
    open_dataset,
    saved_document,
)
from tfrecords_tools.errors import (
    ChangedImageError,
    DatasetError,
    PlanError,
    SourceError,
    WriteError,
)
from tfrecords_tools.examples import shard_place
from tfrecords_tools.intensity import Row, intensity_bytes, intensity_rows
from tfrecords_tools.journal import JOURNAL_SUFFIX
from tfrecords_tools.manifest import manifest_table, parquet_bytes
from tfrecords_tools.plan import Plan
from tfrecords_tools.pool import Progress, Workers, run_tasks
from tfrecords_tools.records import UNKNOWN_CLASS
from tfrecords_tools.shards import (
    PROGRESS_FOLDER,
    ShardFacts,
    ShardTask,
    noted_shard,
    write_first,
    write_shard,
    write_whole,
)
from tfrecords_tools.share import WHOLE, Share
from tfrecords_tools.similar import sketch_bytes
from tfrecords_tools.tfds import tfds_documents

_PLAN = "plan.json"

_PACKAGES = ("deadlib", "imagecodecs", "numpy", "pandas", "pillow", "pyarrow", "tensorflow")

# An allowance for metadata and framing, for the estimate of what a full disk lacks.
_BYTES_BESIDE_THE_IMAGE = 1024


@dataclass(frozen=True)
class _Draft:
    """A plan as what will be written of it."""

    table: pa.Table
    manifest: bytes
    document: dict[str, Any]
    text: bytes
    sha256: str


def _draft(plan: Plan) -> _Draft:
    table = manifest_table(plan.examples)
    manifest = parquet_bytes(table)
    document = _plan_document(plan, manifest)
    text = json_bytes(document)
    return _Draft(table, manifest, document, text, hashlib.sha256(text).hexdigest())


def write_dataset(
    plan: Plan,
    out: str | Path,
    *,
    workers: Workers = 1,
    overwrite: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Write a plan as a dataset directory, or finish one that was interrupted.

    Args:
        plan: from `make_plan`, or from `plan_addition` to add to the dataset in `out`.
        out: the dataset directory; it may be missing, empty, or an interrupted conversion of the
            same plan. With an addition: the dataset that it was planned for.
        workers: processes, or another Executor; the bytes written do not depend on it.
        overwrite: replace the dataset, or the interrupted conversion of another plan, in `out`.
        command: how the dataset is made again, for deadlib.json.
        progress: called with (stage, done, total).

    Raises DatasetError where `out` holds something else, WriteError where the disk refuses
    (finished shards are kept: the same call goes on from there), SourceError where an image has
    vanished or changed since it was planned. An addition that ends early leaves the dataset as it
    was before.
    """
    out, draft = Path(out), _draft(plan)
    claim = _claim if plan.onto is None else _claim_for_more
    again = "start again with --overwrite" if plan.onto is None else "start the same command again"
    try:
        if claim(plan, out, draft.text, draft.sha256, overwrite):
            return open_dataset(out)
        with _source_watched(plan, out, again):
            written = _write_shards(plan, draft.table, out, workers, progress)
        shards = [*_earlier_shards(plan), *written]
        _close(plan, out, _documents(plan, draft, shards, out, command, workers, progress))
    except OSError as error:
        raise _refused(error, plan, out) from None
    return open_dataset(out)


def write_share(
    plan: Plan,
    out: str | Path,
    share: Share,
    *,
    workers: Workers = 1,
    command: str | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Write this share of the shards; where all shards are there then, finish the dataset.

    The other shares are written by other processes with the same plan (from `make_plan`), on this
    machine or another one with the same disk, before, after or at the same time; whichever finds
    all shards finishes the dataset, with the bytes that `write_dataset` gives. That also finishes
    what the shares have left. Arguments and errors as there.

    Returns the names of the shards that are still missing; none where the dataset is finished.
    """
    out, draft = Path(out), _draft(plan)
    try:
        if not _join(out, draft.text, draft.sha256):
            with _source_watched(plan, out, f"remove {out} and start all shares again"):
                _write_shards(plan, draft.table, out, workers, progress, share)
            noted = {file: noted_shard(out, file) for file in _new_shards(plan)}
            missing = [file for file, facts in noted.items() if facts is None]
            if missing and not _holds(out, draft.sha256):
                return missing
            if not missing:
                shards = [facts for facts in noted.values() if facts is not None]
                _close(plan, out, _documents(plan, draft, shards, out, command, workers, progress))
        _tidy(out / PROGRESS_FOLDER)
    except OSError as error:
        # Another job that has finished the dataset takes away what this one was working with.
        if not _holds(out, draft.sha256):
            raise _refused(error, plan, out) from None
        _tidy(out / PROGRESS_FOLDER)
    return []


@contextmanager
def _source_watched(plan: Plan, out: Path, again: str) -> Iterator[None]:
    """Say how to go on where images vanish or change while they are converted."""
    try:
        yield
    except ChangedImageError as error:
        # The notes are wrong then: they do not see files that a file refers to.
        for journal in (out / PROGRESS_FOLDER).glob(f"*{JOURNAL_SUFFIX}"):
            journal.unlink(missing_ok=True)
        raise SourceError(
            f"{error}; leave the source folder alone while it is converted, and {again}"
        ) from None
    except SourceError:
        if plan.source.is_dir():
            raise
        raise SourceError(
            f"{plan.source}: the source folder has vanished while it was converted; make it "
            "available again and start the same command again: what is finished is kept"
        ) from None


def _documents(
    plan: Plan,
    draft: _Draft,
    shards: Sequence[ShardFacts],
    out: Path,
    command: str | None,
    workers: Workers,
    progress: Progress | None,
) -> dict[str, bytes]:
    """What stands beside the shards."""
    info = {
        "schema_version": SCHEMA_VERSION,
        **draft.document,
        "shards": [vars(shard) for shard in shards],
        "plan_sha256": draft.sha256,
        "fingerprint": fingerprint(draft.document, [shard.sha256 for shard in shards]),
        "versions": _versions(),
        "command": _commands(plan, command),
        "sources": _sources(plan, draft.table.schema),
    }
    intensity = intensity_bytes(
        out, info, plan.examples, kept=_earlier_rows(plan), workers=workers, progress=progress
    )
    info["plate_intensity"] = {
        "bytes": len(intensity),
        "sha256": hashlib.sha256(intensity).hexdigest(),
    }
    sketches = sketch_bytes(plan.sketches)
    if sketches is not None:
        info["sketches"] = {
            "bytes": len(sketches),
            "sha256": hashlib.sha256(sketches).hexdigest(),
        }
    readable_by_tfds = tfds_documents(
        plan.name,
        plan.classes,
        plan.encoding,
        len(plan.channels),
        list(plan.facts["dtypes"]),
        draft.table.drop_columns(once_whole(info["sources"])),
        shards,
    )
    return {
        MANIFEST: draft.manifest,
        INTENSITY: intensity,
        **({SKETCHES: sketches} if sketches is not None else {}),
        **readable_by_tfds,
        INFO: json_bytes(info),
    }


def shard_tasks(
    table: pa.Table, classes: Sequence[str], encoding: str, out: Path, source: Path, first_row: int
) -> Iterator[ShardTask]:
    """One task per run of manifest rows of one shard, from `first_row` on, all from one source.

    The rows come from the manifest itself, so that a shard can be written again from it. Raises
    PlanError where rows are out of place.
    """
    out, source = out.absolute(), source.absolute()  # a worker may run in another folder
    files = table["shard"].to_pylist()
    index = table["index"].to_pylist()
    numbers = {name: number for number, name in enumerate(classes)}
    starts = [row for row, file in enumerate(files) if not row or files[row - 1] != file]
    if len(set(files)) < len(starts):
        twice = next(files[row] for row in starts if files.index(files[row]) < row)
        raise PlanError(f"{twice}: the rows of a shard must stand together, in order")
    for start, stop in itertools.pairwise([*starts, len(files)]):
        if start < first_row:
            continue
        if index[start:stop] != list(range(stop - start)):
            raise PlanError(f"{files[start]}: the rows of a shard must stand together, in order")
        columns = table.slice(start, stop - start).to_pydict()
        columns["class_index"] = [numbers.get(label, UNKNOWN_CLASS) for label in columns["label"]]
        yield ShardTask(out, source, files[start], encoding, start, columns)


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
        "similar": plan.similar,
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


def _claim(plan: Plan, out: Path, text: bytes, plan_sha256: str, overwrite: bool) -> bool:
    """Make `out` ours, with the plan in it. True where the same plan is finished there already.

    The plan is written before an old dataset is taken away, so that at every moment the folder
    is empty, a dataset, or an interrupted conversion.
    """
    scratch = out / PROGRESS_FOLDER
    finished = (out / INFO).is_file()
    if finished and scratch.is_dir() and not overwrite:
        # Killed while tidying up, or while adding, or before an old dataset was taken away.
        settle(out)
        if open_dataset(out).info["plan_sha256"] == plan_sha256:
            return True
    if finished and not overwrite:
        raise _other_dataset(out)
    interrupted = (scratch / _PLAN).is_file()
    if interrupted and (scratch / _PLAN).read_bytes() != text:
        if not overwrite:
            raise _other_plan(out)
        _forget(scratch)
    if not finished and not interrupted:
        refuse_foreign(out)
    _prepare(scratch, text)
    (out / INFO).unlink(missing_ok=True)
    return False


def _claim_for_more(plan: Plan, out: Path, text: bytes, plan_sha256: str, _: bool) -> bool:
    """Make ready to add to the dataset in `out`. True where that is done, or nothing is new."""
    scratch = out / PROGRESS_FOLDER
    stored = scratch / _PLAN
    dataset = open_dataset(out)
    done = dataset.info["plan_sha256"] == plan_sha256 or not plan.new_examples
    if done or not stored.is_file() or stored.read_bytes() != text:
        settle(out)
    if done:
        return True
    if plan.onto is None or dataset.fingerprint != plan.onto.fingerprint:
        raise DatasetError(f"{out}: has changed since the addition was planned; start again")
    _prepare(scratch, text)
    return False


def _prepare(scratch: Path, text: bytes) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    for partial in scratch.glob("*.partial"):
        partial.unlink()
    write_whole(scratch / _PLAN, text, scratch)


def settle(out: Path) -> None:
    """Take away what an interrupted addition or tidying left: what remains is the dataset."""
    scratch = out / PROGRESS_FOLDER
    if not scratch.is_dir():
        return
    dataset = open_dataset(out)
    if dataset.manifest_path != out / MANIFEST:
        saved = [path for path in scratch.iterdir() if path.name.endswith(SAVED)]
        # The manifest last: as long as it is not back, this is done again.
        for path in sorted(saved, key=lambda path: path == dataset.manifest_path):
            os.replace(path, out / path.name.removesuffix(SAVED))
    _remove_other_shards(out, {shard["file"] for shard in dataset.info["shards"]})
    _tidy(scratch)


def _close(plan: Plan, out: Path, documents: Mapping[str, bytes]) -> None:
    """Write what stands beside the shards, deadlib.json last: from then on `out` is the dataset.

    What an addition replaces is kept until then, so that the earlier dataset stays whole.
    """
    scratch = out / PROGRESS_FOLDER
    _remove_other_shards(out, set(plan.examples["shard"]))
    replaced = documents if plan.onto is not None else ()
    for name in replaced:
        saved = saved_document(out, name)
        if (out / name).is_file() and not saved.exists():
            write_whole(saved, (out / name).read_bytes(), scratch)
    for name in sorted(documents, key=lambda name: name == INFO):
        write_whole(out / name, documents[name], scratch)
    _tidy(scratch)


def _remove_other_shards(out: Path, files: Collection[str]) -> None:
    """Remove the shards of a dataset that was replaced, or of an addition that was given up."""
    for path in out.iterdir():
        if shard_place(path.name) is not None and path.name not in files:
            path.unlink(missing_ok=True)


def _join(out: Path, text: bytes, plan_sha256: str) -> bool:
    """Make `out` ours beside other jobs with the same plan. True where it is finished already.

    Nothing that may be another job's is taken away.
    """
    refuse_foreign(out)
    scratch = out / PROGRESS_FOLDER
    if (out / INFO).is_file():
        if not _holds(out, plan_sha256):
            raise _other_dataset(out)
        return True
    scratch.mkdir(parents=True, exist_ok=True)
    if not (scratch / _PLAN).is_file():
        write_first(scratch / _PLAN, text, scratch)
    if (scratch / _PLAN).read_bytes() != text:
        raise _other_plan(out)
    return False


def _holds(out: Path, plan_sha256: str) -> bool:
    """Whether the dataset of this plan is finished."""
    try:
        return bool(json.loads((out / INFO).read_bytes())["plan_sha256"] == plan_sha256)
    except (OSError, ValueError, KeyError):
        return False


def _other_dataset(out: Path) -> DatasetError:
    return DatasetError(
        f"{out}: already holds a dataset; give another folder, or --overwrite to replace it"
    )


def _other_plan(out: Path) -> DatasetError:
    return DatasetError(
        f"{out}: holds an interrupted conversion of other images or settings; repeat the command "
        "that it was started with, give another folder, or --overwrite to start anew"
    )


def refuse_foreign(out: Path) -> None:
    """Raise DatasetError where `out` holds what no conversion put there."""
    if not out.exists() or _begun(out):
        return
    if not out.is_dir():
        raise DatasetError(f"{out}: a file, expected a new or empty folder; give another name")
    other = next((path.name for path in out.iterdir() if path.name != PROGRESS_FOLDER), None)
    if other is not None and not _begun(out):  # by another job, in the meantime
        raise DatasetError(
            f"{out}: holds other files (such as {other}), expected a new or empty folder; give "
            "another one"
        )


def _begun(out: Path) -> bool:
    """Whether `out` holds a dataset or an interrupted conversion."""
    return (out / INFO).is_file() or (out / PROGRESS_FOLDER / _PLAN).is_file()


def _forget(scratch: Path) -> None:
    """Remove what belongs to another plan, but for the plan itself, which is then replaced.

    The notes on images stay: they hold for any plan of the same source.
    """
    for path in scratch.iterdir():
        if path.name != _PLAN and path.suffix != JOURNAL_SUFFIX:
            path.unlink(missing_ok=True)


def _tidy(scratch: Path) -> None:
    """Remove the progress folder; the plan last, as it tells what the rest belongs to."""
    try:
        for path in sorted(scratch.iterdir(), key=lambda path: path.name == _PLAN):
            path.unlink(missing_ok=True)
        scratch.rmdir()
    except OSError as error:
        # Other jobs of the same conversion tidy up, or find that they are late, at the same time.
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise


def _earlier_shards(plan: Plan) -> list[ShardFacts]:
    return [ShardFacts(**shard) for shard in plan.onto.info["shards"]] if plan.onto else []


def _earlier_rows(plan: Plan) -> list[Row]:
    """What is known of the plates of a dataset that is added to, which stays."""
    return intensity_rows(plan.onto) if plan.onto else []


def _new_shards(plan: Plan) -> list[str]:
    """The names of the shards to be written, in the order of the manifest."""
    return list(plan.examples["shard"].iloc[len(plan.examples) - plan.new_examples :].unique())


def _write_shards(
    plan: Plan,
    table: pa.Table,
    out: Path,
    workers: Workers,
    report: Progress | None,
    share: Share = WHOLE,
) -> list[ShardFacts]:
    """Write a share of the new shards; their facts in the order of the manifest."""
    first_row = len(table) - plan.new_examples
    files = dict.fromkeys(share.of(_new_shards(plan)))
    total = int(plan.examples["shard"].isin(files).sum())
    tasks = shard_tasks(table, plan.classes, plan.encoding, out, plan.source, first_row)
    shards: dict[str, ShardFacts] = {}

    def finished(shard: ShardFacts) -> None:
        shards[shard.file] = shard
        if report is not None:
            report("writing", sum(shard.examples for shard in shards.values()), total)

    mine = (task for task in tasks if task.file in files)
    run_tasks(write_shard, mine, workers=workers, finished=finished)
    return [shards[file] for file in files]


def json_bytes(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def fingerprint(document: Mapping[str, Any], shards: Sequence[str]) -> str:
    """Equal for two datasets only where all that a model sees is equal; `shards`: their SHA-256."""
    parts = [document["classes"], document["channels"], document["manifest"]["sha256"]]
    settings = document["settings"]
    parts += [settings[name] for name in ("normalise_to", "illumination") if settings.get(name)]
    return hashlib.sha256(json.dumps([parts, list(shards)]).encode()).hexdigest()


def _sources(plan: Plan, schema: pa.Schema) -> list[dict[str, Any]]:
    """Where the images lay, for the rows of the manifest in order. Not part of the fingerprint.

    `whole` are the columns whose values were whole numbers in all rows when these records were
    written, and have fractions in later ones.
    """
    earlier = plan.onto.sources if plan.onto else []
    before = schema
    if plan.onto is not None:
        promised = plan.onto.info["manifest"]
        before = pq.read_schema(document_path(plan.onto.folder, MANIFEST, promised))
    widened = {
        name
        for name, kind in zip(before.names, before.types, strict=True)
        if pa.types.is_integer(kind) and pa.types.is_floating(schema.field(name).type)
    }
    if widened:
        earlier = [
            part | {"whole": sorted(widened.union(part.get("whole", ())))} for part in earlier
        ]
    added: dict[str, Any] = {"folder": str(plan.source.resolve()), "examples": plan.new_examples}
    return [*earlier, added | ({"prefix": plan.prefix} if plan.prefix else {})]


def once_whole(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that some records hold as whole numbers and others as fractions."""
    return sorted({name for part in sources for name in part.get("whole", ())})


def _commands(plan: Plan, command: str | None) -> str | None:
    """One line for a shell that makes the whole again."""
    earlier = plan.onto.info["command"] if plan.onto else None
    return " && ".join(part for part in (earlier, command) if part) or None


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

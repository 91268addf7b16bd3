"""Everything in a dataset read back: against deadlib.json, the manifest and the source images.

A damaged shard is written again from its rows of the manifest and the source, and takes the place
of the damaged one only where its bytes are exactly those that deadlib.json promises.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.cut import WINDOW, Window, read_window
from tfrecords_tools.dataset import (
    INFO,
    MANIFEST,
    Dataset,
    document_path,
    documents,
    read_info,
    saved_document,
)
from tfrecords_tools.encodings import decode_pixels, encode_image, losses
from tfrecords_tools.errors import DatasetError, PlanError, SourceError, WriteError
from tfrecords_tools.examples import shard_place
from tfrecords_tools.images import pixel_hash, read_stack
from tfrecords_tools.pool import Progress, check_stop, run_tasks
from tfrecords_tools.records import decode_example
from tfrecords_tools.shards import (
    NOT_IN_RECORDS,
    PROGRESS_FOLDER,
    ShardFacts,
    ShardTask,
    file_hash,
    write_shard,
    write_whole,
)
from tfrecords_tools.tfds import tfds_documents
from tfrecords_tools.tfrecord import read_records
from tfrecords_tools.write import fingerprint, json_bytes, once_whole, shard_tasks

_REPAIR_FOLDER = ".repair"
_FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Damage:
    """One file that is not what it should be, and how."""

    file: str
    fault: str

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}"


@dataclass
class Findings:
    """What reading everything back gave. A dataset without `damaged` is sound."""

    damaged: list[Damage] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    """Shards that were damaged and are whole again."""
    notes: list[str] = field(default_factory=list)
    """What could not be compared, and files that belong to nobody."""
    examples: int = 0
    compared: int = 0
    """Examples whose pixels were compared with their source image."""


@dataclass(frozen=True)
class _Check:
    """A shard to be read back; `task` is how it was written, None where the manifest is lost."""

    path: Path
    promised: ShardFacts
    task: ShardTask | None
    channels: int
    has_source: bool


@dataclass
class _Result:
    file: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0


def verify_dataset(
    folder: str | Path,
    *,
    sources: Sequence[str | Path] = (),
    repair: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Findings:
    """Read a dataset back and compare all of it; with `repair` write damaged shards again.

    Args:
        folder: the dataset directory.
        sources: where the images lie now, if they have been moved; otherwise they are looked for
            where they lay when they were converted.
        repair: write damaged shards again from the manifest and the source.
        workers: processes.
        progress: called with (stage, done, total).

    Compared are: deadlib.json with the checksums in it; the manifest with its checksum; of every
    shard its size, its SHA-256 and the checksum of each record; of every record its row, example,
    class, metadata and window size with the manifest, and its pixels with the source image.

    Raises DatasetError where deadlib.json cannot be read, as then nothing can be compared,
    WriteError where a repaired shard cannot be written.
    """
    folder = Path(folder)
    info = read_info(folder)
    dataset = Dataset(folder, info)
    findings = Findings()
    try:
        findings.damaged += _info_damage(info)
        table, damaged = _documents(folder, info)
        findings.damaged += damaged
        derived = _derived(info, table) if table is not None else {}
        damaged_documents = [
            name
            for name, data in derived.items()
            if _differs(folder / name, data) and _differs(saved_document(folder, name), data)
        ]
        checks = _checks(dataset, table, [Path(source) for source in sources], findings)
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{folder / INFO}: damaged ({type(error).__name__}: {error}); copy it back, or convert "
            "the images again with --overwrite"
        ) from None
    findings.examples = info["manifest"]["examples"]
    broken = _read_back(checks, findings, workers, progress)
    findings.damaged += [
        Damage(name, f"missing or edited: not what {INFO} and {MANIFEST} give")
        for name in damaged_documents
    ]
    if repair and (broken or damaged_documents):
        documents_again = {name: derived[name] for name in damaged_documents}
        _repair(folder, broken, documents_again, findings, workers, progress)
    _other_files(folder, info, derived, findings)
    return findings


def _info_damage(info: Mapping[str, Any]) -> Iterator[Damage]:
    """deadlib.json holds a checksum of its plan, and one of what a model sees."""
    names = itertools.takewhile(lambda name: name != "shards", list(info)[1:])
    plan = {name: info[name] for name in names}
    found = fingerprint(info, [shard["sha256"] for shard in info["shards"]])
    if hashlib.sha256(json_bytes(plan)).hexdigest() != info["plan_sha256"]:
        yield Damage(INFO, "edited: the plan in it does not agree with its checksum (plan_sha256)")
    elif found != info["fingerprint"]:
        yield Damage(INFO, "edited: its checksums do not agree with its fingerprint")


def _documents(folder: Path, info: Mapping[str, Any]) -> tuple[pa.Table | None, list[Damage]]:
    """The manifest where it is whole, and which of the listed documents are not."""
    damaged = []
    for name, promised in documents(info).items():
        fault = _fault_of_bytes(document_path(folder, name, promised), promised)
        if fault is not None:
            damaged.append(Damage(name, fault))
    if any(item.file == MANIFEST for item in damaged):
        return None, damaged
    table = pq.read_table(document_path(folder, MANIFEST, info["manifest"]))
    if len(table) != info["manifest"]["examples"]:
        fault = f"{len(table)} rows, {INFO} says {info['manifest']['examples']}"
        return None, [*damaged, Damage(MANIFEST, fault)]
    return table, damaged


def _derived(info: Mapping[str, Any], table: pa.Table) -> dict[str, bytes]:
    """The documents that follow from the others: those for TensorFlow Datasets."""
    return tfds_documents(
        info["name"],
        info["classes"],
        info["encoding"],
        len(info["channels"]),
        list(info["dtypes"]),
        table.drop_columns(once_whole(info.get("sources", []))),
        [ShardFacts(**shard) for shard in info["shards"]],
    )


def _differs(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() != data
    except OSError:
        return True


def _fault_of_bytes(path: Path, promised: Mapping[str, Any]) -> str | None:
    try:
        size = path.stat().st_size
        if size != promised["bytes"]:
            return f"cut or edited: {size} bytes, {INFO} says {promised['bytes']}"
        found = file_hash(path)
    except FileNotFoundError:
        return f"missing, {INFO} lists it"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if found != promised["sha256"]:
        return (
            f"damaged or edited: its SHA-256 is {found[:12]}…, {INFO} says "
            f"{promised['sha256'][:12]}…"
        )
    return None


def _checks(
    dataset: Dataset, table: pa.Table | None, given: Sequence[Path], findings: Findings
) -> list[_Check]:
    """One check per shard, each with the task that wrote it and the source that can be found."""
    promised = [ShardFacts(**shard) for shard in dataset.info["shards"]]
    channels = len(dataset.channels)
    if table is None:
        findings.notes.append(f"records were not compared with {MANIFEST}, as it is damaged")
        return [
            _Check(dataset.folder / shard.file, shard, None, channels, False) for shard in promised
        ]
    scratch = dataset.folder / _REPAIR_FOLDER
    tasks = shard_tasks(table, dataset.classes, dataset.info["encoding"], scratch, Path(), 0)
    try:
        by_file = {task.file: task for task in tasks}
    except PlanError as error:
        raise DatasetError(f"{dataset.folder / MANIFEST}: {error}") from None
    parts = dataset.sources or [{"folder": "", "examples": len(table)}]
    folders = _folders_of_rows(parts, table, given, findings)
    whole = [part.get("whole", []) for part in parts for _ in range(part["examples"])]
    checks = []
    for shard in promised:
        task = by_file.get(shard.file)
        folder = folders[task.first_row] if task else None
        if task is not None:
            task = replace(task, examples=_as_recorded(task.examples, whole[task.first_row]))
        if task is not None and folder is not None:
            task = replace(task, source=folder)
        path = dataset.folder / shard.file
        checks.append(_Check(path, shard, task, channels, folder is not None))
    return checks


def _as_recorded(examples: dict[str, list[Any]], whole: Sequence[str]) -> dict[str, list[Any]]:
    """The columns as their records hold them: whole numbers that the manifest has as floats."""
    return examples | {
        name: [None if value is None else int(value) for value in examples[name]] for name in whole
    }


def _folders_of_rows(
    parts: Sequence[Mapping[str, Any]],
    table: pa.Table,
    given: Sequence[Path],
    findings: Findings,
) -> list[Path | None]:
    """Where the source of each row lies now: a given folder that has its images, or the old one."""
    folders: list[Path | None] = []
    for part in parts:
        start, count = len(folders), part["examples"]
        paths = table["source_paths"].slice(start, count).to_pylist()
        tried = [paths[place] for place in {0, count // 2, count - 1}] if count else []
        old = [Path(part["folder"])] if part["folder"] and Path(part["folder"]).is_dir() else []
        found = next((folder for folder in given if _has_any(folder, tried)), None)
        folder = found or next(iter(old), None)
        folders += [folder] * count
        if given and found is None and folder is not None:
            findings.notes.append(
                f"none of {', '.join(map(str, given))} holds the images of {count} examples; they "
                f"were compared with {folder}, where they were converted from"
            )
        if folder is None:
            place = part["folder"] or "the folder that they were converted from"
            findings.notes.append(
                f"the source images of {count} examples were not found in {place}, so their pixels "
                "were not compared; say where they lie now with --source"
            )
    return folders


def _has_any(folder: Path, images: Sequence[Sequence[str]]) -> bool:
    for paths in images:
        with suppress(SourceError):
            read_stack([folder / path for path in paths])
            return True
    return False


def _read_back(
    checks: Sequence[_Check], findings: Findings, workers: int, report: Progress | None
) -> list[_Check]:
    """The checks of shards that are damaged; what was found goes to the findings, in order."""
    results: dict[str, _Result] = {}

    def finished(result: _Result) -> None:
        results[result.file] = result
        if report is not None:
            report("verifying", len(results), len(checks))

    run_tasks(_check_shard, checks, workers=workers, finished=finished)
    notes: dict[str, None] = {}
    for check in checks:
        result = results[check.promised.file]
        findings.compared += result.compared
        notes.update(dict.fromkeys(result.notes))
        if result.faults:
            more = len(result.faults) - _FAULTS_SHOWN
            faults = "; ".join(result.faults[:_FAULTS_SHOWN])
            findings.damaged.append(
                Damage(result.file, f"{faults}{f'; and {more} more' if more > 0 else ''}")
            )
    findings.notes += notes
    return [check for check in checks if results[check.promised.file].faults]


def _check_shard(check: _Check) -> _Result:
    result = _Result(check.promised.file)
    fault = _fault_of_bytes(check.path, vars(check.promised))
    result.faults += [fault] if fault else []
    if not check.path.is_file():
        return result
    rows = list(_rows(check.task)) if check.task else []
    number = -1
    source = _SourceImages(check, result)
    try:
        for number, data in enumerate(read_records(check.path)):
            check_stop()
            if number < len(rows):
                _check_record(number, data, rows[number], check, source, result)
    except DatasetError as error:
        text = str(error).removeprefix(f"{check.path}: ")
        result.faults.append(text.partition(";")[0])
        return result
    expected = len(rows) if check.task else check.promised.examples
    if number + 1 != expected:
        result.faults.append(f"{number + 1} records, expected {expected}")
    return result


def _rows(task: ShardTask) -> Iterator[dict[str, Any]]:
    for values in zip(*task.examples.values(), strict=True):
        yield dict(zip(task.examples, values, strict=True))


class _SourceImages:
    """The source images of one shard, each read once for its neighbours."""

    def __init__(self, check: _Check, result: _Result) -> None:
        self._check, self._result = check, result
        self._source_id: str | None = None
        self._image: np.ndarray | None = None

    def window(self, row: Mapping[str, Any]) -> np.ndarray | None:
        """The pixels of a row; None, with a note, where the image is not what was converted."""
        if self._check.task is None or not self._check.has_source:
            return None
        if row["source_id"] != self._source_id:
            self._source_id, self._image = row["source_id"], self._read(self._check.task, row)
        if self._image is None:
            return None
        return read_window(self._image, Window(*(row[name] for name in WINDOW)))

    def _read(self, task: ShardTask, row: Mapping[str, Any]) -> np.ndarray | None:
        place = task.source / row["source_paths"][0]
        try:
            image = read_stack([task.source / path for path in row["source_paths"]])
        except SourceError as error:
            self._result.notes.append(f"not compared: {error}")
            return None
        if pixel_hash(image) != row["image_sha256"]:
            self._result.notes.append(f"not compared: {place} has changed since it was converted")
            return None
        return image


def _check_record(
    number: int,
    data: bytes,
    row: Mapping[str, Any],
    check: _Check,
    source: _SourceImages,
    result: _Result,
) -> None:
    """Compare one record with its row of the manifest and its window of the source."""
    try:
        image, found = decode_example(data)
    except DatasetError as error:
        result.faults.append(f"record {number}: {str(error).partition(';')[0]}")
        return
    size = (row["height_px"], row["width_px"], check.channels)
    first_row = check.task.first_row if check.task else 0
    expected = {"row": first_row + number, "example_id": row["example_id"]}
    expected |= {"class_index": row["class_index"]}
    wrong = [
        f"{name} {found[name]}, {MANIFEST} says {value}"
        for name, value in expected.items()
        if found[name] != value
    ]
    if image.shape != size:
        wrong.append(f"size {image.shape}, {MANIFEST} says {size}")
    wrong += _wrong_metadata(found["metadata"], row)
    pixels = source.window(row) if not wrong else None
    if pixels is not None and check.task is not None:
        result.compared += 1
        pixels = _as_stored(pixels, check.task.encoding)
        if image.dtype != pixels.dtype or not np.array_equal(image, pixels, equal_nan=False):
            wrong.append(f"its pixels are not those of {row['source_id']}")
    result.faults += [f"record {number} ({row['example_id']}): {text}" for text in wrong]


def _as_stored(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Pixels as a record gives them back, which is not as they were where the encoding loses."""
    if not losses(encoding):
        return pixels
    data = bytes(encode_image(pixels, encoding))
    height, width, channels = pixels.shape
    name = encoding.partition(":")[0]
    return decode_pixels(data, height, width, channels, pixels.dtype.name, name)


def _wrong_metadata(found: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    expected = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in row.items()
        if value is not None and name not in (*NOT_IN_RECORDS, "example_id")
    }
    return [
        f"{name} {found.get(name, 'absent')}, {MANIFEST} says {expected.get(name, 'absent')}"
        for name in dict.fromkeys([*expected, *found])
        if name not in found or name not in expected or not _agree(found[name], expected[name])
    ]


def _agree(found: Any, expected: Any) -> bool:
    """Records hold 32-bit floats, and whole numbers where the manifest may have become float."""
    if found == expected:
        return True
    numbers = all(isinstance(value, (int, float)) for value in (found, expected))
    return numbers and isinstance(found, float) and np.float32(expected) == np.float32(found)


def _repair(
    folder: Path,
    broken: Sequence[_Check],
    documents_again: Mapping[str, bytes],
    findings: Findings,
    workers: int,
    report: Progress | None,
) -> None:
    """Write damaged shards again beside the dataset; put those in place that are as promised."""
    scratch = folder / _REPAIR_FOLDER
    tasks = [check.task for check in broken if check.task is not None and check.has_source]
    promised = {check.promised.file: check.promised for check in broken}
    reasons = {
        check.promised.file: f"{MANIFEST} is damaged"
        if check.task is None
        else "its source images were not found"
        for check in broken
    }
    done = 0

    def finished(result: tuple[str, ShardFacts | str]) -> None:
        nonlocal done
        done += 1
        file, facts = result
        if isinstance(facts, str):
            reasons[file] = facts
        elif facts != promised[file]:
            reasons[file] = (
                f"written again its SHA-256 is {facts.sha256[:12]}…, not what {INFO} promises; the "
                "versions of the packages may differ from those in it"
            )
        else:
            os.replace(scratch / file, folder / file)
            findings.repaired.append(file)
        if report is not None:
            report("repairing", done, len(tasks))

    try:
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / PROGRESS_FOLDER).mkdir(parents=True)
        run_tasks(_rewrite, tasks, workers=workers, finished=finished)
        for name, data in documents_again.items():
            write_whole(folder / name, data, scratch)
            findings.repaired.append(name)
    except OSError as error:
        raise WriteError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); make room "
            "or make the folder writable and start the same command again"
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    findings.damaged = [
        replace(item, fault=f"{item.fault}. Not repaired: {reasons[item.file]}")
        if item.file in reasons
        else item
        for item in findings.damaged
        if item.file not in findings.repaired
    ]


def _rewrite(task: ShardTask) -> tuple[str, ShardFacts | str]:
    try:
        return task.file, write_shard(task)
    except SourceError as error:
        return task.file, str(error).partition(";")[0]


def _other_files(
    folder: Path, info: Mapping[str, Any], derived: Collection[str], findings: Findings
) -> None:
    """Shards that no list names would be read by others; other files are merely told."""
    known = {INFO, *documents(info), *(shard["file"] for shard in info["shards"]), *derived}
    if (folder / PROGRESS_FOLDER).is_dir():
        findings.notes.append(
            "an addition or an end was interrupted; the same deadlib-convert command goes on"
        )
        known |= {path.name for path in folder.iterdir() if shard_place(path.name)}
    for path in sorted(folder.iterdir()):
        if path.name in known or path.name in (PROGRESS_FOLDER, _REPAIR_FOLDER):
            continue
        if shard_place(path.name) is not None:
            findings.damaged.append(
                Damage(path.name, f"{INFO} does not list it; move it out of the dataset")
            )
        else:
            findings.notes.append(f"{path.name}: not part of the dataset")

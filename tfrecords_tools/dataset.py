"""The dataset directory, opened: manifest, shards, and what deadlib.json says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.errors import DatasetError
from tfrecords_tools.manifest import manifest_frame
from tfrecords_tools.records import decode_example
from tfrecords_tools.scale import common_pixel_size
from tfrecords_tools.settings import SPLITS
from tfrecords_tools.shards import PROGRESS_FOLDER, file_hash
from tfrecords_tools.tfrecord import read_record

INFO = "deadlib.json"
MANIFEST = "manifest.parquet"
INTENSITY = "intensity.parquet"
SKETCHES = "sketches.parquet"
SCHEMA_VERSION = 1
SAVED = ".before"

_ANEW = "convert the images again with --overwrite"


@dataclass(frozen=True)
class Dataset:
    """A finished dataset directory, read only; from `open_dataset` or `write_dataset`.

    `info` is deadlib.json as a dict.
    """

    folder: Path
    info: dict[str, Any]

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """One row per example; row number i is the record whose feature `row` is i."""
        return manifest_frame(self.manifest_table)

    @cached_property
    def manifest_table(self) -> pa.Table:
        """The manifest as it is stored, columns in their own types."""
        return read_document(self.manifest_path)

    @cached_property
    def manifest_path(self) -> Path:
        """The manifest that deadlib.json lists: the earlier one in an interrupted addition."""
        return document_path(self.folder, MANIFEST, self.info["manifest"])

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def classes(self) -> list[str]:
        """Class names in the order of `class_index`."""
        return list(self.info["classes"])

    @property
    def channels(self) -> list[str]:
        """Channel names in the order of the images' last axis."""
        return list(self.info["channels"])

    @property
    def pixel_size_um(self) -> float | None:
        """Micrometres per pixel of all images; None where it is not known or not one."""
        return common_pixel_size(self.manifest)

    @property
    def modality(self) -> str | None:
        """How the images were taken; None where nobody said."""
        found: str | None = self.info["settings"].get("modality")
        return found

    @property
    def splits(self) -> list[str]:
        """The splits that hold examples, in the order train, validation, test."""
        found = {shard["split"] for shard in self.info["shards"]}
        return [split for split in SPLITS if split in found]

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Where the images came from, for the rows in order: {folder, examples}, with {prefix}
        before their names, and {whole} columns, where `tfrecords_tools.write` says so."""
        return list(self.info.get("sources", []))

    @property
    def fingerprint(self) -> str:
        """Hash of classes, channels, manifest and shards: equal only for equal datasets."""
        return str(self.info["fingerprint"])

    def shard_paths(self, split: str) -> list[Path]:
        """The shard files of a split, in order. Raises DatasetError where it has none."""
        shards = [s for s in self.info["shards"] if s["split"] == split]
        if not shards:
            raise DatasetError(
                f"{self.folder}: no split {split!r}; it has {', '.join(self.splits)}"
            )
        return [self.folder / shard["file"] for shard in shards]

    def verify_checksums(self, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Read every byte and compare with deadlib.json.

        Raises DatasetError, naming the file, where one was cut or edited after it was written.
        """
        files = [
            (document_path(self.folder, name, listed), listed)
            for name, listed in documents(self.info).items()
        ]
        files += [(self.folder / shard["file"], shard) for shard in self.info["shards"]]
        for done, (path, expected) in enumerate(files, start=1):
            found = file_hash(path)
            if found != expected["sha256"]:
                raise DatasetError(
                    f"{path}: damaged or edited: its SHA-256 is {found[:12]}…, {INFO} says "
                    f"{expected['sha256'][:12]}…; {_ANEW}"
                )
            if progress is not None:
                progress("verifying", done, len(files))

    def read_example(self, row_number: int) -> np.ndarray:
        """The image of one example, (height, width, channel) in the data type of its file.

        Raises DatasetError where the record is damaged or not the example of that manifest row.
        """
        shard = self.manifest["shard"].iloc[row_number]
        path = self.folder / str(shard)
        data = read_record(path, int(self.manifest["index"].iloc[row_number]))
        image, features = decode_example(data)
        if features["row"] != row_number:
            raise DatasetError(
                f"{path}: holds the example of row {features['row']} where {MANIFEST} says "
                f"{row_number}; {_ANEW}"
            )
        return image


def open_dataset(path: str | Path) -> Dataset:
    """Open a finished dataset directory.

    Checks that deadlib.json and the manifest can be read and that every shard is there with its
    right size; `Dataset.verify_checksums` reads the bytes as well. Raises DatasetError.
    """
    folder = Path(path)
    info = read_info(folder)
    dataset = Dataset(folder, info)
    for name, listed in documents(info).items():
        _check_size(document_path(folder, name, listed), listed["bytes"])
    for expected in info["shards"]:
        _check_size(folder / expected["file"], expected["bytes"])
    try:
        rows = pq.read_metadata(dataset.manifest_path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{folder / MANIFEST}: cannot be read ({error}); {_ANEW}") from None
    if rows != info["manifest"]["examples"]:
        raise DatasetError(
            f"{folder / MANIFEST}: {rows} rows, {INFO} says {info['manifest']['examples']}; {_ANEW}"
        )
    _check_classes(dataset)
    return dataset


def saved_document(folder: Path, name: str) -> Path:
    """Where an addition keeps the earlier version of a document until deadlib.json is replaced."""
    return folder / PROGRESS_FOLDER / f"{name}{SAVED}"


def documents(info: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The files beside the shards whose size and checksum deadlib.json lists; a dataset of an
    earlier version has no intensities, one whose images were not compared no sketches."""
    listed = {
        MANIFEST: info["manifest"],
        INTENSITY: info.get("plate_intensity"),
        SKETCHES: info.get("sketches"),
    }
    return {name: facts for name, facts in listed.items() if facts is not None}


def document_path(folder: Path, name: str, listed: Mapping[str, Any]) -> Path:
    """The document that deadlib.json lists: the earlier one in an interrupted addition."""
    path, saved = folder / name, saved_document(folder, name)
    try:
        replaced = saved.is_file() and file_hash(path) != listed["sha256"]
    except OSError:
        replaced = True
    return saved if replaced else path


def read_document(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file of a dataset. Raises DatasetError where it is missing or damaged."""
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatasetError(f"{path}: cannot be read ({reason}); copy it back, or {_ANEW}") from None


def _check_classes(dataset: Dataset) -> None:
    found = read_document(dataset.manifest_path, columns=["label"])["label"].unique()
    unknown = sorted(set(found.drop_null().to_pylist()) - set(dataset.classes))
    if unknown:
        raise DatasetError(
            f"{dataset.folder / INFO}: edited: it lists the classes {', '.join(dataset.classes)}, "
            f"the manifest has {', '.join(unknown)} as well; restore it, or {_ANEW}"
        )


def read_info(folder: Path) -> dict[str, Any]:
    """deadlib.json as a dict. Raises DatasetError where there is none, or it cannot be read."""
    path = folder / INFO
    if not path.is_file():
        if (folder / PROGRESS_FOLDER).is_dir():
            raise DatasetError(
                f"{folder}: an unfinished conversion; run the same deadlib-convert command again, "
                "it goes on from where it stopped"
            )
        raise DatasetError(
            f"{folder}: no dataset directory (no {INFO}); give the folder that deadlib-convert made"
        )
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = info["schema_version"]
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{path}: damaged ({error}); {_ANEW}") from None
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{path}: schema version {version}, this deadlib reads {SCHEMA_VERSION}; {_ANEW}"
        )
    return info


def _check_size(path: Path, expected_bytes: int) -> None:
    if not path.is_file():
        raise DatasetError(f"{path}: missing, {INFO} lists it; copy it back, or {_ANEW}")
    found = path.stat().st_size
    if found != expected_bytes:
        raise DatasetError(
            f"{path}: cut or edited: {found} bytes, {INFO} says {expected_bytes}; copy it again, "
            f"or {_ANEW}"
        )

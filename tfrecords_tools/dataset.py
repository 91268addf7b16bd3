"""The dataset directory, opened: manifest, shards, and what deadlib.json says of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecords_tools.errors import DatasetError
from tfrecords_tools.records import decode_example
from tfrecords_tools.shards import PROGRESS_FOLDER, file_hash

INFO = "deadlib.json"
MANIFEST = "manifest.parquet"
SCHEMA_VERSION = 1

_ANEW = "convert the images again with --overwrite"

# A TFRecord: length (uint64), checksum of it (4 bytes), the record, its checksum (4 bytes).
_HEADER_BYTES, _FOOTER_BYTES = 12, 4


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
        table = pq.read_table(self.folder / MANIFEST)
        frame: pd.DataFrame = table.to_pandas()
        for name in table.column_names:
            column = table[name]
            if pa.types.is_integer(column.type) and column.null_count:
                # Without this, whole numbers beside an absent one would become floats.
                frame[name] = pd.array(column.to_pylist(), dtype="Int64")
        return frame

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
    def splits(self) -> list[str]:
        """The splits that hold examples, in the order train, validation, test."""
        return list(dict.fromkeys(shard["split"] for shard in self.info["shards"]))

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
        files = [{"file": MANIFEST, **self.info["manifest"]}, *self.info["shards"]]
        for done, expected in enumerate(files, start=1):
            path = self.folder / expected["file"]
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

        Raises DatasetError where the record is not the example of that manifest row.
        """
        shard = self.manifest["shard"].iloc[row_number]
        path = self.folder / str(shard)
        data = self._record(path, int(self.manifest["index"].iloc[row_number]))
        image, features = decode_example(data)
        if features["row"] != row_number:
            raise DatasetError(
                f"{path}: holds the example of row {features['row']} where {MANIFEST} says "
                f"{row_number}; {_ANEW}"
            )
        return image

    def _record(self, path: Path, index: int) -> bytes:
        with path.open("rb") as file:
            for _ in range(index):
                file.seek(_record_length(file.read(_HEADER_BYTES), path) + _FOOTER_BYTES, 1)
            return file.read(_record_length(file.read(_HEADER_BYTES), path))


def open_dataset(path: str | Path) -> Dataset:
    """Open a finished dataset directory.

    Checks that deadlib.json and the manifest can be read and that every shard is there with its
    right size; `Dataset.verify_checksums` reads the bytes as well. Raises DatasetError.
    """
    folder = Path(path)
    info = _read_info(folder)
    for expected in ({"file": MANIFEST, **info["manifest"]}, *info["shards"]):
        _check_size(folder / expected["file"], expected["bytes"])
    dataset = Dataset(folder, info)
    try:
        rows = pq.read_metadata(folder / MANIFEST).num_rows
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{folder / MANIFEST}: cannot be read ({error}); {_ANEW}") from None
    if rows != info["manifest"]["examples"]:
        raise DatasetError(
            f"{folder / MANIFEST}: {rows} rows, {INFO} says {info['manifest']['examples']}; {_ANEW}"
        )
    _check_classes(dataset)
    return dataset


def _check_classes(dataset: Dataset) -> None:
    found = pq.read_table(dataset.folder / MANIFEST, columns=["label"])["label"].unique()
    unknown = sorted(set(found.drop_null().to_pylist()) - set(dataset.classes))
    if unknown:
        raise DatasetError(
            f"{dataset.folder / INFO}: edited: it lists the classes {', '.join(dataset.classes)}, "
            f"the manifest has {', '.join(unknown)} as well; restore it, or {_ANEW}"
        )


def _read_info(folder: Path) -> dict[str, Any]:
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


def _record_length(header: bytes, path: Path) -> int:
    if len(header) < _HEADER_BYTES:
        raise DatasetError(f"{path}: ends before the record that {MANIFEST} lists; {_ANEW}")
    return int(struct.unpack("<Q", header[:8])[0])

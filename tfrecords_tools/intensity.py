"""The intensities of each plate and channel, fitted so that no split informs another.

Statistics of a plate that has training examples are fitted on these alone and serve all its
examples; a plate without training examples is fitted in each split on its examples there, without
labels. `intensity.parquet` has a row per (plate, split, channel):

    plate           experiment and plate as in the manifest, joined by /; `all` where it has neither
    split           whose examples the row serves
    channel
    fitted_on       the split whose examples it was fitted on
    normalised_to   the condition on control wells (`treatment=DMSO`), empty where all wells count
    wells images examples pixels
                    what it was fitted on; wells is null where the manifest has none
    mean deviation  of the pixels, in unit range: integer types divided by their largest value
    percentile_0.1 ... percentile_99.9
                    linear between order statistics; exact for integers. float32 is counted in
                    bins of 1/128 of the value and taken as even within a bin
    illumination    the shading of the plate as 25 coefficients (see `illumination.py`), or null
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords_tools.dataset import INTENSITY, Dataset, document_path, read_document
from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.illumination import CellSums
from tfrecords_tools.manifest import parquet_bytes
from tfrecords_tools.pixels import BINS, PERCENTILES, FloatPixels, IntegerPixels, percentile_name
from tfrecords_tools.pool import Progress, Workers, check_stop, run_tasks
from tfrecords_tools.records import decode_example
from tfrecords_tools.settings import SPLITS, ConversionSettings, parse_condition
from tfrecords_tools.split import as_text, check_column, group_names
from tfrecords_tools.tfrecord import read_records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Unit = tuple[str, str]
"""A plate and the split whose examples it is fitted on."""
Row = dict[str, Any]
Pixels = IntegerPixels | FloatPixels

ALL_PLATES = "all"

HISTOGRAM_BYTES = 128 * 2**20
"""Histograms held at a time; plates beyond that are counted in further passes."""

STRONG_RATIO = 1.5
"""Plates whose medians differ by this factor are not to be compared as they are."""

BYTES_PER_WORKER = 128 * 2**20
"""Where there is less to read for each, starting processes takes longer than it saves."""

_PLATES_SHOWN = 6

# Columns of the manifest that say nothing of how a well was treated; the label is to be predicted.
_NO_CONDITIONS = ("label", "split", "group", "example_id", "source_paths", "image_sha256")


def plate_names(examples: pd.DataFrame) -> pd.Series:
    """The plate of every example, with its experiment where there is that column."""
    columns = [name for name in ("experiment", "plate") if name in examples]
    if not columns:
        return examples["split"].map(lambda _: ALL_PLATES)
    return group_names(examples, columns)


def check_request(
    examples: pd.DataFrame,
    sizes: Sequence[Mapping[str, int]],
    settings: ConversionSettings,
    kept: Sequence[Row] = (),
) -> None:
    """Refuse what cannot be fitted, before anything is written.

    `sizes` are those of the source images; `kept` is what is known of plates already. Raises
    PlanError where no control wells are found, on all plates or on one of them, and where
    illumination is asked for images of several sizes.
    """
    if settings.illumination and len(sizes) > 1:
        raise PlanError(
            f"illumination: the images have {len(sizes)} sizes, and a field belongs to one; "
            "convert each size into a dataset of its own, or leave --illumination out"
        )
    plates = plate_names(examples)
    units = _lacking(_fitted_on(plates, examples["split"]), kept)
    _units_of_rows(examples, plates, units, settings.normalise_to)


def intensity_bytes(
    folder: Path,
    info: Mapping[str, Any],
    examples: pd.DataFrame,
    *,
    kept: Sequence[Row] = (),
    workers: Workers = 1,
    progress: Progress | None = None,
) -> bytes:
    """`fit_intensity` as the bytes of a Parquet file."""
    import pyarrow as pa

    rows = fit_intensity(folder, info, examples, kept=kept, workers=workers, progress=progress)
    return parquet_bytes(pa.Table.from_pylist(rows, schema=_schema()))


def read_intensity(dataset: Dataset) -> pd.DataFrame:
    """The table of a dataset. Raises DatasetError where it has none, or a damaged one."""
    frame: pd.DataFrame = read_document(_path(dataset)).to_pandas()
    return frame


def intensity_rows(dataset: Dataset) -> list[Row]:
    """The table as `fit_intensity` gave it; empty where the dataset has none."""
    rows: list[Row] = []
    if "plate_intensity" in dataset.info:
        rows = read_document(_path(dataset)).to_pylist()
    return rows


def _path(dataset: Dataset) -> Path:
    if "plate_intensity" not in dataset.info:
        raise DatasetError(
            f"{dataset.folder}: has no {INTENSITY}, as an earlier version of deadlib made it; "
            "convert the images again with --overwrite"
        )
    return document_path(dataset.folder, INTENSITY, dataset.info["plate_intensity"])


def plate_differences(dataset: Dataset) -> list[str]:
    """A sentence for each channel in which plates differ strongly, in the median or in what is
    bright; none where the dataset has no table."""
    if "plate_intensity" not in dataset.info:
        return []
    table = read_intensity(dataset)
    sentences = []
    for channel in dataset.channels:
        found = table[table["channel"] == channel].set_index("plate")
        for name, percent in (("median", 50), ("99th percentile", 99)):
            values = found[percentile_name(percent)]
            ratio = values.max() / values.min() if values.min() > 0 else 1.0
            if ratio >= STRONG_RATIO:
                sentences.append(
                    f"plates differ in intensity: the {name} of channel {channel} is {ratio:.1f} "
                    f"times as high on plate {values.idxmax()} as on {values.idxmin()}; with "
                    "input.normalise: plate a recipe brings plates to one scale"
                )
                break
    return sentences


def fit_intensity(
    folder: Path,
    info: Mapping[str, Any],
    examples: pd.DataFrame,
    *,
    kept: Sequence[Row] = (),
    workers: Workers = 1,
    progress: Progress | None = None,
) -> list[Row]:
    """The rows of the table in the order of plate, split and channel.

    Args:
        folder: the dataset directory, with its shards in it.
        info: what deadlib.json will say; of it settings, channels, sizes, dtypes and shards.
        examples: the manifest.
        kept: rows of an earlier fit, which stay; a split that is new to a plate takes over those
            of its training split.
        workers: processes, or another Executor; the result does not depend on it.
        progress: called with (stage, done, total).

    Raises PlanError as `check_request`, DatasetError on a damaged shard.
    """
    settings = ConversionSettings.from_json(info["settings"])
    plates = plate_names(examples)
    fitted_on = _fitted_on(plates, examples["split"])
    found: dict[Unit, list[Row]] = {}
    for row in kept:
        found.setdefault((row["plate"], row["split"]), []).append(row)
    units = _lacking(fitted_on, kept)
    unit_of_row = _units_of_rows(examples, plates, units, settings.normalise_to)
    reading = _Reading(folder.absolute(), info, examples, workers, progress)
    found |= _fit(reading, unit_of_row, units, settings)
    for (plate, split), on in fitted_on.items():
        found.setdefault((plate, split), found[plate, on])
    return [
        {**row, "plate": plate, "split": split}
        for plate, split in sorted(found, key=lambda unit: (unit[0], SPLITS.index(unit[1])))
        for row in found[plate, split]
    ]


def _lacking(fitted_on: Mapping[Unit, str], kept: Sequence[Row]) -> list[Unit]:
    """The units that are to be fitted: those of which nothing is known."""
    known = {(row["plate"], row["split"]) for row in kept}
    return sorted({(plate, on) for (plate, _), on in fitted_on.items()} - known)


def _fitted_on(plates: pd.Series, splits: pd.Series) -> dict[Unit, str]:
    """For every plate and split that there is, the split whose examples it is fitted on."""
    there = set(zip(plates, splits, strict=True))
    return {
        (plate, split): SPLITS[0] if (plate, SPLITS[0]) in there else split
        for plate, split in there
    }


def _units_of_rows(
    examples: pd.DataFrame, plates: pd.Series, units: Sequence[Unit], conditions: Sequence[str]
) -> np.ndarray:
    """Which unit each example counts for, (N,) int; -1 for none.

    Raises PlanError for a unit without an example that meets the conditions.
    """
    place = {unit: number for number, unit in enumerate(units)}
    pairs = zip(plates, examples["split"], strict=True)
    unit_of_row = np.array([place.get(pair, -1) for pair in pairs], np.int64)
    unit_of_row[~controls(examples, conditions)] = -1
    without = [unit for number, unit in enumerate(units) if not (unit_of_row == number).any()]
    if without:
        found = ", ".join(f"{plate} ({split})" for plate, split in without[:_PLATES_SHOWN])
        more = len(without) - _PLATES_SHOWN
        raise PlanError(
            f"normalise to {' '.join(conditions)}: no such example on plate {found}"
            f"{f' and {more} more' if more > 0 else ''}; a plate is measured on the control wells "
            "of its training split, or, where it has none, of each of its splits: name wells that "
            "all have, split by plate (--split-by plate), or leave --normalise-to out to use all "
            "wells"
        )
    return unit_of_row


def controls(examples: pd.DataFrame, conditions: Sequence[str]) -> np.ndarray:
    """Which examples meet the conditions, (N,) bool: values of one column are alternatives."""
    columns = [str(name) for name in examples if name not in _NO_CONDITIONS]
    wanted: dict[str, set[str]] = {}
    for rule in conditions:
        column, value = parse_condition(rule)
        check_column(column, columns, "normalise to")
        wanted.setdefault(column, set()).add(value)
    met = np.ones(len(examples), bool)
    for column, values in wanted.items():
        met &= examples[column].map(as_text).isin(values).to_numpy()
    return met


def _fit(
    reading: _Reading,
    unit_of_row: np.ndarray,
    units: Sequence[Unit],
    settings: ConversionSettings,
) -> dict[Unit, list[Row]]:
    """The rows of each unit, one per channel, in as many passes as memory asks for."""
    channels = reading.info["channels"]
    at_once = max(1, HISTOGRAM_BYTES // (BINS * 8 * len(channels)))
    fitted: dict[Unit, list[Row]] = {}
    for first in range(0, len(units), at_once):
        now = range(first, min(first + at_once, len(units)))
        chosen = np.where(np.isin(unit_of_row, now), unit_of_row, -1)
        statistics = {
            number: [channel.statistics() for channel in counted]
            for number, counted in reading.counted(chosen).items()
        }
        shading = reading.shading(chosen, statistics) if settings.illumination else {}
        for number in now:
            about = {
                "fitted_on": units[number][1],
                "normalised_to": " ".join(settings.normalise_to),
                **_extent(reading.examples[chosen == number]),
            }
            fitted[units[number]] = [
                {
                    **about,
                    "channel": name,
                    **statistics[number][channel],
                    "illumination": shading[number][channel].ravel() if shading else None,
                }
                for channel, name in enumerate(channels)
            ]
    return fitted


def _extent(examples: pd.DataFrame) -> Row:
    """How much a unit was fitted on."""
    columns = [str(name) for name in examples]
    places = next((p for p in (("well",), ("row", "column")) if set(p) <= set(columns)), None)
    wells = None if places is None else len(examples[list(places)].drop_duplicates().dropna())
    return {
        "wells": wells or None,
        "images": examples["source_id"].nunique(),
        "examples": len(examples),
    }


@dataclass(frozen=True)
class _Part:
    """One shard to be read; `units` (examples,) int, -1 for examples that do not count."""

    number: int
    path: Path
    units: np.ndarray


@dataclass(frozen=True)
class _PartToCount(_Part):
    kind: type[Pixels]


@dataclass(frozen=True)
class _PartToShade(_Part):
    corners_px: np.ndarray
    """(examples, 2): top and left of each window in its source image."""
    image_px: tuple[int, int]
    limits: Mapping[int, np.ndarray]
    """(2, C) of each unit: what pixels are clipped to."""


@dataclass(frozen=True)
class _Reading:
    """Passes over the records: shards in parallel, their results added up in order."""

    folder: Path
    info: Mapping[str, Any]
    examples: pd.DataFrame
    workers: Workers
    progress: Progress | None

    def counted(self, unit_of_row: np.ndarray) -> dict[int, list[Pixels]]:
        """The pixels of each unit, by channel."""
        kind = FloatPixels if "float32" in self.info["dtypes"] else IntegerPixels
        tasks = [
            _PartToCount(number, path, unit_of_row[rows], kind)
            for number, (path, rows) in enumerate(self._shards())
        ]
        return self._added_up(_count, tasks, "measuring plates")

    def shading(
        self, unit_of_row: np.ndarray, statistics: Mapping[int, list[dict[str, Any]]]
    ) -> dict[int, np.ndarray]:
        """The coefficients of each unit's field, (C, 5, 5)."""
        size = self.info["sizes"][0]
        ends = [percentile_name(1), percentile_name(99)]
        limits = {
            unit: np.array([[channel[end] for channel in channels] for end in ends])
            for unit, channels in statistics.items()
        }
        corners = self.examples[["top_px", "left_px"]].to_numpy()
        tasks = [
            _PartToShade(
                number,
                path,
                unit_of_row[rows],
                corners[rows],
                (size["height_px"], size["width_px"]),
                limits,
            )
            for number, (path, rows) in enumerate(self._shards())
        ]
        sums = self._added_up(_shade, tasks, "fitting illumination")
        return {unit: found[0].shading() for unit, found in sums.items()}

    def _shards(self) -> Iterator[tuple[Path, np.ndarray]]:
        """The file of every shard and the rows of the manifest that stand in it, in order."""
        rows_of = self.examples.reset_index(drop=True).sort_values("index").groupby("shard").groups
        for shard in self.info["shards"]:
            yield self.folder / shard["file"], rows_of[shard["file"]].to_numpy()

    def _added_up(
        self, function: Callable[[Any], Any], tasks: Sequence[_Part], stage: str
    ) -> dict[int, list[Any]]:
        """Results of all tasks by unit, added up in the order of the shards: floating-point sums
        then do not depend on which process is faster."""
        counts = [int((task.units >= 0).sum()) for task in tasks]
        sums = _Sums()

        def finished(result: tuple[int, dict[int, list[Any]]]) -> None:
            sums.take(*result)
            if self.progress is not None:
                self.progress(stage, sum(counts[: sums.parts]), sum(counts))

        size = sum(shard["bytes"] for shard in self.info["shards"])
        workers = self.workers
        if isinstance(workers, int):
            workers = max(1, min(workers, size // BYTES_PER_WORKER))
        run_tasks(function, tasks, workers=workers, finished=finished)
        return sums.by_unit


@dataclass
class _Sums:
    """What parts found, by unit, added up in the order of their numbers."""

    by_unit: dict[int, list[Any]] = field(default_factory=dict)
    parts: int = 0
    """Added up so far."""
    waiting: dict[int, dict[int, list[Any]]] = field(default_factory=dict)

    def take(self, number: int, found: dict[int, list[Any]]) -> None:
        self.waiting[number] = found
        while self.parts in self.waiting:
            for unit, others in self.waiting.pop(self.parts).items():
                if unit not in self.by_unit:
                    self.by_unit[unit] = others
                    continue
                for one, other in zip(self.by_unit[unit], others, strict=True):
                    one.merge(other)
            self.parts += 1


def _count(task: _PartToCount) -> tuple[int, dict[int, list[Pixels]]]:
    found: dict[int, list[Pixels]] = {}
    for place, image in _images(task):
        if task.kind is FloatPixels:
            image = _unit_range(image)
        channels = found.setdefault(
            int(task.units[place]), [task.kind() for _ in range(image.shape[-1])]
        )
        for number, pixels in enumerate(channels):
            pixels.add(image[..., number])
    return task.number, found


def _shade(task: _PartToShade) -> tuple[int, dict[int, list[CellSums]]]:
    found: dict[int, list[CellSums]] = {}
    for place, image in _images(task):
        unit = int(task.units[place])
        cells = found.setdefault(unit, [CellSums.empty(task.image_px, image.shape[-1])])[0]
        low, high = task.limits[unit]
        cells.add(np.clip(_unit_range(image), low, high), *task.corners_px[place])
    return task.number, found


def _images(task: _Part) -> Iterator[tuple[int, np.ndarray]]:
    """The images of a shard that count, with their place in it."""
    for place, record in enumerate(read_records(task.path)):
        check_stop()
        if task.units[place] >= 0:
            yield place, decode_example(record)[0]


def _unit_range(image: np.ndarray) -> np.ndarray:
    if image.dtype.kind == "f":
        return image
    return image.astype(np.float64) / np.iinfo(image.dtype).max


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, count, number = pa.string(), pa.int64(), pa.float64()
    columns = [(name, text) for name in ("plate", "split", "channel", "fitted_on", "normalised_to")]
    columns += [(name, count) for name in ("wells", "images", "examples", "pixels")]
    columns += [
        (name, number) for name in ("mean", "deviation", *map(percentile_name, PERCENTILES))
    ]
    return pa.schema([*columns, ("illumination", pa.list_(number))])

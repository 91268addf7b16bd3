"""The cells of a dataset, found and measured: one table of features.

A task is an image, or all images of a well. Each leaves a file of its own in a folder beside the
table, so that a measurement that was stopped goes on; the table is written from them at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deadlib.errors import InputError
from deadlib.features.regions import Regions, measure_regions
from deadlib.features.segmentation import Cells, nuclear_channel, segment, usual_diameter
from deadlib.features.table import CELL, CELLS, IMAGE, IMAGE_ID, ROWS, WELL, check_name
from deadlib.features.table import table_schema as schema_of
from deadlib.outputs import written_whole
from tfrecords_tools.dataset import Dataset, open_dataset
from tfrecords_tools.pool import Progress, Workers, check_stop, run_tasks
from tfrecords_tools.split import group_columns, group_names
from tfrecords_tools.table import PLACE_COLUMNS

LOOKED_AT = 12
"""Images from which the size of a nucleus is told, spread over the dataset."""
RING_SHARE = 1 / 3
"""Width of the ring of cytoplasm, in diameters of a nucleus."""
SETTINGS = "settings.json"
ROW = "manifest_row"
_AT_BORDER = "cells_at_border"
_OF_CELL = ("cell", "cell_row_px", "cell_column_px")

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Measuring:
    """How cells are found. nuclei: the channel that shows them, None for whole images."""

    nuclei: str | None
    diameter_px: float
    ring_px: float
    per: str


@dataclass(frozen=True)
class Task:
    """The images at these rows of a manifest, whose cells go into one file."""

    dataset: Path
    images: tuple[int, ...]
    measuring: Measuring
    out: Path


def measure(
    dataset: Dataset | str | Path,
    out: str | Path,
    *,
    nuclei: str | None = None,
    diameter_px: float | None = None,
    ring_px: float | None = None,
    per: str = IMAGE,
    whole_images: bool = False,
    workers: Workers = 1,
    command: str | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Path:
    """Find the cells of every image of a dataset, measure them, and write the feature table `out`.

    nuclei: the channel that shows nuclei; by default the one whose name tells. diameter_px: of a
    usual nucleus, by default told from some images; ring_px: width of the ring of cytoplasm, by
    default a third of it. per: `cell`, `image` or `well`; images and wells have the median of each
    feature over their cells. whole_images: measure each image as one region, without looking for
    cells. Cells that the edge of an image cuts are left out.

    Columns: those of the manifest (of wells, those that do not differ within one), `cells`,
    `cells_at_border`, and the features. What is finished is kept beside `out` until the table is
    whole, and the same call goes on from there.

    Raises InputError where no channel is known to show nuclei, no nuclei are found, or whole images
    are to have some; DatasetError on a damaged dataset.
    """
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    out = Path(out)
    check_name(out)
    measuring = _measuring(dataset, nuclei, diameter_px, ring_px, per, whole_images)
    units = units_of(dataset, per)
    parts = out.with_name(f"{out.name}.parts")
    _open_parts(parts, dataset, measuring)
    tasks = [
        Task(dataset.folder, images, measuring, parts / f"{number:07}.parquet")
        for number, images in enumerate(units)
    ]
    waiting = [task for task in tasks if not task.out.is_file()]
    done = len(tasks) - len(waiting)

    def finished(_: Path) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("measuring", done, len(tasks))

    _opened.cache_clear()  # the folder may hold another dataset than at the last call
    run_tasks(measured, waiting, workers=workers, finished=finished)
    about = {
        "rows": per,
        "measuring": asdict(measuring),
        "channels": dataset.channels,
        "dataset": str(dataset.folder.resolve()),
        "fingerprint": dataset.fingerprint,
        "command": command,
    }
    empty = _join(out, tasks, dataset, about)
    shutil.rmtree(parts)
    if empty and warn is not None:
        what = "wells" if per == WELL else "images"
        warn(f"{empty} of {len(tasks)} {what} have no whole cell, so their features are not known")
    return out


def units_of(dataset: Dataset, per: str) -> list[tuple[int, ...]]:
    """The manifest rows of each task: an image each, or all images of a well.

    Raises InputError where wells are asked for and the dataset knows none.
    """
    manifest = dataset.manifest.reset_index(drop=True)
    if per not in ROWS:
        raise InputError(f"per {per}: expected one of {', '.join(ROWS)}")
    if per != WELL:
        return [(row,) for row in range(len(manifest))]
    if WELL not in manifest or manifest[WELL].isna().any():
        raise InputError(
            f"{dataset.folder}: not every example has a well; measure per image, or convert again "
            "with the wells in the names or the table"
        )
    names = group_names(manifest, well_columns(manifest))
    return [
        tuple(np.asarray(rows).tolist())
        for rows in names.groupby(names, sort=False).indices.values()
    ]


def well_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns that name a well: well, and whatever wells lie in."""
    return group_columns((WELL,), [str(name) for name in frame.columns])


def measured(task: Task) -> Path:
    """Do a task: write the rows of its images, or of its well."""
    dataset = _opened(task.dataset)
    how = task.measuring
    found = []
    for row in task.images:
        check_stop()
        found.append(
            cells_of(dataset.read_example(row), dataset.channels, how).assign(**{ROW: row})
        )
    cells = pd.concat(found, ignore_index=True)
    at_border = sum(int(each.attrs[_AT_BORDER]) for each in found)
    if how.per != CELL:
        features = [name for name in cells if name not in (*_OF_CELL, ROW)]
        medians = cells[features].median().to_frame().T
        counted = {ROW: task.images[0], CELLS: len(cells), _AT_BORDER: at_border}
        if how.per == WELL:
            counted["fields"] = len(task.images)
        cells = pd.concat([pd.DataFrame(counted, index=[0]), medians], axis=1)
    with written_whole(task.out) as partial:
        cells.to_parquet(partial, index=False)
    return task.out


def cells_of(image: np.ndarray, channels: Sequence[str], how: Measuring) -> pd.DataFrame:
    """One row for each whole cell of an image (H, W, C) in its stored type.

    Intensities are shares of the largest value of an integer type; floats are taken as they are.
    """
    image = in_unit_range(image)
    if how.nuclei is None:
        whole = Regions(np.ones(image.shape[:2], np.int32), 1)
        compartments, cut = {"image": whole}, 0
    else:
        cells = found_cells(image, channels, how)
        compartments = {
            "nucleus": Regions(cells.nuclei, cells.count),
            "ring": Regions(cells.ring, cells.count),
        }
        cut = cells.cut
    features = measure_regions(image, channels, compartments, how.diameter_px)
    first = next(iter(compartments.values()))
    rows, columns = np.divmod(first.pixels, image.shape[1])
    places = {
        "cell": np.arange(1, first.count + 1),
        "cell_row_px": first.mean(rows.astype(np.float64)),
        "cell_column_px": first.mean(columns.astype(np.float64)),
    }
    single = {name: values.astype(np.float32) for name, values in features.items()}
    frame = pd.DataFrame(places | single)
    frame.attrs[_AT_BORDER] = cut
    return frame


def found_cells(image: np.ndarray, channels: Sequence[str], how: Measuring) -> Cells:
    """The cells of an image (H, W, C), in the channel of the nuclei."""
    plane = image[..., list(channels).index(str(how.nuclei))]
    return segment(plane, how.diameter_px, how.ring_px)


def in_unit_range(image: np.ndarray) -> np.ndarray:
    if np.issubdtype(image.dtype, np.integer):
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    return image.astype(np.float32)


def spread(dataset: Dataset, most: int) -> list[int]:
    """At most so many rows of the manifest, evenly spread."""
    return sorted(set(np.linspace(0, len(dataset.manifest) - 1, most).round().astype(int).tolist()))


@lru_cache(2)
def _opened(folder: Path) -> Dataset:
    return open_dataset(folder)


def _measuring(
    dataset: Dataset,
    nuclei: str | None,
    diameter_px: float | None,
    ring_px: float | None,
    per: str,
    whole_images: bool,
) -> Measuring:
    _import_scikit_image()
    if whole_images:
        if nuclei is not None or ring_px is not None:
            raise InputError(
                "whole images have neither nuclei nor rings; leave --nuclei and --ring-px out, or "
                "--whole-images"
            )
        return Measuring(None, diameter_px or 10.0, 0.0, per)
    channel = nuclear_channel(dataset.channels, nuclei)
    place = dataset.channels.index(channel)
    if diameter_px is None:
        looked = [dataset.read_example(row) for row in spread(dataset, LOOKED_AT)]
        diameter_px = usual_diameter([in_unit_range(image)[..., place] for image in looked])
        diameter_px = round(diameter_px, 1)
    ring_px = round(RING_SHARE * diameter_px, 1) if ring_px is None else ring_px
    return Measuring(channel, diameter_px, ring_px, per)


def _import_scikit_image() -> None:
    try:
        import skimage  # noqa: F401
    except ImportError:
        raise InputError(
            "finding and measuring cells needs an extra: pip install 'deadlib[features]'"
        ) from None


def _open_parts(parts: Path, dataset: Dataset, measuring: Measuring) -> None:
    """A folder for what is finished; emptied where that was measured otherwise."""
    settings = json.dumps({"fingerprint": dataset.fingerprint, **asdict(measuring)})
    told = parts / SETTINGS
    if told.is_file() and told.read_text(encoding="utf-8") == settings:
        return
    with written_whole(parts) as partial:
        if parts.is_dir():
            shutil.rmtree(parts)
        partial.mkdir()
        (partial / SETTINGS).write_text(settings, encoding="utf-8")


def _join(out: Path, tasks: Sequence[Task], dataset: Dataset, about: dict[str, Any]) -> int:
    """Write the table of all tasks; how many of them have no cell."""
    known = _known(dataset, tasks, about["rows"])
    writer, empty = None, 0
    with written_whole(out) as partial:
        try:
            for task, rows in zip(tasks, known, strict=True):
                part = pq.read_table(task.out).replace_schema_metadata(None)
                none = not len(part) if about["rows"] == CELL else part[CELLS][0].as_py() == 0
                empty += int(none)
                table = _with_known(part, rows, about["rows"])
                if writer is None:
                    others = {ROW, _AT_BORDER, "fields", *_OF_CELL}
                    features = [name for name in part.column_names if name not in others]
                    schema = schema_of(table.schema, features, about)
                    writer = pq.ParquetWriter(partial, schema)
                writer.write_table(table.cast(schema))
        finally:
            if writer is not None:
                writer.close()
    return empty


def _with_known(part: pa.Table, known: pa.Table, per: str) -> pa.Table:
    """What is known of a task's image or well before what was measured, which has the word where
    both have a column of one name."""
    part = part.drop_columns([ROW])
    known = known.drop_columns([name for name in part.column_names if name in known.column_names])
    names = known.column_names
    known = known.take(pa.array(np.zeros(len(part), int)))
    if per == CELL:
        ids = known["example_id"].to_pylist()
        known = known.append_column(IMAGE_ID, known["example_id"])
        own = [f"{name}#{cell}" for name, cell in zip(ids, part["cell"].to_pylist(), strict=True)]
        known = known.set_column(
            names.index("example_id"), "example_id", pa.array(own, pa.string())
        )
    for name in part.column_names:
        known = known.append_column(name, part[name])
    return known


def _known(dataset: Dataset, tasks: Sequence[Task], per: str) -> Iterator[pa.Table]:
    table = dataset.manifest_table
    if per != WELL:
        for task in tasks:
            yield table.take(pa.array(task.images))
        return
    manifest = dataset.manifest.reset_index(drop=True)
    wells = group_names(manifest, well_columns(manifest))
    leading = ("split", "label", "group")
    names = [n for n in table.column_names if n in leading or n not in PLACE_COLUMNS]
    for task in tasks:
        rows = table.take(pa.array(task.images)).select(names)
        one = {
            name: pa.array(_agreed(rows[name].to_pylist()), rows.schema.field(name).type)
            for name in names
        }
        ids = pa.array([wells[task.images[0]]], pa.string())
        yield pa.table({"example_id": ids, **one})


def _agreed(values: Sequence[Any]) -> list[Any]:
    """The one value that all have, in a list; null where they differ."""
    first = values[0]
    return [first if all(value == first for value in values) else None]

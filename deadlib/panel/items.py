"""What annotators look at: images, windows of images, sequences of windows, dataset examples.

Items are a table with one row each and the columns

    item path frame_paths [row] [top_px left_px height_px width_px first_frame] frames
    [<metadata>] [label]

`path` is the image's name, as deadlib-convert has it, but of sequences. `frame_paths` has, for each
frame, the locators of its channel files below the source folder; for a dataset it is empty, and
`row` is the example's row in the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deadlib.errors import PanelError
from tfrecords_tools.cut import WINDOW, Box, Window, box_window, image_windows
from tfrecords_tools.images import examine
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.table import BOX_COLUMNS, PLACE_COLUMNS, ROW_NUMBER, read_table

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.pool import Progress

OWN = ("item", "path", "frame_paths", "row", *WINDOW, "first_frame", "frames", "label")
"""Columns that are no metadata."""

ANSWERS = (
    "annotator",
    "item",
    "serving",
    "number",
    "served",
    "response",
    "seconds",
    "timestamp",
    "withdrawn",
)
"""Columns of the log; metadata of such a name is `source_<name>` among the items."""

_FAULTS_SHOWN = 5


class Items(NamedTuple):
    """table: the items in the order of their source; channels: names, () where nobody said them;
    notes: what the reader of the source found worth saying."""

    table: pd.DataFrame
    channels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def image_items(
    source: Path, conversion: ConversionSettings, progress: Progress | None = None
) -> Items:
    """The images of a folder, as deadlib-convert lists them; or their tiles, crops or boxes, where
    the settings ask for these. Labels may be missing.

    Raises SourceError where nothing can be read, and PanelError naming images that cannot be used.
    """
    import pandas as pd

    found = _discovered(source, conversion, progress)
    records = found.rows.astype(object).where(found.rows.notna(), None).to_dict("records")
    sizes: dict[str, tuple[int, int]] = {}
    rows = []
    for done, record in enumerate(records, start=1):
        for window in _windows(source, record, conversion, sizes):
            kept = {name: record[name] for name in (*found.metadata, "label")}
            rows.append(_item(record["source_id"], [record["source_paths"]], window, kept))
        if progress is not None:
            progress("looking at images", done, len(records))
    return Items(pd.DataFrame(rows), found.channels, tuple(found.notes))


def window_items(source: Path, conversion: ConversionSettings, table: Path) -> Items:
    """The windows that a table lists: CSV or Parquet with `path` (as deadlib-convert names the
    images), top_px, left_px, height_px, width_px, and any further columns, which are metadata.

    Raises SourceError for a table that cannot be read, PanelError naming rows that cannot be used.
    """
    import pandas as pd

    listed = read_table(table)
    lacking = [name for name in ("path", *WINDOW) if name not in listed]
    if lacking:
        raise PanelError(
            f"{table}: no column {', '.join(lacking)}; a table of windows has path, "
            f"{', '.join(WINDOW)}, found {', '.join(listed.columns)}"
        )
    found = _discovered(source, conversion, None)
    images = {row["source_id"]: row for row in found.rows.to_dict("records")}
    rows, faults = [], []
    for number, given in enumerate(listed.to_dict("records"), start=2):
        image = images.get(given["path"])
        texts = [given[name] or "nothing" for name in WINDOW]
        if image is None:
            faults.append(f"row {number}: {given['path']} is no image in {source}")
        elif not all(text.isdecimal() for text in texts) or "0" in texts[2:]:
            faults.append(f"row {number}: a window of {' '.join(texts)}, expected whole pixels")
        else:
            top, left, height, width = map(int, texts)
            window = Window(top, left, height, width, f"_y{top}_x{left}")
            known = {name: image[name] for name in (*found.metadata, "label")}
            given_too = {str(key): value for key, value in given.items() if value is not None}
            known |= given_too
            rows.append(_item(image["source_id"], [image["source_paths"]], window, known))
    _refuse(faults, table)
    return Items(pd.DataFrame(rows), found.channels, tuple(found.notes))


def sequence_items(
    source: Path, conversion: ConversionSettings, frames: int, where: Sequence[str] = ()
) -> Items:
    """Sequences of crops, as `deadlib-convert sequences` lists them; raises as that does."""
    import pandas as pd

    from tfrecords_tools.sequences import sequence_table

    table = sequence_table(source, conversion, frames=frames, where=where)
    paths = [text.split(";") for text in table.pop("paths")]
    table["frame_paths"] = pd.Series([_in_frames(names, frames) for names in paths], dtype=object)
    return Items(table, conversion.channels)


def dataset_items(folder: Path, split: str | None = None) -> Items:
    """The examples of a dataset directory, of all splits or of one, by their example_id.

    Raises DatasetError where it cannot be opened or has no such split.
    """
    from tfrecords_tools.dataset import open_dataset
    from tfrecords_tools.errors import DatasetError

    dataset = open_dataset(folder)
    if split is not None and split not in dataset.splits:
        raise DatasetError(f"{folder}: no split {split!r}; it has {', '.join(dataset.splits)}")
    manifest = dataset.manifest
    # a dataset of annotated items has items of its own
    hidden = (PLACE_COLUMNS | {*OWN}) - {"label", "group", *WINDOW}
    table = manifest.drop(columns=list(hidden & set(manifest)))
    table.insert(0, "item", manifest["example_id"])
    table.insert(1, "frame_paths", [[] for _ in range(len(table))])
    table.insert(2, "path", manifest["source_id"])
    table.insert(3, "row", range(len(table)))
    table["frames"] = 1
    if split is not None:
        table = table[manifest["split"] == split]
    return Items(table.reset_index(drop=True), tuple(dataset.channels))


def _discovered(source: Path, settings: ConversionSettings, progress: Progress | None) -> Any:
    from tfrecords_tools.discover import discover
    from tfrecords_tools.labels import located_tables

    located = replace(located_tables(source, settings), labels_required=False)
    found = discover(source, located, progress=progress)
    faults = [f"{problem.path}: {problem.reason}" for problem in found.problems]
    faults += [
        f"{name!a} is not UTF-8, so no table can hold it; rename it"
        for name in found.rows["source_id"]
        if name.encode("utf-8", "replace").decode() != name
    ]
    _refuse(faults, source)
    return found


def _windows(
    source: Path,
    record: dict[str, Any],
    conversion: ConversionSettings,
    sizes: dict[str, tuple[int, int]],
) -> list[Window | None]:
    """The windows of an image; [None] where all of it is the item."""
    if conversion.whole_images:
        return [None]
    if conversion.labels == "boxes":
        box = Box(*(record[name] for name in BOX_COLUMNS))
        window = box_window(box, conversion.context, conversion.box_px)
        return [window._replace(suffix=f"_box{int(record[ROW_NUMBER])}")]
    key = record["source_id"]
    if key not in sizes:
        facts = examine([source / path for path in record["source_paths"]])
        sizes[key] = (facts.height_px, facts.width_px)
    return list(image_windows(*sizes[key], conversion))


def _item(
    name: str, frame_paths: Sequence[Sequence[str]], window: Window | None, known: dict[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "item": known.get("item") or name + (window.suffix if window else ""),
        "path": name,
        "frame_paths": [list(paths) for paths in frame_paths],
    }
    if window is not None:
        row |= {column: getattr(window, column) for column in WINDOW}
    return row | {"frames": 1} | {key: v for key, v in known.items() if key not in OWN[:-1]}


def _in_frames(paths: Sequence[str], frames: int) -> list[list[str]]:
    channels = len(paths) // frames
    return [list(paths[at : at + channels]) for at in range(0, len(paths), channels)]


def _refuse(faults: Sequence[str], origin: Path) -> None:
    if not faults:
        return
    more = len(faults) - _FAULTS_SHOWN
    told = [*faults[:_FAULTS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    raise PanelError(f"{origin}: cannot be made a panel of:\n" + "\n".join(f"  {t}" for t in told))

"""What a panel said, as a log that `deadlib-convert --annotations` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deadlib.errors import PanelError
from deadlib.outputs import written_whole
from tfrecords_tools.annotations import ADJUDICATED, PLACE
from tfrecords_tools.cut import WINDOW
from tfrecords_tools.dataset import open_dataset
from tfrecords_tools.settings import ConversionSettings

if TYPE_CHECKING:
    import pandas as pd

    from deadlib.panel.panel import Panel

FIRST = (
    *("annotator", "item", "path", *PLACE, "response", "served", "timestamp", "seconds"),
    *("withdrawn", "serving", "number"),
)
"""The columns, in this order, of which there are; metadata of the items follow."""


def export_table(panel: Panel) -> pd.DataFrame:
    """The log of a panel: a row for every answer ever given, withdrawn ones and repeats included,
    and one for every item that was adjudicated, by whoever did.

    Returns the columns of `tfrecords_tools.annotations`, in which each item says where it lies in
    the folder of the images; then serving, number, and what is known of the items. Items of a
    dataset lie in the images that it was made from. Raises PanelError where nobody has answered.
    """
    import pandas as pd

    log = panel.log()
    if log.empty:
        raise PanelError(f"{panel.project.folder}: nobody has answered yet; there is no log")
    decided = panel.adjudications().rename(columns={"by": "annotator", "label": "response"})
    counts = decided["item"].isin(panel.responses()["item"])
    decided = decided[counts].assign(served=ADJUDICATED, withdrawn=False)
    decided = decided.merge(panel.project.described(), on="item", how="left")
    whole = pd.concat([log, decided], ignore_index=True)
    elsewhere = whole.drop(columns=["path", *WINDOW], errors="ignore")
    placed = elsewhere.merge(_places(panel), on="item")
    if "first_frame" not in placed:
        placed = placed.drop(columns="frames", errors="ignore")
    names = [name for name in FIRST if name in placed]
    return placed[[*names, *(name for name in placed if name not in names)]]


def export_log(panel: Panel, path: str | Path) -> pd.DataFrame:
    """Write `export_table` as CSV, whole or not at all, and return it.

    Raises PanelError where the name ends otherwise, or nobody has answered; WriteError.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise PanelError(f"{path}: a log is a CSV file; give a name that ends in .csv")
    table = export_table(panel)
    with written_whole(path) as partial:
        partial.write_text(csv_text(table), encoding="utf-8")
    return table


def csv_text(table: pd.DataFrame) -> str:
    """A log as CSV; whole numbers stay whole beside absent ones."""
    return table.convert_dtypes().to_csv(index=False, lineterminator="\n")


def _places(panel: Panel) -> pd.DataFrame:
    """Where each item lies: item, and path and window of an image, or window and frames."""
    items = panel.project.items
    windows = [name for name in WINDOW if name in items]
    if "row" in items:
        return _places_in_dataset(panel)
    if "first_frame" in items:
        return items[["item", *windows]]
    return items[["item", "path", *windows]]


def _places_in_dataset(panel: Panel) -> pd.DataFrame:
    """The images that a dataset was made from, named as in their own folders."""
    dataset = open_dataset(panel.project.source)
    prefixes = [part.get("prefix", "") for part in dataset.sources for _ in range(part["examples"])]
    rows = panel.project.items["row"].to_numpy()
    found = dataset.manifest.iloc[rows]
    paths = [
        name.removeprefix(prefixes[row]) if row < len(prefixes) else name
        for row, name in zip(rows, found["source_id"], strict=True)
    ]
    windows = [] if ConversionSettings.from_json(dataset.info["settings"]).whole_images else WINDOW
    return found[[*windows]].assign(item=panel.project.items["item"].to_numpy(), path=paths)

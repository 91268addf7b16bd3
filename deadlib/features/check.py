"""A picture of what was taken for a cell, for somebody's own eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from deadlib.errors import InputError
from deadlib.features.measure import Measuring, found_cells, in_unit_range
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.sheet import (
    FAINT,
    INK,
    PAPER,
    font,
    save_png,
    shortened,
    stretch_limits,
    stretched,
    to_bytes,
)

NUCLEUS, RING, CUT = (1.0, 0.9, 0.0), (0.0, 0.65, 0.75), (1.0, 0.15, 0.15)
_PICTURE_PX = 420
_COLUMNS = 3
_GAP_PX = 10
_CAPTION_PX = 36
_TITLE_PX = 58


def check_sheet(dataset: Dataset, measuring: Measuring, path: str | Path, *, most: int = 9) -> Path:
    """Write a PNG of some images of every class with the outlines of what was found in them.

    Yellow: nuclei that are measured; blue-green: where their ring of cytoplasm ends; red: nuclei
    that the edge of the image cuts, which are left out. Raises InputError where whole images are
    measured, as there is nothing to see.
    """
    if measuring.nuclei is None:
        raise InputError("--check shows the cells that were found, and whole images have none")
    path = Path(path)
    rows = _spread_over_classes(dataset.manifest, most)
    tiles = [_tile(dataset, row, measuring) for row in rows]
    columns = min(_COLUMNS, len(tiles))
    lines = -(-len(tiles) // columns)
    size = (
        columns * (_PICTURE_PX + _GAP_PX) + _GAP_PX,
        _TITLE_PX + lines * (_PICTURE_PX + _CAPTION_PX + _GAP_PX),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    title = (
        f"{dataset.name}, channel {measuring.nuclei}: nuclei of about "
        f"{measuring.diameter_px:g} px, rings of {measuring.ring_px:g} px"
    )
    draw.text((_GAP_PX, _GAP_PX), title, fill=INK, font=font(18))
    note = "yellow: measured; blue-green: the end of its ring; red: cut by the edge, left out"
    draw.text((_GAP_PX, _GAP_PX + 24), note, fill=FAINT, font=font(13))
    for place, tile in enumerate(tiles):
        down, right = divmod(place, columns)
        left = _GAP_PX + right * (_PICTURE_PX + _GAP_PX)
        sheet.paste(tile, (left, _TITLE_PX + down * (_PICTURE_PX + _CAPTION_PX + _GAP_PX)))
    save_png(sheet, path)
    return path


def _spread_over_classes(manifest: pd.DataFrame, most: int) -> list[int]:
    """Rows, of every class as many, evenly spread over those of a class."""
    manifest = manifest.reset_index(drop=True)
    labels = manifest["label"].fillna("")
    of_class = [rows.to_numpy() for _, rows in manifest.index.to_series().groupby(labels)]
    share = max(1, most // len(of_class))
    chosen = [
        rows[np.unique(np.linspace(0, len(rows) - 1, share).round().astype(int))]
        for rows in of_class
    ]
    return [int(row) for row in np.concatenate(chosen)[:most]]


def _tile(dataset: Dataset, row: int, measuring: Measuring) -> Image.Image:
    image = in_unit_range(dataset.read_example(row))
    cells = found_cells(image, dataset.channels, measuring)
    plane = image[..., dataset.channels.index(str(measuring.nuclei))]
    # enlarged first, so that outlines stay fine
    times = max(1, _PICTURE_PX // max(plane.shape))
    grey = stretched(plane, *stretch_limits(plane))
    picture = np.repeat(_enlarged(grey, times)[..., None], 3, axis=-1)
    around = np.where(cells.nuclei > 0, cells.nuclei, cells.ring)
    for labels, colour in ((around, RING), (cells.nuclei, NUCLEUS), (cells.at_border, CUT)):
        picture[_outlines(_enlarged(labels, times))] = colour
    shown = Image.fromarray(to_bytes(picture))
    scale = _PICTURE_PX / max(shown.size)
    shown = shown.resize((round(shown.width * scale), round(shown.height * scale)))
    tile = Image.new("RGB", (_PICTURE_PX, _PICTURE_PX + _CAPTION_PX), PAPER)
    tile.paste(shown, (0, 0))
    draw = ImageDraw.Draw(tile)
    known = dataset.manifest.iloc[row]
    label = known["label"] if isinstance(known["label"], str) else "no label"
    name = str(known["example_id"]).rpartition("/")[2]
    caption = f"{label}: {cells.count} measured, {cells.cut} cut"
    draw.text((0, shown.height + 3), caption, fill=INK, font=font(13))
    text = shortened(name, font(12), _PICTURE_PX)
    draw.text((0, shown.height + 18), text, fill=FAINT, font=font(12))
    return tile


def _outlines(labels: np.ndarray) -> np.ndarray:
    """The innermost pixels of every region (H, W)."""
    from skimage.segmentation import find_boundaries

    return np.asarray(find_boundaries(labels, mode="inner"))


def _enlarged(plane: np.ndarray, times: int) -> np.ndarray:
    return plane.repeat(times, axis=0).repeat(times, axis=1)

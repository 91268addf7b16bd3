"""Pairs of images that show the same cells, laid on each other, for somebody's own eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tfrecords_tools.dataset import Dataset
from tfrecords_tools.errors import DatasetError, SourceError, ToolsError
from tfrecords_tools.images import read_stack
from tfrecords_tools.settings import ConversionSettings
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

_WIDTH_PX = 300
_GAP_PX = 10
_CAPTION_PX = 40
_TITLE_PX = 58


def montage(dataset: Dataset, path: str | Path, *, most: int = 12) -> Path:
    """Write a PNG of similar pairs, those in two splits first: both images, and both together.

    In the third picture the second image lies on the first where registration puts it, the first
    in magenta, the second in green: what both show alike is grey.

    Raises DatasetError where the dataset has no such pair, SourceError where the pictures of tiles
    and crops are gone (whole images are read from the records), WriteError where `path` cannot be
    written.
    """
    pairs = list((dataset.info.get("similar") or {}).get("pairs", ()))
    if not pairs:
        why = "it has none" if dataset.info.get("similar") else "nobody looked for any"
        raise DatasetError(f"{dataset.folder}: no pair of images that show the same cells: {why}")
    pairs.sort(key=lambda pair: len(pair["splits"]) < 2)
    shown = pairs[:most]
    strips = [_strip(dataset, pair) for pair in shown]
    height = _TITLE_PX + sum(strip.height + _GAP_PX for strip in strips)
    sheet = Image.new("RGB", (strips[0].width + 2 * _GAP_PX, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"{dataset.name}: {len(pairs)} pairs of images show the same cells"
    draw.text((_GAP_PX, _GAP_PX), title, fill=INK, font=font(18))
    note = f"the first {len(shown)}; " if len(shown) < len(pairs) else ""
    note += "right: the first in magenta, the second in green, grey where both show the same"
    draw.text((_GAP_PX, _GAP_PX + 24), note, fill=FAINT, font=font(12))
    top = _TITLE_PX
    for strip in strips:
        sheet.paste(strip, (_GAP_PX, top))
        top += strip.height + _GAP_PX
    save_png(sheet, Path(path))
    return Path(path)


def _strip(dataset: Dataset, pair: Mapping[str, Any]) -> Image.Image:
    """Both images side by side, both on each other, and a line of what is known."""
    one, other = (_grey(dataset, pair[name]) for name in ("one", "other"))
    together = _overlay(one, other, int(pair["down_px"]), int(pair["right_px"]))
    pictures = [_fitted(picture) for picture in (one, other, together)]
    height = max(picture.height for picture in pictures)
    strip = Image.new("RGB", (3 * (_WIDTH_PX + _GAP_PX), height + _CAPTION_PX), PAPER)
    draw = ImageDraw.Draw(strip)
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * (_WIDTH_PX + _GAP_PX), 0))
    captions = [pair["one"], pair["other"], _words(pair)]
    for place, caption in enumerate(captions):
        left = place * (_WIDTH_PX + _GAP_PX)
        text = shortened(str(caption), font(12), _WIDTH_PX)
        draw.text((left, height + 4), text, fill=INK, font=font(12))
    split_of = dataset.manifest.drop_duplicates("source_id").set_index("source_id")["split"]
    for place, name in enumerate(("one", "other")):
        left = place * (_WIDTH_PX + _GAP_PX)
        draw.text((left, height + 20), str(split_of[pair[name]]), fill=FAINT, font=font(12))
    where = f"shifted by {pair['down_px']} px down, {pair['right_px']} px right"
    draw.text((2 * (_WIDTH_PX + _GAP_PX), height + 20), where, fill=FAINT, font=font(12))
    return strip


def _words(pair: Mapping[str, Any]) -> str:
    return f"{pair['overlap']:.0%} in common, correlation {pair['correlation']:.2f}"


def _overlay(one: np.ndarray, other: np.ndarray, down: int, right: int) -> np.ndarray:
    """The union of both as (H, W, 3), 0 to 1; white where neither is."""
    top, left = min(0, down), min(0, right)
    bottom = max(one.shape[0], down + other.shape[0])
    edge = max(one.shape[1], right + other.shape[1])
    union = np.zeros((bottom - top, edge - left, 3))
    nothing = np.ones(union.shape[:2], bool)
    for picture, (row, column), channels in (
        (one, (-top, -left), [0, 2]),
        (other, (down - top, right - left), [1]),
    ):
        place = slice(row, row + picture.shape[0]), slice(column, column + picture.shape[1])
        union[*place, channels] = picture[..., None]
        nothing[place] = False
    union[nothing] = 1
    return union


def _grey(dataset: Dataset, source_id: str) -> np.ndarray:
    """An image as (H, W), 0 to 1, between its own percentiles."""
    image = _image(dataset, source_id).mean(axis=2)
    return stretched(image, *stretch_limits(image))


def _image(dataset: Dataset, source_id: str) -> np.ndarray:
    """The whole image: from its record, or from where it was converted from."""
    rows = np.flatnonzero(dataset.manifest["source_id"].to_numpy() == source_id)
    row = int(rows[0])
    if ConversionSettings.from_json(dataset.info["settings"]).whole_images:
        return dataset.read_example(row)
    paths: Sequence[str] = dataset.manifest["source_paths"].iloc[row]
    first = 0
    for part in dataset.sources:
        first += part["examples"]
        if row < first:
            try:
                return read_stack([Path(part["folder"]) / path for path in paths])
            except ToolsError as error:
                raise SourceError(f"{error}; the picture needs the images themselves") from None
    raise DatasetError(f"{dataset.folder}: does not say where {source_id} came from")


def _fitted(picture: np.ndarray) -> Image.Image:
    rgb = np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture
    height, width = rgb.shape[:2]
    size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
    return Image.fromarray(to_bytes(rgb)).resize(size, Image.Resampling.LANCZOS)

"""The contact sheet: examples of every class in one picture, to look at before training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from tfrecords_tools.dataset import Dataset
from tfrecords_tools.errors import WriteError
from tfrecords_tools.shards import write_whole

UNLABELLED = "unlabelled"

_CELL_PX = 132
_GAP_PX = 8
_CAPTION_PX = 34
_HEADER_PX = 150
_TITLE_PX = 56
_BLOCK_GAP_PX = 14

INK = (20, 20, 20)
FAINT = (110, 110, 110)
PAPER = (255, 255, 255)
_MAT = (236, 236, 236)

# Percentiles that black and white are set to, so that one bright speck does not hide the cells.
DARK, BRIGHT = 0.5, 99.5

# One hue for each channel of a composite; those beyond are shown in grey only.
_HUES = (
    (64, 110, 255),
    (70, 255, 90),
    (255, 120, 40),
    (255, 60, 220),
    (255, 230, 60),
    (60, 230, 255),
)
RGB = ["red", "green", "blue"]


def contact_sheet(dataset: Dataset, path: str | Path, *, per_class: int = 8, seed: int = 0) -> Path:
    """Write a PNG with `per_class` examples of every class, drawn by `seed`, from many groups.

    Each image is stretched between its own 0.5th and 99.5th percentile (RGB: one stretch for all
    three), so brightness cannot be compared between pictures. Several channels are shown as a
    coloured composite and one by one. Raises WriteError where the file cannot be written.
    """
    path = Path(path)
    chosen = _choose(dataset, per_class, seed)
    rows = _row_names(dataset.channels)
    block_px = len(rows) * (_CELL_PX + _GAP_PX) + _CAPTION_PX + _BLOCK_GAP_PX
    columns = max((len(found) for found in chosen.values()), default=1)
    width = _HEADER_PX + max(columns, 4) * (_CELL_PX + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, _TITLE_PX + len(chosen) * block_px), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP_PX, _GAP_PX), _title(dataset), fill=INK, font=font(18))
    draw.text(
        (_GAP_PX, _GAP_PX + 24),
        f"each picture stretched from its {DARK} to its {BRIGHT} percentile",
        fill=FAINT,
        font=font(12),
    )
    for number, (label, found) in enumerate(chosen.items()):
        _draw_block(sheet, dataset, label, found, rows, _TITLE_PX + number * block_px)
    save_png(sheet, path)
    return path


def _choose(dataset: Dataset, per_class: int, seed: int) -> dict[str, list[int]]:
    """Manifest rows by class: random, but one of every group before a second of any."""
    manifest = dataset.manifest
    labels = manifest["label"].fillna(UNLABELLED)
    order = np.random.default_rng(seed).permutation(len(manifest))
    shuffled = pd.DataFrame({"label": labels, "group": manifest["group"]}).iloc[order]
    turn = shuffled.groupby(["label", "group"]).cumcount()
    shuffled = shuffled.assign(turn=turn).sort_values("turn", kind="stable")
    names = [name for name in [*dataset.classes, UNLABELLED] if (labels == name).any()]
    return {
        name: sorted(int(row) for row in shuffled.index[shuffled["label"] == name][:per_class])
        for name in names
    }


def _row_names(channels: Sequence[str]) -> list[str]:
    if len(channels) == 1 or list(channels) == RGB:
        return [""]
    return ["composite", *channels]


def _title(dataset: Dataset) -> str:
    manifest, channels = dataset.manifest, dataset.channels
    return (
        f"{dataset.name}: {len(manifest)} examples of {manifest['source_id'].nunique()} images, "
        f"{'channel' if len(channels) == 1 else 'channels'} {', '.join(channels)}"
    )


def _draw_block(
    sheet: Image.Image,
    dataset: Dataset,
    label: str,
    found: Sequence[int],
    rows: Sequence[str],
    top: int,
) -> None:
    """One class: its name, a column per example, a row per channel, captions below."""
    draw = ImageDraw.Draw(sheet)
    manifest = dataset.manifest
    count = int((manifest["label"].fillna(UNLABELLED) == label).sum())
    name = shortened(label, font(16), _HEADER_PX - 2 * _GAP_PX)
    draw.text((_GAP_PX, top), name, fill=INK, font=font(16))
    draw.text((_GAP_PX, top + 20), f"{count} examples", fill=FAINT, font=font(12))
    for place, row_name in enumerate(rows):
        if row_name:
            _draw_row_name(draw, row_name, place - 1, top + place * (_CELL_PX + _GAP_PX) + 56)
    for column, row in enumerate(found):
        left = _HEADER_PX + column * (_CELL_PX + _GAP_PX)
        for place, picture in enumerate(_pictures(dataset.read_example(row), dataset.channels)):
            _paste(sheet, picture, left, top + place * (_CELL_PX + _GAP_PX))
        below = top + len(rows) * (_CELL_PX + _GAP_PX) - _GAP_PX + 3
        caption = str(manifest["example_id"].iloc[row]).rpartition("/")[2]
        text = shortened(caption, font(11), _CELL_PX)
        draw.text((left, below), text, fill=INK, font=font(11))
        size = f"{manifest['width_px'].iloc[row]} x {manifest['height_px'].iloc[row]} px"
        note = f"{manifest['split'].iloc[row]}, {size}"
        draw.text((left, below + 14), note, fill=FAINT, font=font(11))


def _draw_row_name(draw: ImageDraw.ImageDraw, name: str, channel: int, top: int) -> None:
    if 0 <= channel < len(_HUES):
        draw.rectangle((_GAP_PX, top + 2, _GAP_PX + 10, top + 12), fill=_HUES[channel])
    text = shortened(name, font(13), _HEADER_PX - 4 * _GAP_PX)
    draw.text((_GAP_PX + 16, top), text, fill=INK, font=font(13))


def _pictures(image: np.ndarray, channels: Sequence[str]) -> list[np.ndarray]:
    """What is shown of one (H, W, C) image: (H, W, 3) uint8 pictures, one per row of the sheet."""
    if list(channels) == RGB:
        return [to_bytes(stretched(image, *stretch_limits(image)))]
    channel = [image[..., place] for place in range(image.shape[2])]
    planes = [stretched(values, *stretch_limits(values)) for values in channel]
    grey = [to_bytes(np.repeat(plane[..., None], 3, axis=-1)) for plane in planes]
    if len(planes) == 1:
        return grey
    composite = np.zeros((*image.shape[:2], 3))
    for plane, hue in zip(planes, _HUES, strict=False):
        # The brighter channel wins: a sum of several would end in white.
        composite = np.maximum(composite, plane[..., None] * np.array(hue) / 255)
    return [to_bytes(composite), *grey]


def stretch_limits(values: np.ndarray) -> tuple[float, float]:
    """The intensities that black and white stand for: percentiles, else the lowest and highest."""
    low, high = np.percentile(values, [DARK, BRIGHT])
    if high <= low:
        return float(values.min()), float(values.max())
    return float(low), float(high)


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as 0-1 between `low` and `high`; 0.5 where these are the same."""
    if high <= low:
        return np.full(values.shape, 0.5)
    return np.asarray(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1))


def to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _paste(sheet: Image.Image, picture: np.ndarray, left: int, top: int) -> None:
    """Fit a picture into its cell; small ones are enlarged without smoothing."""
    ImageDraw.Draw(sheet).rectangle((left, top, left + _CELL_PX - 1, top + _CELL_PX - 1), fill=_MAT)
    height, width = picture.shape[:2]
    scale = _CELL_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    small = Image.fromarray(picture).resize(size, how)
    sheet.paste(small, (left + (_CELL_PX - size[0]) // 2, top + (_CELL_PX - size[1]) // 2))


def shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width_px: int) -> str:
    """The text, with its middle left out where it is too long: ends tell file names apart."""
    if font.getlength(text) <= width_px:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 3]}…{text[-(kept - kept // 3) :]}"
        if font.getlength(short) <= width_px:
            return short
    return "…"


def font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size_px)


def save_png(sheet: Image.Image, path: Path) -> None:
    data = io.BytesIO()
    sheet.save(data, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue(), scratch=path.parent)
    except OSError as error:
        raise WriteError(
            f"{path}: the picture cannot be written ({error.strerror}); give another file"
        ) from None

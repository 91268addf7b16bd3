"""One example as a picture: every channel by itself, with its name and its scale."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tfrecords_tools.dataset import Dataset
from tfrecords_tools.errors import DatasetError
from tfrecords_tools.sheet import (
    BRIGHT,
    DARK,
    FAINT,
    INK,
    PAPER,
    RGB,
    UNLABELLED,
    font,
    save_png,
    shortened,
    stretch_limits,
    stretched,
    to_bytes,
)

_GAP_PX = 12
_TITLE_PX = 64
_NAME_PX = 24
_SCALE_PX = 24
_SMALLEST_PX, _LARGEST_PX = 256, 1024
_NEAREST = 5


def find_example(dataset: Dataset, example_id: str) -> int:
    """The manifest row of an example. Raises DatasetError with the nearest ids where none is it."""
    ids = dataset.manifest["example_id"]
    rows = np.flatnonzero(ids.to_numpy() == example_id)
    if len(rows):
        return int(rows[0])
    nearest = difflib.get_close_matches(example_id, list(ids), n=_NEAREST, cutoff=0.0)
    raise DatasetError(
        f"{dataset.folder}: no example {example_id!r}; the nearest are {', '.join(nearest)}"
    )


def portrait(dataset: Dataset, row: int, path: str | Path) -> Path:
    """Write a PNG of one example, its channels side by side, each between its own percentiles.

    Below each channel stand the intensities, in the file's units, that black and white are. RGB is
    one picture with one scale. Small images are enlarged by a whole factor, large ones reduced.
    Raises WriteError where the file cannot be written, DatasetError where the record is damaged.
    """
    path = Path(path)
    image, columns = dataset.read_example(row), dataset.manifest.iloc[row]
    panels = _panels(image, dataset.channels)
    height, width = panels[0][1].shape[:2]
    factor = _factor(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    column_px = max(size[0], _SMALLEST_PX) + _GAP_PX
    canvas = Image.new(
        "RGB",
        (
            _GAP_PX + len(panels) * column_px,
            _TITLE_PX + _NAME_PX + size[1] + _SCALE_PX + _GAP_PX,
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    room_px = canvas.width - 2 * _GAP_PX
    draw.text(
        (_GAP_PX, _GAP_PX),
        shortened(str(columns["example_id"]), font(18), room_px),
        fill=INK,
        font=font(18),
    )
    label = UNLABELLED if pd.isna(columns["label"]) else str(columns["label"])
    note = f"{label}, {columns['split']}; {height} x {width} px (rows x columns), {image.dtype}"
    if factor != 1:
        note += f", shown {factor:.2g} times as large"
    draw.text(
        (_GAP_PX, _GAP_PX + 26), shortened(note, font(13), room_px), fill=FAINT, font=font(13)
    )
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    for place, (name, picture, scale) in enumerate(panels):
        left = _GAP_PX + place * column_px
        draw.text((left, _TITLE_PX), shortened(name, font(14), column_px), fill=INK, font=font(14))
        canvas.paste(Image.fromarray(picture).resize(size, how), (left, _TITLE_PX + _NAME_PX))
        below = _TITLE_PX + _NAME_PX + size[1] + 5
        draw.text((left, below), shortened(scale, font(12), column_px), fill=FAINT, font=font(12))
    save_png(canvas, path)
    return path


def _panels(image: np.ndarray, channels: list[str]) -> list[tuple[str, np.ndarray, str]]:
    """All that is shown of a (H, W, C) image: name, (H, W, 3) uint8 picture, scale in words."""
    if channels == RGB:
        parts = [(", ".join(RGB), image)]
    else:
        parts = [(name, image[..., place]) for place, name in enumerate(channels)]
    panels = []
    for name, values in parts:
        low, high = stretch_limits(values)
        picture = to_bytes(stretched(values, low, high))
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=-1)
        scale = f"black {low:.6g}, white {high:.6g} ({DARK} and {BRIGHT} percentile)"
        panels.append((name, picture, scale))
    return panels


def _factor(height: int, width: int) -> float:
    """How much larger the picture is shown: a whole factor for small images, 1, or less than 1."""
    if max(height, width) > _LARGEST_PX:
        return _LARGEST_PX / max(height, width)
    return max(1, _SMALLEST_PX // max(height, width))

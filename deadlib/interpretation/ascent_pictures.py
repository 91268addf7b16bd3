"""Class models for the eye: the figure, the animation of the ascent, and the measured values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deadlib.interpretation.pictures import (
    CHANNEL_COLOURS,
    INK,
    LINE_PX,
    MARGIN_PX,
    PAPER,
    TEXT_PX,
    enlarged,
    shown_size,
)
from deadlib.videos import open_video

SCALE_PERCENT = 99.5
CELL_PX = 350
FRAMES_PER_SECOND = 8
REST_FRAMES = 20


@dataclass(frozen=True)
class Panel:
    """One picture of the figure, and the lines below it."""

    picture: Image.Image
    lines: tuple[str, ...]


def scale_of(image: NDArray[Any]) -> float:
    """The size of value that is drawn white (black below 0), of an image (H, W, C)."""
    return max(float(np.percentile(np.abs(image), SCALE_PERCENT)), 1e-6)


def drawn(image: NDArray[Any], scale: float, channels: Sequence[str]) -> Image.Image:
    """An image (H, W, C) on the scale of the network's input: 0 is grey, ±`scale` white and black.

    One channel is grey and red, green, blue are themselves; of others each adds a colour of its
    own, by what it has above 0.
    """
    values = np.clip(image.astype(np.float32) / scale, -1, 1)
    names = [name.lower() for name in channels]
    if values.shape[-1] == 1:
        painted = np.repeat((values + 1) / 2, 3, axis=-1)
    elif names in (["red", "green", "blue"], ["r", "g", "b"]):
        painted = (values + 1) / 2
    else:
        paints = [CHANNEL_COLOURS[i % len(CHANNEL_COLOURS)] for i in range(values.shape[-1])]
        painted = np.clip(np.maximum(values, 0) @ np.asarray(paints, np.float32), 0, 1)
    colours = np.round(painted * 255).astype(np.uint8)
    return enlarged(colours, shown_size(colours.shape[:2]))


def page(
    title: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[str],
    panels: Sequence[Sequence[Panel]],
    cell_px: int = CELL_PX,
) -> Image.Image:
    """Panels by row and column under their headings, as RGB with even sides.

    The size hangs on the pictures and the title alone, so pages of one ascent make an animation.
    """
    plain, bold = _font("DejaVuSans.ttf"), _font("DejaVuSans-Bold.ttf")
    first = panels[0][0]
    cell = max(first.picture.width, cell_px)
    below = len(first.lines) * LINE_PX + 2 * MARGIN_PX
    high = LINE_PX + first.picture.height + below
    wide = max(
        len(columns) * (cell + 2 * MARGIN_PX), *(int(plain.getlength(line)) for line in title)
    )
    top = (len(title) + 1) * LINE_PX + 3 * MARGIN_PX
    size = (wide + 2 * MARGIN_PX, top + len(rows) * high)
    canvas = Image.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(title):
        draw.text((2 * MARGIN_PX, MARGIN_PX + number * LINE_PX), line, fill=INK, font=plain)
    for column, heading in enumerate(columns):
        left = 2 * MARGIN_PX + column * (cell + 2 * MARGIN_PX)
        draw.text((left, top - LINE_PX - MARGIN_PX), heading, fill=INK, font=plain)
        for row, panel in enumerate(line[column] for line in panels):
            edge = top + row * high
            if column == 0:
                draw.text((left, edge), rows[row], fill=INK, font=bold)
            canvas.paste(panel.picture, (left, edge + LINE_PX))
            for number, line in enumerate(panel.lines):
                place = (left, edge + LINE_PX + panel.picture.height + 4 + number * LINE_PX)
                draw.text(place, line, fill=INK, font=plain)
    return canvas


def write_ascent(path: Path, kind: str, pages: Sequence[Image.Image]) -> None:
    """The pages as a video that rests on the last; kind: as in `open_video`."""
    video = open_video(path, kind, FRAMES_PER_SECOND)
    try:
        for number, shown in enumerate(pages, start=1):
            video.add(np.asarray(shown), REST_FRAMES if number == len(pages) else 1)
    finally:
        video.close()


def write_values(path: Path, image: NDArray[np.float32]) -> None:
    """An image (H, W, C) as it is: a TIFF of 32-bit floats, channels as planes."""
    _write_tiff(path, image)


def write_counts(path: Path, image: NDArray[np.float32], limit: float) -> None:
    """An image (H, W, C) as a 16-bit TIFF: -limit is 0, 0 is 32768, +limit is 65535."""
    _write_tiff(path, np.round((image / limit + 1) / 2 * 65535).astype(np.uint16))


def _write_tiff(path: Path, image: NDArray[Any]) -> None:
    single = image.shape[-1] == 1
    planes = image[..., 0] if single else np.moveaxis(image, -1, 0)
    tifffile.imwrite(
        path,
        np.ascontiguousarray(planes),
        photometric="minisblack",
        metadata={"axes": "YX" if single else "CYX"},
    )


def _font(name: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), TEXT_PX)

"""Pictures for the eye: stored images as colours, heat laid over them, captions, the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALLEST_SIDE_PX = 256
LARGEST_SIDE_PX = 1024
SHEET_SIDE_PX = 176
SHEET_WIDTH_PX = 1408
OWN_SCALE = "strongest place of this image"
MARGIN_PX = 8
TEXT_PX = 15
LINE_PX = 20
HEAT_OPACITY = 0.8
STRETCH_PERCENT = (0.5, 99.5)

PAPER = (255, 255, 255)
INK = (20, 20, 20)
RIGHT = (0, 110, 60)
WRONG = (190, 30, 45)
WINDOW = (80, 200, 255)

# Told apart by most colour-blind people, and each bright on black.
CHANNEL_COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0.6, 0), (0.2, 0.4, 1), (1, 0.3, 0))


@dataclass(frozen=True)
class Picture:
    """One example, drawn: the image, the same with heat, and what is said of it."""

    image: Image.Image
    overlay: Image.Image
    name: str
    verdict: str
    right: bool | None
    """Whether the prediction is the label; None without a label."""
    heading: str
    """The group of the sheet it stands in."""


def as_colours(image: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """An image (H, W, C) of any depth as (H, W, 3) uint8, contrast stretched by percentiles.

    One channel is grey and red, green, blue are themselves, stretched together; of anything else
    each channel gets a colour of its own and the colours are added.
    """
    values = image.astype(np.float32)
    colours = [name.lower() for name in channels] in (["red", "green", "blue"], ["r", "g", "b"])
    if colours:
        return _bytes(_stretched(values, axis=None))
    stretched = _stretched(values, axis=(0, 1))
    if stretched.shape[-1] == 1:
        return _bytes(np.repeat(stretched, 3, axis=-1))
    paints = [CHANNEL_COLOURS[i % len(CHANNEL_COLOURS)] for i in range(stretched.shape[-1])]
    return _bytes(np.clip(stretched @ np.asarray(paints, np.float32), 0, 1))


def shown_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns at which an image (H, W) is drawn: small ones enlarged by a whole factor."""
    longest = max(shape)
    if longest < SMALLEST_SIDE_PX:
        factor = -(-SMALLEST_SIDE_PX // longest)
        return (shape[0] * factor, shape[1] * factor)
    scale = min(1.0, LARGEST_SIDE_PX / longest)
    return (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def enlarged(colours: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Colours (H, W, 3) uint8 at rows x columns: pixels stay visible where they are enlarged."""
    larger = size[0] >= colours.shape[0]
    way = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return Image.fromarray(colours).resize((size[1], size[0]), way)


def with_heat(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """Lay heat (H, W) in 0..1, of the image's size, over its grey version."""
    grey = np.asarray(image.convert("L").convert("RGB"), np.float32)
    flame = matplotlib.colormaps["inferno"](heat)[..., :3].astype(np.float32) * 255
    opacity = (HEAT_OPACITY * heat)[..., None]
    return Image.fromarray(np.round(grey * (1 - opacity) + flame * opacity).astype(np.uint8))


def with_window(image: Image.Image, window: tuple[int, int, int, int]) -> Image.Image:
    """Draw the frame (top, left, rows, columns; pixels of the picture) of what the network saw."""
    top, left, rows, columns = window
    framed = image.copy()
    corner = (left + columns - 1, top + rows - 1)
    ImageDraw.Draw(framed).rectangle((left, top, *corner), outline=WINDOW)
    return framed


def captioned(picture: Picture) -> Image.Image:
    """Image and overlay side by side, and two lines below: the name and the verdict."""
    width, height = picture.image.size
    canvas = Image.new("RGB", (2 * width + MARGIN_PX, height + 2 * LINE_PX + MARGIN_PX), PAPER)
    canvas.paste(picture.image, (0, 0))
    canvas.paste(picture.overlay, (width + MARGIN_PX, 0))
    _write(canvas, (2, height + 2), picture.name, INK)
    _write(canvas, (2, height + 2 + LINE_PX), picture.verdict, _ink(picture.right))
    return canvas


def sheet(
    pictures: Sequence[Picture],
    title: Sequence[str],
    *,
    side_px: int = SHEET_SIDE_PX,
    strongest: str = OWN_SCALE,
) -> Image.Image:
    """Thumbnails of `side_px` on one page, under their headings, with a scale of the heat;
    `strongest` says what its bright end stands for."""
    headings = list(dict.fromkeys(picture.heading for picture in pictures))
    groups = [
        [_cell(each, side_px) for each in pictures if each.heading == name] for name in headings
    ]
    cells = [cell for group in groups for cell in group]
    cell_width, cell_height = cells[0].width, max(cell.height for cell in cells)
    columns = min(SHEET_WIDTH_PX // (2 * side_px), max(len(group) for group in groups))
    lines = sum(-(-len(group) // columns) for group in groups)
    longest = max(int(_font(False).getlength(line)) for line in title)
    width = max(columns * (cell_width + 2 * MARGIN_PX) - 2 * MARGIN_PX, longest) + 4 * MARGIN_PX
    top = (len(title) + 1) * LINE_PX + 2 * MARGIN_PX
    height = top + lines * cell_height + len(groups) * (LINE_PX + MARGIN_PX) + MARGIN_PX
    page = Image.new("RGB", (width, height), PAPER)
    for number, line in enumerate(title):
        _write(page, (2 * MARGIN_PX, MARGIN_PX + number * LINE_PX), line, INK)
    _draw_scale(page, (2 * MARGIN_PX, MARGIN_PX + len(title) * LINE_PX), strongest)
    for heading, group in zip(headings, groups, strict=True):
        _write(page, (2 * MARGIN_PX, top), heading, INK, bold=True)
        top += LINE_PX + MARGIN_PX
        for start in range(0, len(group), columns):
            for place, cell in enumerate(group[start : start + columns]):
                page.paste(cell, (2 * MARGIN_PX + place * (cell_width + 2 * MARGIN_PX), top))
            top += cell_height
    return page


def thumbnail(picture: Picture, side_px: int = SHEET_SIDE_PX) -> Picture:
    """The picture as it stands on a sheet: `side_px` at its longer side."""
    scale = side_px / max(picture.image.size)
    size = (
        max(1, round(picture.image.width * scale)),
        max(1, round(picture.image.height * scale)),
    )
    image, overlay = (
        half.resize(size, Image.Resampling.LANCZOS) for half in (picture.image, picture.overlay)
    )
    return replace(picture, image=image, overlay=overlay)


def _cell(picture: Picture, side_px: int) -> Image.Image:
    size = picture.image.size
    width, height = 2 * side_px + MARGIN_PX, size[1] + 2 * LINE_PX + MARGIN_PX
    cell = Image.new("RGB", (width, height), PAPER)
    for number, half in enumerate((picture.image, picture.overlay)):
        cell.paste(half, (number * (side_px + MARGIN_PX), 0))
    _write(cell, (0, size[1] + 2), picture.name, INK)
    _write(cell, (0, size[1] + 2 + LINE_PX), picture.verdict, _ink(picture.right))
    return cell


def _draw_scale(page: Image.Image, corner: tuple[int, int], strongest: str) -> None:
    left, top = corner
    steps = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (LINE_PX - 8, 1))
    grey = Image.new("RGB", (160, LINE_PX - 8), (128, 128, 128))
    _write(page, (left, top), "no evidence", INK)
    page.paste(with_heat(grey, steps), (left + 95, top + 4))
    _write(page, (left + 265, top), strongest, INK)


def _write(
    canvas: Image.Image,
    corner: tuple[int, int],
    text: str,
    ink: tuple[int, int, int],
    bold: bool = False,
) -> None:
    """Write one line, its middle left out where it is too long for the canvas."""
    face = _font(bold)
    room = canvas.width - corner[0]
    if face.getlength(text) > room:
        kept = len(text)
        while kept > 2 and face.getlength(_shortened(text, kept)) > room:
            kept -= 1
        text = _shortened(text, kept)
    ImageDraw.Draw(canvas).text(corner, text, fill=ink, font=face)


def _shortened(text: str, kept: int) -> str:
    head = kept // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"


def _font(bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), TEXT_PX)


def _ink(right: bool | None) -> tuple[int, int, int]:
    if right is None:
        return INK
    return RIGHT if right else WRONG


def _stretched(values: np.ndarray, axis: tuple[int, int] | None) -> np.ndarray:
    low, high = np.percentile(values, STRETCH_PERCENT, axis=axis, keepdims=True)
    return np.asarray(np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(values * 255).astype(np.uint8)

"""Frames as they are read: whole, or region by region where a large file allows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from deadlib.heatmaps.regions import Frame
from tfrecords_tools.container import TIFF_SUFFIXES
from tfrecords_tools.images import read_stack
from tfrecords_tools.locator import Locator
from tfrecords_tools.tiff import check_complete, check_single, damaged

LARGE_BYTES = 2**28
"""From here on a frame is read region by region where its file allows it."""
_SAMPLE_PX = 512
_SAMPLES = 4


class MappedFrame:
    """A large grey TIFF whose pixels lie in the file as they are; the system reads what is used."""

    def __init__(self, pixels: np.ndarray[Any, Any]) -> None:
        self._pixels = pixels
        self.shape: tuple[int, ...] = (*pixels.shape, 1)
        self.dtype: np.dtype[Any] = pixels.dtype.newbyteorder("=")

    def __getitem__(self, region: Any) -> np.ndarray[Any, Any]:
        return np.asarray(self._pixels[region], dtype=self.dtype)[..., None]


def open_frame(locators: Sequence[str], large_bytes: int = LARGE_BYTES) -> Frame:
    """A frame of one locator, or of one per channel file.

    An uncompressed grey TIFF of at least `large_bytes` is mapped; anything else is decoded here.
    Raises ImageError where it cannot be read.
    """
    if len(locators) == 1:
        place = Locator.parse(locators[0])
        path = Path(place.files[0])
        if place.is_whole_file and path.suffix.lower() in TIFF_SUFFIXES:
            mapped = _mapped(path, large_bytes)
            if mapped is not None:
                return mapped
    return read_stack(locators)


def samples(frame: Frame) -> Iterator[np.ndarray[Any, Any]]:
    """The frame, or of a large one squares (h, w, C) spread evenly over it."""
    height, width, _ = frame.shape
    side = _SAMPLE_PX * _SAMPLES
    if height * width <= side * side:
        yield frame[:, :]
        return
    for top in _starts(height):
        for left in _starts(width):
            yield frame[top : top + _SAMPLE_PX, left : left + _SAMPLE_PX]


def _starts(side: int) -> list[int]:
    if side <= _SAMPLE_PX:
        return [0]
    return [round(place) for place in np.linspace(0, side - _SAMPLE_PX, _SAMPLES)]


def _mapped(path: Path, large_bytes: int) -> MappedFrame | None:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            page = series.keyframe
            plain = (
                math.prod(series.shape) == math.prod(page.shape)
                and page.is_memmappable
                and len(page.shape) == 2
                and page.dtype.name in ("uint8", "uint16")
                and page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
                and page.nbytes >= large_bytes
            )
            if not plain:
                return None
            check_single(path, file)
            check_complete(path, series.pages)
        return MappedFrame(tifffile.memmap(path, page=0, mode="r"))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise damaged(path, error) from None

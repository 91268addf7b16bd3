"""Files that hold many images: what they list, and how one plane of them is read.

A container is listed from its metadata alone. Reading a plane touches the bytes of that plane only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from tfrecords_tools.errors import ImageError

TIFF_SUFFIXES = (".tif", ".tiff", ".stk")
VENDOR_SUFFIXES = (".nd2", ".czi", ".lif")
ZARR_SUFFIX = ".zarr"
"""A folder that is one image, or one plate."""

_HOURS = {
    "ms": 1 / 3_600_000,
    "s": 1 / 3600,
    "sec": 1 / 3600,
    "second": 1 / 3600,
    "millisecond": 1 / 3_600_000,
    "min": 1 / 60,
    "minute": 1 / 60,
    "h": 1.0,
    "hour": 1.0,
    "d": 24.0,
    "day": 24.0,
}


@dataclass(frozen=True)
class Scene:
    """One field of view: `frames` in time of `planes` in z of `channels`.

    pages: images along an axis of which the file does not say what it is.
    channel_names: () where the file does not name them.
    hours: time of each frame, () where the file does not say.
    metadata: plate, well, row, column, field, pixel_size_um as far as the file has them.
    """

    name: str = ""
    frames: int = 1
    planes: int = 1
    channels: int = 1
    pages: int = 1
    channel_names: tuple[str, ...] = ()
    hours: tuple[float, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


class Container(Protocol):
    """An open file of images."""

    @property
    def scenes(self) -> tuple[Scene, ...]: ...

    @property
    def companions(self) -> tuple[str, ...]:
        """Names of further files beside it that the file's metadata says belong to it."""

    def plane(self, scene: int, time: int, channel: int, z: int) -> np.ndarray:
        """(height, width) pixels; an unnamed axis of pages counts as the one of the three that
        the file lacks."""

    def close(self) -> None: ...


def is_container(path: Path) -> bool:
    """Whether files of this name hold images for which there may be a choice."""
    return path.suffix.lower() in (*TIFF_SUFFIXES, *VENDOR_SUFFIXES, ZARR_SUFFIX)


def open_container(path: Path) -> Container:
    """Open a file that may hold many images. Raises ImageError, naming it."""
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        from tfrecords_tools.tiff import TiffContainer

        return TiffContainer(path)
    if suffix == ZARR_SUFFIX:
        from tfrecords_tools.omezarr import ZarrContainer

        return ZarrContainer(path)
    if suffix in VENDOR_SUFFIXES:
        from tfrecords_tools.vendor import VendorContainer

        return VendorContainer(path)
    raise ImageError(f"{path}: a file of one image, so nothing can be chosen from it")


class OpenContainers:
    """Containers that stay open: the images of a file are read in any order, but often together."""

    def __init__(self, limit: int = 16) -> None:
        self._limit = limit
        self._open: dict[tuple[Path, int, int], Container] = {}

    def open(self, path: Path) -> Container:
        """The container at this path as it is now. Raises ImageError."""
        try:
            stat = path.stat()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        key = (path, stat.st_mtime_ns, stat.st_size)
        container = self._open.pop(key, None) or open_container(path)
        self._open[key] = container
        while len(self._open) > self._limit:
            self._open.pop(next(iter(self._open))).close()
        return container

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


containers = OpenContainers()


def hours(value: float, unit: str | None) -> float | None:
    """A time in hours; None for a unit that is not known."""
    name = (unit or "s").lower()
    factor = _HOURS.get(name, _HOURS.get(name.rstrip("s.")))
    return None if factor is None else value * factor


def well_name(row: int, column: int) -> str:
    """Row and column from 0 as a well is called: B03; rows after Z are AA, AB and so on."""
    return f"{row_letters(row)}{column + 1:02}"


def row_letters(row: int) -> str:
    """A plate's row from 0 as letters."""
    letters = ""
    row += 1
    while row > 0:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def well_metadata(row: int, column: int) -> dict[str, str]:
    """well, row and column of a well whose row and column count from 0."""
    return {
        "well": well_name(row, column),
        "row": row_letters(row),
        "column": str(column + 1),
    }

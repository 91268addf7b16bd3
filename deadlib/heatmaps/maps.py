"""Probabilities over a frame as files that other programs open: OME-TIFF and OME-Zarr.

Axes t, class, y, x. At full resolution a probability is a whole number from 0 to 255, which stands
for itself divided by 255, at every pixel of the frame; on the grid it is the network's own float,
one per window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from deadlib._version import __version__
from deadlib.errors import InputError
from deadlib.windows import Grid, upsampled

FULL, GRID = "full", "grid"
OME_TIFF, OME_ZARR = "ome-tiff", "ome-zarr"
SUFFIX = {OME_TIFF: ".ome.tif", OME_ZARR: ".ome.zarr"}
_TILE_PX = 512
_LARGE_FILE = 2**32 - 2**26
_LARGEST = 255


@dataclass(frozen=True)
class FrameMap:
    """What the network says of one frame.

    values: (rows, columns, classes) float32 on `grid`, which lies on the frame resampled by
    `scale`. shape: rows and columns of the frame itself.
    """

    values: NDArray[np.float32]
    grid: Grid
    shape: tuple[int, int]
    scale: float = 1.0

    def tile(self, place: int, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        """Probabilities of one class in a region of the frame, 255 for 1."""
        region = (top, left, height, width)
        values = upsampled(self.values[..., place], self.grid, region, self.scale)
        return np.rint(values * _LARGEST).astype(np.uint8)


@dataclass(frozen=True)
class Layout:
    """What a file of maps will hold. hours: of each frame, None where they are not known."""

    resolution: str
    frames: int
    classes: tuple[str, ...]
    grid: Grid
    shape: tuple[int, int]
    scale: float
    pixel_size_um: float | None
    hours: tuple[float, ...] | None

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Lengths of t, class, y and x."""
        rows, columns = self.shape
        if self.resolution == GRID:
            rows, columns = self.grid.rows, self.grid.columns
        return self.frames, len(self.classes), rows, columns

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32 if self.resolution == GRID else np.uint8)

    @property
    def step_px(self) -> float:
        """Pixels of the frame from one value of the map to the next."""
        return self.grid.stride_px / self.scale if self.resolution == GRID else 1.0

    @property
    def origin_px(self) -> tuple[float, float]:
        """Where in the frame the first value lies, rows and columns, in pixels."""
        if self.resolution == FULL:
            return 0.0, 0.0
        top, left = ((side / self.scale - 1) / 2 for side in self.grid.window_px)
        return top, left

    @property
    def interval_hours(self) -> float | None:
        """Time between frames, where all follow each other alike."""
        if self.hours is None or len(self.hours) < 2:
            return None
        steps = np.diff(self.hours)
        return float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-3) else None

    @property
    def description(self) -> str:
        scale = "probability = value" + (" / 255" if self.resolution == FULL else "")
        return f"probability of each class (deadlib {__version__}); axes t, class, y, x; {scale}"


def write_maps(path: Path, kind: str, layout: Layout, maps: Iterable[FrameMap]) -> None:
    """Write maps as they come; only one is in memory. kind: ome-tiff or ome-zarr.

    Raises InputError where OME-Zarr lacks its extra.
    """
    if kind == OME_ZARR:
        _write_zarr(path, layout, maps)
    else:
        _write_tiff(path, layout, maps)


def check_format(kind: str) -> None:
    """Raise InputError where a format needs what is not installed."""
    if kind == OME_ZARR:
        try:
            import zarr  # noqa: F401
        except ImportError:
            raise InputError(
                "--format ome-zarr needs an extra: pip install 'deadlib[formats]'; or write "
                "--format ome-tiff"
            ) from None


def _planes(layout: Layout, maps: Iterable[FrameMap]) -> Iterator[NDArray[Any]]:
    """(y, x) planes on the grid, in the order of the file."""
    for found in maps:
        for place in range(len(layout.classes)):
            yield np.ascontiguousarray(found.values[..., place], np.float32)


def _tiles(layout: Layout, maps: Iterable[FrameMap]) -> Iterator[NDArray[Any]]:
    """Whole tiles in the order of the file; beyond the frame they repeat nothing and are 0."""
    for found in maps:
        for place in range(len(layout.classes)):
            for top, left, height, width in _regions(found.shape):
                tile = np.zeros((_TILE_PX, _TILE_PX), np.uint8)
                tile[:height, :width] = found.tile(place, top, left, height, width)
                yield tile


def _regions(shape: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    rows, columns = shape
    for top in range(0, rows, _TILE_PX):
        for left in range(0, columns, _TILE_PX):
            yield top, left, min(_TILE_PX, rows - top), min(_TILE_PX, columns - left)


def _write_tiff(path: Path, layout: Layout, maps: Iterable[FrameMap]) -> None:
    full = layout.resolution == FULL
    data = _tiles(layout, maps) if full else _planes(layout, maps)
    big = int(np.prod(layout.size)) * layout.dtype.itemsize > _LARGE_FILE
    with tifffile.TiffWriter(path, bigtiff=big, ome=True) as writer:
        writer.write(
            data,
            shape=layout.size,
            dtype=layout.dtype,
            tile=(_TILE_PX, _TILE_PX) if full else None,
            compression="zlib",
            predictor=2 if full else 3,
            photometric="minisblack",
            metadata=_ome(layout),
        )


def _ome(layout: Layout) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "axes": "TCYX",
        "Name": "probabilities",
        "Description": layout.description,
        "Channel": {"Name": list(layout.classes)},
    }
    if layout.pixel_size_um is not None:
        size = layout.pixel_size_um * layout.step_px
        metadata |= {
            "PhysicalSizeX": size,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": size,
            "PhysicalSizeYUnit": "µm",
        }
    if layout.interval_hours is not None:
        metadata |= {"TimeIncrement": 3600 * layout.interval_hours, "TimeIncrementUnit": "s"}
    if layout.hours is not None:
        planes = [3600 * hours for hours in layout.hours for _ in layout.classes]
        metadata["Plane"] = {"DeltaT": planes, "DeltaTUnit": ["s"] * len(planes)}
    return metadata


def _write_zarr(path: Path, layout: Layout, maps: Iterable[FrameMap]) -> None:
    import zarr

    group = zarr.create_group(store=str(path), zarr_format=3, overwrite=True)
    rows, columns = layout.size[2:]
    chunk = (1, 1, min(_TILE_PX, rows), min(_TILE_PX, columns))
    array = group.create_array(
        "0",
        shape=layout.size,
        dtype=layout.dtype,
        chunks=chunk,
        dimension_names=("t", "c", "y", "x"),
    )
    for time, found in enumerate(maps):
        for place in range(len(layout.classes)):
            if layout.resolution == GRID:
                array[time, place] = found.values[..., place]
                continue
            for top, left, height, width in _regions(found.shape):
                tile = found.tile(place, top, left, height, width)
                array[time, place, top : top + height, left : left + width] = tile
    group.attrs.update({"ome": _ngff(layout), "deadlib": _own(layout)})


def _ngff(layout: Layout) -> dict[str, Any]:
    """OME-NGFF 0.5."""
    unit = {} if layout.pixel_size_um is None else {"unit": "micrometer"}
    clock = {} if layout.interval_hours is None else {"unit": "hour"}
    size = layout.step_px * (layout.pixel_size_um or 1.0)
    top, left = (place * (layout.pixel_size_um or 1.0) for place in layout.origin_px)
    step = 1.0 if layout.interval_hours is None else layout.interval_hours
    first = layout.hours[0] if layout.hours is not None and clock else 0.0
    transformations: Sequence[dict[str, Any]] = (
        {"type": "scale", "scale": [step, 1.0, size, size]},
        {"type": "translation", "translation": [first, 0.0, top, left]},
    )
    colours = ("00FFFF", "FF0000", "00FF00", "FFFF00", "FF00FF", "0000FF")
    end = 1.0 if layout.resolution == GRID else float(_LARGEST)
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "probabilities",
                "axes": [
                    {"name": "t", "type": "time", **clock},
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", **unit},
                    {"name": "x", "type": "space", **unit},
                ],
                "datasets": [{"path": "0", "coordinateTransformations": list(transformations)}],
            }
        ],
        "omero": {
            "channels": [
                {
                    "label": name,
                    "active": True,
                    "color": colours[place % len(colours)],
                    "window": {"min": 0.0, "max": end, "start": 0.0, "end": end},
                }
                for place, name in enumerate(layout.classes)
            ]
        },
    }


def _own(layout: Layout) -> dict[str, Any]:
    return {
        "description": layout.description,
        "time_hours": None if layout.hours is None else list(layout.hours),
    }

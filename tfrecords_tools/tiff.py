"""TIFF in the forms that microscopes write it: pages, ImageJ hyperstacks, OME-TIFF, STK.

tifffile reads them; here is decided which axis is what, and which page holds a plane.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from tfrecords_tools.container import Scene, hours, well_metadata
from tfrecords_tools.errors import ImageError

# With no handler at all, tifffile's remarks on damaged files would reach the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_UNNAMED = "QI"
_KNOWN = "TZC"
_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "m": 1e6}


class TiffContainer:
    """A TIFF file with several images or planes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
        except Exception as error:  # decoders raise anything on damaged files
            raise damaged(path, error) from None
        self._decoded: tuple[tuple[int, int], np.ndarray] | None = None
        try:
            ome = self._file.series[0].kind == "ome"
            self._series = self._file.series if ome else self._file.series[:1]
            if not ome:
                check_single(path, self._file)
            document = _ome_document(self._file) if ome else None
            self.companions = _companions(document, path)
            self.scenes = tuple(self._scene(number, document) for number in range(self._count))
        except ImageError:
            self.close()
            raise
        except Exception as error:  # as above
            self.close()
            raise damaged(path, error) from None

    @property
    def _count(self) -> int:
        return len(self._series)

    def plane(self, scene: int, time: int, channel: int, z: int) -> np.ndarray:
        series = self._series[scene]
        sizes = _sizes(series)
        channel, sample = divmod(channel, sizes.get("S", 1))
        wanted = {"T": time, "Z": z, "C": channel, "S": sample}
        unnamed = sum(wanted[axis] for axis in _KNOWN if axis not in sizes)
        index: list[Any] = [
            slice(None) if axis in "YX" else unnamed if axis in _UNNAMED else wanted[axis]
            for axis in series.axes
        ]
        leading = _leading(series)
        page = 0
        for place, size in zip(range(leading), series.shape, strict=False):
            page = page * size + index[place]
        pixels = self._page(scene, page).reshape(series.shape[leading:])
        return np.asarray(pixels[tuple(index[leading:])])

    def close(self) -> None:
        self._file.close()

    def _page(self, scene: int, number: int) -> np.ndarray:
        """The pixels of one page of the file; of a file of one page for all images, by offset."""
        if self._decoded is not None and self._decoded[0] == (scene, number):
            return self._decoded[1]
        series = self._series[scene]
        try:
            if not _has_all_pages(series):
                pixels = self._by_offset(series, number)
            else:
                check_complete(self._path, [series.pages[number]])
                with warnings.catch_warnings():
                    # A file of an OME-TIFF in several is opened for each of its pages.
                    warnings.simplefilter("ignore", UserWarning)
                    pixels = self._file.asarray(key=number, series=scene)
        except ImageError:
            raise
        except Exception as error:  # as above
            raise damaged(self._path, error) from None
        pixels = as_intensities(pixels, series.keyframe)
        self._decoded = ((scene, number), pixels)
        return pixels

    def _by_offset(self, series: tifffile.TiffPageSeries, number: int) -> np.ndarray:
        """ImageJ writes more than 4 GB behind the description of the first page alone."""
        shape = series.shape[_leading(series) :]
        count = math.prod(shape)
        dtype = np.dtype(series.dtype).newbyteorder(self._file.byteorder)
        if series.dataoffset is None:
            raise ImageError(f"{self._path}: several images in one compressed page; save as pages")
        offset = series.dataoffset + number * count * dtype.itemsize
        pixels = np.fromfile(self._path, dtype=dtype, count=count, offset=offset)
        if pixels.size < count:
            raise ImageError(f"{self._path}: cut: image {number + 1} is not whole; copy it again")
        return pixels.reshape(shape)

    def _scene(self, number: int, document: ElementTree.Element | None) -> Scene:
        series = self._series[number]
        sizes = _sizes(series)
        other = set(sizes) - set("YXS" + _KNOWN + _UNNAMED)
        if other or sum(axis in _UNNAMED for axis in sizes) > 1:
            raise ImageError(
                f"{self._path}: a stack of shape {series.shape} (axes {series.axes}), expected "
                "axes T, Z, C, Y, X; save it as OME-TIFF with these"
            )
        frames = sizes.get("T", 1)
        channels = sizes.get("C", 1) * sizes.get("S", 1)
        names, times, metadata = _ome_facts(document, number, self._count, frames)
        if document is None:
            metadata = _imagej_pixel_size(self._file)
            times = _imagej_hours(self._file, frames) or _stk_hours(self._file, frames)
        return Scene(
            name=series.name,
            frames=frames,
            planes=sizes.get("Z", 1),
            channels=channels,
            pages=math.prod(size for axis, size in sizes.items() if axis in _UNNAMED),
            channel_names=names if len(names) == channels else (),
            hours=times,
            metadata=metadata,
        )


def read_tiff(path: Path) -> tuple[np.ndarray, bool]:
    """A TIFF of one image as (height, width, channel), and whether the last channel is alpha."""
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            check_single(path, file)
            check_complete(path, series.pages)
            pixels = as_intensities(series.asarray(), series.keyframe)
            # 1: associated, 2: unassociated alpha; 0: any channel.
            alpha = tuple(series.keyframe.extrasamples) in ((1,), (2,))
            return _channels_last(path, pixels, series.axes), alpha and pixels.dtype.kind == "u"
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise damaged(path, error) from None


def as_intensities(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Bits as 0 and 255; where white is stored as 0, turned round."""
    depth = page.bitspersample
    if pixels.dtype == bool:
        pixels, depth = pixels.astype(np.uint8) * np.uint8(255), 8
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
        pixels = pixels.dtype.type(2**depth - 1) - pixels
    return pixels


def check_single(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse a file with several images; reduced copies and stubs beside the first do not count.

    Phase microscopes have been seen to append an empty page of 1 x 1 pixel.
    """
    others = [
        series
        for series in file.series[1:]
        if not series.keyframe.is_reduced and series.keyframe.shape[:2] != (1, 1)
    ]
    if others:
        sizes = ", ".join(str(series.shape) for series in [file.series[0], *others])
        raise ImageError(
            f"{path}: holds {1 + len(others)} images of shapes {sizes}; save one file per image, "
            "or an OME-TIFF that says what they are"
        )


def check_complete(path: Path, pages: Iterable[tifffile.TiffPage | None]) -> None:
    """Refuse a file that ends before its last pixel: some codecs would fill the rest in."""
    for page in pages:
        if page is None:
            raise ImageError(
                f"{path}: part of the image is missing, or in a file that is; add the file, or "
                "export it again"
            )
        if not all(page.databytecounts):
            raise ImageError(f"{path}: part of the image was never written; export it again")
        end = max(
            offset + count
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        size = page.parent.filehandle.size
        if end > size:
            raise ImageError(
                f"{path}: cut: {size} bytes, expected at least {end}; copy it again from the "
                "microscope"
            )


def damaged(path: Path, error: Exception) -> ImageError:
    """What a decoder said, as our own error."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ImageError(
        f"{path}: damaged or cut ({reason}), expected a whole image; copy it again from the "
        "microscope"
    )


def _sizes(series: tifffile.TiffPageSeries) -> dict[str, int]:
    return dict(zip(series.axes, series.shape, strict=True))


def _leading(series: tifffile.TiffPageSeries) -> int:
    """How many of the first axes count pages; the others lie within a page."""
    pages = len(series.pages)
    if _has_all_pages(series):
        return next(n for n in range(series.ndim) if math.prod(series.shape[:n]) == pages)
    return series.ndim - 2 - ("S" in series.axes)


def _has_all_pages(series: tifffile.TiffPageSeries) -> bool:
    return math.prod(series.shape) == len(series.pages) * math.prod(series.keyframe.shape)


def _channels_last(path: Path, pixels: np.ndarray, axes: str) -> np.ndarray:
    """Order axes as (Y, X, channel). Lengths of 1 are dropped; Z and T may not be longer."""
    kept = [(axis, length) for axis, length in zip(axes, pixels.shape, strict=True)]
    long = "".join(axis for axis, length in kept if length > 1 or axis in "YX")
    pixels = pixels.reshape([length for axis, length in kept if length > 1 or axis in "YX"])
    if long == "YX":
        return pixels[..., None]
    if long in ("YXS", "YXC"):
        return pixels
    if long in ("SYX", "CYX"):
        return np.moveaxis(pixels, 0, -1)
    raise ImageError(
        f"{path}: a stack of shape {pixels.shape} (axes {long}), expected one image (YX, YXS or "
        "CYX); name one of them, as in #t=0 or #z=max"
    )


def _ome_document(file: tifffile.TiffFile) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(file.ome_metadata or "")
    except ElementTree.ParseError:
        return None


def _companions(document: ElementTree.Element | None, path: Path) -> tuple[str, ...]:
    if document is None:
        return ()
    names = [element.get("FileName") for element in document.iterfind(".//{*}TiffData/{*}UUID")]
    return tuple(dict.fromkeys(name for name in names if name and name != path.name))


def _ome_facts(
    document: ElementTree.Element | None, number: int, count: int, frames: int
) -> tuple[tuple[str, ...], tuple[float, ...], dict[str, str]]:
    """Channel names, hours and metadata of one image of an OME document."""
    images = [] if document is None else document.findall("{*}Image")
    if document is None or len(images) != count:
        return (), (), {}
    image = images[number]
    pixels = image.find("{*}Pixels")
    metadata = _ome_well(document, image.get("ID"))
    if pixels is None:
        return (), (), metadata
    names = [channel.get("Name") or "" for channel in pixels.iterfind("{*}Channel")]
    size, unit = pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit") or "µm"
    if size is not None and unit in _MICROMETRES:
        metadata["pixel_size_um"] = f"{float(size) * _MICROMETRES[unit]:.6g}"
    return tuple(names) if all(names) else (), _ome_hours(pixels, frames), metadata


def _ome_hours(pixels: ElementTree.Element, frames: int) -> tuple[float, ...]:
    found: dict[int, float] = {}
    for plane in pixels.iterfind("{*}Plane"):
        delta = plane.get("DeltaT")
        value = None if delta is None else hours(float(delta), plane.get("DeltaTUnit"))
        if value is not None:
            time = int(plane.get("TheT", 0))
            found[time] = min(value, found.get(time, value))
    if all(time in found for time in range(frames)):
        return tuple(found[time] for time in range(frames))
    step = pixels.get("TimeIncrement")
    value = None if step is None else hours(float(step), pixels.get("TimeIncrementUnit"))
    return () if value is None else tuple(time * value for time in range(frames))


def _ome_well(document: ElementTree.Element, image_id: str | None) -> dict[str, str]:
    """Plate, well and field of an image, where the document has plates."""
    for plate in document.iterfind("{*}Plate"):
        for well in plate.iterfind("{*}Well"):
            for place, sample in enumerate(well.iterfind("{*}WellSample")):
                reference = sample.find("{*}ImageRef")
                if reference is None or reference.get("ID") != image_id:
                    continue
                name = plate.get("ExternalIdentifier") or plate.get("Name") or plate.get("ID") or ""
                position = well_metadata(int(well.get("Row", 0)), int(well.get("Column", 0)))
                return {"plate": name, **position, "field": str(place + 1)}
    return {}


def _imagej_pixel_size(file: tifffile.TiffFile) -> dict[str, str]:
    """What ImageJ keeps as resolution, where its unit is a length and no paper's."""
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    unit = {"micron": "µm", "microns": "µm", "micrometer": "µm", "μm": "µm"}.get(unit, unit)
    resolution = file.pages.first.tags.get("XResolution")
    if unit not in _MICROMETRES or resolution is None or not all(resolution.value):
        return {}
    pixels, length = resolution.value
    return {"pixel_size_um": f"{length / pixels * _MICROMETRES[unit]:.6g}"}


def _imagej_hours(file: tifffile.TiffFile, frames: int) -> tuple[float, ...]:
    metadata = file.imagej_metadata or {}
    value = metadata.get("finterval")
    step = hours(float(value), metadata.get("tunit")) if value else None
    return () if step is None else tuple(time * step for time in range(frames))


def _stk_hours(file: tifffile.TiffFile, frames: int) -> tuple[float, ...]:
    """Times of a MetaMorph stack, from its first frame on."""
    if not file.is_stk or frames == 1:
        return ()
    created = (file.stk_metadata or {}).get("DatetimeCreated")
    if created is None or len(created) != frames:
        return ()
    seconds = (np.asarray(created) - created[0]) / np.timedelta64(1, "s")
    return tuple(float(value) / 3600 for value in seconds)

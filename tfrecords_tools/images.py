"""Image files as arrays: what the microscope wrote, or one clear reason why not.

An image is a (height, width, channel) array of uint8, uint16 or float32, with the intensities of
the file. PNG, JPEG and BMP are read with pillow, TIFF with tifffile; files that hold many images
as `container` says.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import imagecodecs
import numpy as np
from PIL import Image

from tfrecords_tools.container import VENDOR_SUFFIXES, ZARR_SUFFIX, containers
from tfrecords_tools.errors import ImageError
from tfrecords_tools.locator import Locator
from tfrecords_tools.planes import one_image
from tfrecords_tools.resample import resampled
from tfrecords_tools.sketch import sketch
from tfrecords_tools.tiff import damaged, read_tiff

_FORMAT_OF_SUFFIX = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".stk": "TIFF",
}
IMAGE_SUFFIXES = (*_FORMAT_OF_SUFFIX, *VENDOR_SUFFIXES, ZARR_SUFFIX)

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", "GIF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x89HDF", "HDF5"),
    (b"%PDF", "PDF"),
    (b"RIFF", "RIFF (WebP)"),
)


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image once it has been decoded.

    `low` and `high` are the smallest and largest intensity of each channel, in the file's units;
    `sha256` is `pixel_hash` of the image, `crc32c` its `pixel_checksum`, `sketch` what tells
    whether another image shows the same, None where it was not asked for.
    """

    height_px: int
    width_px: int
    channels: int
    dtype: str
    sha256: str
    crc32c: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    sketch: str | None = None


def read_image(locator: str | Path | Locator) -> np.ndarray:
    """Read one image as (height, width, channel) uint8, uint16 or float32.

    locator: a file, or one image of a file that holds several (`locator.Locator`).

    Palettes are expanded, an alpha channel that is opaque everywhere is dropped, 1-bit images
    become 0 and 255. A TIFF's colour map (a display choice in microscopy) is not applied.

    Raises ImageError, naming the file, where it is missing, empty, cut, not what its suffix says,
    a stack of which nothing is chosen, transparent, of another depth, or holds values that are
    not finite.
    """
    place = locator if isinstance(locator, Locator) else Locator.parse(str(locator))
    path = Path(place.files[0])
    if place.zoom is not None:
        return resampled(read_image(replace(place, zoom=None)), place.zoom)
    if len(place.files) > 1:
        image = _read_planes(place)
    elif place.is_whole_file and path.suffix.lower() not in (*VENDOR_SUFFIXES, ZARR_SUFFIX):
        image = _read_file(path)
    else:
        image = _read_chosen(path, place)
    if image.size == 0:
        raise ImageError(f"{path}: the image has no pixels (shape {image.shape})")
    return np.ascontiguousarray(_checked_values(path, image))


def read_stack(locators: Sequence[str | Path]) -> np.ndarray:
    """Read one image, or join single-channel images in this order as (height, width, channel).

    8-bit channels beside 16-bit ones are widened (x 257), so that the full range stays the full
    range and reading the records gives the same values as for the channel alone.

    Raises ImageError where a file cannot be read, or where the channels to join differ in size or
    kind or hold several channels themselves.
    """
    if not locators:
        raise ImageError("no image files given; expected one, or one per channel")
    first = read_image(locators[0])
    if len(locators) == 1:
        return first
    planes = [first]
    planes.extend(read_image(locator) for locator in locators[1:])
    if {plane.dtype.name for plane in planes} == {"uint8", "uint16"}:
        planes = [_widened(plane) for plane in planes]
    for locator, plane in zip(locators, planes, strict=True):
        if plane.shape[2] != 1:
            raise ImageError(
                f"{locator}: holds {plane.shape[2]} channels, expected 1, as it is joined with "
                f"{len(locators) - 1} other channel files; convert it to grey or give it alone"
            )
        if plane.shape != planes[0].shape or plane.dtype != planes[0].dtype:
            raise ImageError(
                f"{locator}: {_in_words(plane)}, but {locators[0]}, another channel of the same "
                f"image, is {_in_words(planes[0])}; export both channels alike"
            )
    return np.concatenate(planes, axis=2)


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 (hexadecimal) over data type, shape and pixels: equal only for identical images."""
    digest = hashlib.sha256(f"{image.dtype.name}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def pixel_checksum(image: np.ndarray) -> int:
    """CRC32C of the same bytes: enough to notice that an image has changed, ten times as fast."""
    start = google_crc32c.value(f"{image.dtype.name}{image.shape}".encode())
    pixels = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    return int(google_crc32c.extend(start, pixels))


def examine(locators: Sequence[str | Path], sketched: bool = False) -> ImageFacts:
    """Decode an image (or its channels, as `read_stack`) fully and say what it is.

    Raises ImageError as `read_stack` does.
    """
    image = read_stack(locators)
    height, width, channels = image.shape
    return ImageFacts(
        height_px=height,
        width_px=width,
        channels=channels,
        dtype=image.dtype.name,
        sha256=pixel_hash(image),
        crc32c=pixel_checksum(image),
        low=tuple(float(value) for value in image.min(axis=(0, 1))),
        high=tuple(float(value) for value in image.max(axis=(0, 1))),
        sketch=sketch(image) if sketched else None,
    )


def _read_file(path: Path) -> np.ndarray:
    """A file that is one image."""
    _check_signature(path)
    if _FORMAT_OF_SUFFIX[path.suffix.lower()] != "TIFF":
        return _read_with_pillow(path)
    image, alpha = read_tiff(path)
    return _without_alpha(path, image) if alpha else image


def _read_chosen(path: Path, place: Locator) -> np.ndarray:
    """One image of a file that holds several, its planes made one."""
    if path.suffix.lower() in _FORMAT_OF_SUFFIX:
        _check_signature(path)
    container = containers.open(path)
    number = place.scene or 0
    if number >= len(container.scenes):
        raise ImageError(f"{path}: has {len(container.scenes)} scenes, none of number {number}")
    scene = container.scenes[number]
    time = place.time or 0
    # Where the file does not name its axis of pages, the choice made of them does.
    frames, planes, channels = scene.frames, scene.planes, scene.channels
    if place.time is not None and frames == 1:
        frames = scene.pages
    elif place.z is not None and planes == 1:
        planes = scene.pages
    elif place.channels is not None and channels == 1:
        channels = scene.pages
    chosen = tuple(range(channels)) if place.channels is None else place.channels
    if time >= frames or max(chosen) >= channels:
        raise ImageError(
            f"{path}: has {frames} frames of {channels} channels, none of {place}; was the file "
            "replaced?"
        )
    if frames > 1 and place.time is None:
        raise ImageError(f"{path}: a stack of {frames} frames, of which none is chosen")

    def channel_image(channel: int) -> np.ndarray:
        return one_image(lambda z: container.plane(number, time, channel, z), planes, place.z)

    try:
        return np.stack([channel_image(channel) for channel in chosen], axis=2)
    except ValueError as error:
        raise ImageError(f"{path}: {error}; choose with --z") from None


def _read_planes(place: Locator) -> np.ndarray:
    """Planes in files of their own, made one image."""

    def plane(number: int) -> np.ndarray:
        image = _read_file(Path(place.files[number]))
        if number and image.shape != shape:
            raise ImageError(
                f"{place.files[number]}: {_in_words(image)}, but {place.files[0]}, another plane "
                f"of the same image, is {shape[0]} x {shape[1]} px; export them alike"
            )
        return image

    shape = plane(0).shape
    return one_image(plane, len(place.files), place.z)


def _widened(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint16 else image.astype(np.uint16) * np.uint16(257)


def _check_signature(path: Path) -> None:
    """Refuse what is missing, empty or not the format that the suffix promises."""
    expected = _FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if expected is None:
        raise ImageError(
            f"{path}: unknown image suffix {path.suffix!r}; expected {', '.join(IMAGE_SUFFIXES)}"
        )
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    if not start:
        raise ImageError(f"{path}: the file is empty (0 bytes); copy it again from the microscope")
    found = next((name for magic, name in _SIGNATURES if start.startswith(magic)), None)
    if found == expected:
        return
    if found is None:
        raise ImageError(
            f"{path}: not a {expected} file (it starts with {start[:8]!r}); it is damaged or of "
            "another format: export it again"
        )
    suffix = next((known for known, name in _FORMAT_OF_SUFFIX.items() if name == found), None)
    advice = f"rename it to {suffix}" if suffix else "export it again as PNG or TIFF"
    raise ImageError(
        f"{path}: named {path.suffix} but the content is {found}, expected {expected}; {advice}"
    )


def _read_with_pillow(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as probe:
                # Reading to the last chunk and its checksum: decoding alone lets a changed byte by.
                probe.verify()
            with Image.open(path) as image:
                image.load()
                return _pillow_pixels(path, image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large for this format ({error}); save it as TIFF") from None
    except Exception as error:  # decoders raise anything on damaged files
        raise damaged(path, error) from None


def _pillow_pixels(path: Path, image: Image.Image) -> np.ndarray:
    """The pixels of a loaded pillow image; its modes are many, ours are three."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{path}: holds {frames} frames, expected 1; save one file per frame")
    if image.format == "PNG" and _png_depth(path) == 16:
        # pillow would hand on 16-bit colour as 8 bit, and in some versions grey as 32 bit.
        return _without_alpha(path, _with_channel_axis(imagecodecs.imread(path)))
    if image.mode == "1":
        image = image.convert("L")
    if image.mode == "P":
        image = _expanded_palette(image)
    elif "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(
            f"{path}: pixels of kind {image.mode!r}, expected grey or RGB; convert the image"
        )
    return _without_alpha(path, _with_channel_axis(np.asarray(image)))


def _expanded_palette(image: Image.Image) -> Image.Image:
    """A palette image in its own colours; one channel where the palette holds greys only."""
    colours = np.array(image.getpalette("RGB")).reshape(-1, 3)
    grey = bool((colours == colours[:, :1]).all())
    return image.convert("LA" if grey else "RGBA")


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _with_channel_axis(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _without_alpha(path: Path, image: np.ndarray) -> np.ndarray:
    """Drop the last channel of grey + alpha or RGB + alpha where it is opaque everywhere."""
    if image.shape[2] not in (2, 4):
        return image
    if (image[..., -1] != np.iinfo(image.dtype).max).any():
        raise ImageError(
            f"{path}: partly transparent, so its intensities are not defined; save it without an "
            "alpha channel"
        )
    return image[..., :-1]


def _checked_values(path: Path, image: np.ndarray) -> np.ndarray:
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.dtype == np.float16:
        image = image.astype(np.float32)
    if image.dtype.name not in ("uint8", "uint16", "float32"):
        raise ImageError(
            f"{path}: {image.dtype.name} pixels, expected uint8, uint16 or float32; convert the "
            "image"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise ImageError(
            f"{path}: {count} of {image.size} values are not finite (NaN or infinite), expected "
            "numbers only; export it again without masking"
        )
    return image


def _in_words(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]} px {image.dtype.name}"

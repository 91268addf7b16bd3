"""Image files as arrays: what the microscope wrote, or one clear reason why not.

An image is a (height, width, channel) array of uint8, uint16 or float32, with the intensities of
the file. PNG, JPEG and BMP are read with pillow, TIFF with tifffile.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tfrecords_tools.errors import ImageError

_FORMAT_OF_SUFFIX = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
IMAGE_SUFFIXES = tuple(_FORMAT_OF_SUFFIX)

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

# With no handler at all, tifffile's remarks on damaged files would reach the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image once it has been decoded.

    `low` and `high` are the smallest and largest intensity of each channel, in the file's units;
    `sha256` is `pixel_hash` of the image.
    """

    height_px: int
    width_px: int
    channels: int
    dtype: str
    sha256: str
    low: tuple[float, ...]
    high: tuple[float, ...]


def read_image(path: str | Path) -> np.ndarray:
    """Read one image file as (height, width, channel) uint8, uint16 or float32.

    Palettes are expanded, an alpha channel that is opaque everywhere is dropped, 1-bit images
    become 0 and 255. Of a TIFF the first image is read; its colour map (a display choice in
    microscopy) is not applied.

    Raises ImageError, naming the file, where it is missing, empty, cut, not what its suffix says,
    a stack, transparent, of another depth, or holds values that are not finite.
    """
    path = Path(path)
    _check_signature(path)
    if _FORMAT_OF_SUFFIX[path.suffix.lower()] == "TIFF":
        image = _read_tiff(path)
    else:
        image = _read_with_pillow(path)
    if image.size == 0:
        raise ImageError(f"{path}: the image has no pixels (shape {image.shape})")
    return np.ascontiguousarray(_checked_values(path, image))


def read_stack(paths: Sequence[str | Path]) -> np.ndarray:
    """Read one image file, or join single-channel files in this order as (height, width, channel).

    Raises ImageError where a file cannot be read, or where the files to join differ in size or
    depth or hold several channels themselves.
    """
    if not paths:
        raise ImageError("no image files given; expected one, or one per channel")
    first = read_image(paths[0])
    if len(paths) == 1:
        return first
    planes = [first]
    planes.extend(read_image(path) for path in paths[1:])
    for path, plane in zip(paths, planes, strict=True):
        if plane.shape[2] != 1:
            raise ImageError(
                f"{path}: holds {plane.shape[2]} channels, expected 1, as it is joined with "
                f"{len(paths) - 1} other channel files; convert it to grey or give it alone"
            )
        if plane.shape != first.shape or plane.dtype != first.dtype:
            raise ImageError(
                f"{path}: {_in_words(plane)}, but {paths[0]}, another channel of the same image, "
                f"is {_in_words(first)}; export both channels alike"
            )
    return np.concatenate(planes, axis=2)


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 (hexadecimal) over data type, shape and pixels: equal only for identical images."""
    digest = hashlib.sha256(f"{image.dtype.name}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def examine(paths: Sequence[str | Path]) -> ImageFacts:
    """Decode an image (or channel files, as `read_stack`) fully and say what it is.

    Raises ImageError as `read_stack` does.
    """
    image = read_stack(paths)
    height, width, channels = image.shape
    return ImageFacts(
        height_px=height,
        width_px=width,
        channels=channels,
        dtype=image.dtype.name,
        sha256=pixel_hash(image),
        low=tuple(float(value) for value in image.min(axis=(0, 1))),
        high=tuple(float(value) for value in image.max(axis=(0, 1))),
    )


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
        raise _damaged(path, error) from None


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


def _read_tiff(path: Path) -> np.ndarray:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            _check_single(path, file)
            _check_complete(path, series)
            pixels, axes = series.asarray(), series.axes
            page = series.keyframe
            photometric, depth = page.photometric, page.bitspersample
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise _damaged(path, error) from None
    image = _channels_last(path, pixels, axes)
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
        depth = 8
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and image.dtype.kind == "u":
        image = image.dtype.type(2**depth - 1) - image
    alpha = tuple(page.extrasamples) in ((1,), (2,))  # associated, unassociated; 0: any channel
    return _without_alpha(path, image) if alpha and image.dtype.kind == "u" else image


def _check_single(path: Path, file: tifffile.TiffFile) -> None:
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
            f"{path}: holds {1 + len(others)} images of shapes {sizes}; save one file per image"
        )


def _check_complete(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Refuse a file that ends before its last pixel: some codecs would fill the rest in."""
    size = path.stat().st_size
    for page in series.pages:
        if page is None or not all(page.databytecounts):
            raise ImageError(f"{path}: part of the image was never written; export it again")
        end = max(
            offset + count
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        if end > size:
            raise ImageError(
                f"{path}: cut: {size} bytes, expected at least {end}; copy it again from the "
                "microscope"
            )


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
        "CYX); save one file per plane, or name the channel axis C in the TIFF's metadata"
    )


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


def _damaged(path: Path, error: Exception) -> ImageError:
    reason = str(error).strip() or type(error).__name__
    return ImageError(
        f"{path}: damaged or cut ({reason}), expected a whole image; copy it again from the "
        "microscope"
    )

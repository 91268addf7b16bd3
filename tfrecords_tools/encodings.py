"""How the pixels of an example are stored: raw, PNG or JPEG.

`raw` is the pixels in C order, little-endian. `png` is lossless, for uint8 and uint16. `jpeg`, or
`jpeg:90` with a quality from 1 to 100, is for uint8 of 1 or 3 channels and loses data. A PNG of 1,
3 or 4 channels is an ordinary picture; other numbers of channels stand in it as planes one under
another, as PNG has no such pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import imagecodecs
import numpy as np

from tfrecords_tools.errors import PlanError
from tfrecords_tools.settings import parse_encoding

DTYPES = ("uint8", "uint16", "float32")
PNG_CHANNELS = (1, 3, 4)


def check_encoding(encoding: str, dtypes: Iterable[str], channels: int) -> None:
    """Raise PlanError where images of these data types and channels cannot be stored so."""
    name, _ = parse_encoding(encoding)
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise PlanError(f"records hold {', '.join(DTYPES)}, found an image of {dtype}")
        if name == "png" and dtype == "float32":
            raise PlanError("PNG holds 8- and 16-bit integers, found float32; use the encoding raw")
        if name == "jpeg" and (dtype != "uint8" or channels not in (1, 3)):
            raise PlanError(
                f"JPEG holds 8 bits and 1 or 3 channels, found {dtype} and {channels}; use raw or "
                "png"
            )


def in_words(encoding: str, pixels_bytes: int | None, stored_bytes: int) -> str:
    """What the encoding did to this dataset, and why one would choose it.

    pixels_bytes: None where images have several data types and nobody added them up.
    """
    why = {
        "raw": "read fastest; png keeps every bit too, in less space, and is read more slowly",
        "png": "every bit kept; raw is larger and read faster",
        "jpeg": "smallest, with altered pixels",
    }[parse_encoding(encoding)[0]]
    of_pixels = "" if pixels_bytes is None else f" for {pixels_bytes / 1e6:.1f} MB of pixels"
    return f"encoding {encoding}: {stored_bytes / 1e6:.1f} MB{of_pixels}; {why}"


def losses(encoding: str) -> list[str]:
    """What is lost, in a sentence; nothing for the lossless encodings."""
    name, quality = parse_encoding(encoding)
    if name != "jpeg":
        return []
    return [
        f"JPEG of quality {quality} changes pixels: intensities are not those of the files any "
        "more, and fine texture is lost; raw and png keep every bit"
    ]


def encode_image(image: np.ndarray, encoding: str) -> bytes | np.ndarray:
    """The bytes of a (height, width, channel) image; raw ones as a flat array. Raises PlanError."""
    name, quality = parse_encoding(encoding)
    height, width, channels = image.shape
    check_encoding(encoding, [image.dtype.name], channels)
    if name == "raw":
        pixels = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
        return pixels.reshape(-1).view(np.uint8)
    if channels not in PNG_CHANNELS:
        image = np.moveaxis(image, -1, 0).reshape(channels * height, width, 1)
    # A copy, as views of one pixel may be contiguous for numpy and not for imagecodecs.
    plane = np.array(image[..., 0] if image.shape[2] == 1 else image, order="C")
    if name == "png":
        # Camera noise repeats nothing that a search for longer matches would find: run lengths are
        # as small as zlib's usual level 6, written five times and read up to twice as fast.
        return bytes(imagecodecs.png_encode(plane, level=1, strategy=imagecodecs.PNG.STRATEGY.RLE))
    return bytes(imagecodecs.jpeg8_encode(plane, level=quality, subsampling="444"))


def decode_pixels(
    data: bytes | memoryview, height: int, width: int, channels: int, dtype: str, encoding: str
) -> np.ndarray:
    """The (height, width, channel) image. Raises ValueError or RuntimeError where damaged."""
    if encoding == "raw":
        flat = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))
        return flat.astype(dtype).reshape(height, width, channels)
    decode = imagecodecs.png_decode if encoding == "png" else imagecodecs.jpeg8_decode
    pixels = np.asarray(decode(bytes(data)))
    if channels in PNG_CHANNELS:
        return pixels.reshape(height, width, channels)
    planes = pixels.reshape(channels, height, width)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

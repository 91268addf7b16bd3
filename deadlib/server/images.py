"""Image files that were sent: as trusted as any stranger's, and kept nowhere."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile
from PIL import Image

from tfrecords_tools.container import Scene, open_container
from tfrecords_tools.errors import ImageError
from tfrecords_tools.images import read_image
from tfrecords_tools.tiff import damaged

_SUFFIXES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",
    b"MM\0+": ".tif",
}

# With no handler at all, pillow's and tifffile's remarks on damaged files reach the terminal.
for name in ("PIL", "tifffile"):
    logging.getLogger(name).addHandler(logging.NullHandler())


def sent_images(
    file: BinaryIO, *, channels: int, largest_px: int, most_frames: int
) -> Iterator[np.ndarray]:
    """The images (H, W, C) of a file that was sent: one, or the frames of a lapse.

    channels: of the model; so many unnamed pages of a TIFF are one image, any other number of
    pages are frames. The file lies in a folder of its own until the last image is read; its format
    is what it holds, whatever it is called.

    Raises ImageError, whose message names no file, for what is no image, is damaged, a stack in z,
    larger than `largest_px` (height x width), longer than `most_frames`, or of more channels than
    any image that the model could be asked about: the last three before anything is decoded.
    """
    with tempfile.TemporaryDirectory(prefix="deadlib-serve-") as folder:
        path = Path(folder) / f"image{_suffix(file)}"
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        try:
            _refuse_bombs(path, largest_px, most_frames, _most_channels(channels))
            yield from _images(path, channels)
        except ImageError as error:
            raise ImageError(
                str(error).removeprefix(f"{path}: ").replace(str(path), "it")
            ) from None


def _images(path: Path, channels: int) -> Iterator[np.ndarray]:
    if path.suffix != ".tif":
        yield read_image(path)
        return
    with closing(open_container(path)) as container:
        if len(container.scenes) > 1:
            raise ImageError(
                f"{path}: holds {len(container.scenes)} scenes; save each as a file of its own"
            )
        scene = container.scenes[0]
        _refuse_channels(path, scene.channels, _most_channels(channels))
        if max(scene.frames, scene.planes, scene.pages) == 1:
            yield read_image(path)
            return
        frames, planes = _frames_and_channels(path, scene, channels)
        for frame in range(frames):
            image = [container.plane(0, frame, channel, 0) for channel in range(planes)]
            yield np.ascontiguousarray(np.stack(image, axis=2))


def _frames_and_channels(path: Path, scene: Scene, channels: int) -> tuple[int, int]:
    if scene.planes > 1:
        raise ImageError(
            f"{path}: a stack of {scene.planes} planes in z; send one plane, or a projection"
        )
    if scene.pages > 1 and scene.frames > 1:
        raise ImageError(
            f"{path}: {scene.frames} frames of {scene.pages} images each, and the file does not "
            "say what these are; save it as OME-TIFF with named axes"
        )
    if scene.channels == 1 and scene.pages == channels:
        return scene.frames, channels
    return max(scene.frames, scene.pages), scene.channels


def _suffix(file: BinaryIO) -> str:
    start = file.read(16)
    file.seek(0)
    for magic, suffix in _SUFFIXES.items():
        if start.startswith(magic):
            return suffix
    if not start:
        raise ImageError("the file is empty (0 bytes)")
    raise ImageError(
        f"not a PNG, JPEG, BMP or TIFF file (it begins with {start[:8]!r}); export it as "
        "one of these"
    )


def _most_channels(channels: int) -> int:
    """Those of the model; files of other programs, which are told what it takes, have up to 4."""
    return max(4, channels)


def _refuse_channels(path: Path, found: int, most: int) -> None:
    if found > most:
        raise ImageError(f"{path}: {found} channels, expected at most {most}")


def _refuse_bombs(path: Path, largest_px: int, most_frames: int, most_channels: int) -> None:
    """Read headers only: a small file can promise more pixels than there is memory."""
    if path.suffix == ".tif":
        height, width = _tiff_size(path, most_frames, most_channels)
    else:
        try:
            with Image.open(path) as image:
                width, height = image.size
        except Exception:  # the same reader meets it again, and what it says is explained there
            return
    if height * width > largest_px:
        raise ImageError(
            f"{path}: {height} x {width} px, expected at most {largest_px / 1e6:,.0f} million px; "
            "cut it into smaller images"
        )


def _tiff_size(path: Path, most_frames: int, most_channels: int) -> tuple[int, int]:
    """Rows and columns of the largest page or tile. Raises ImageError for all that is refused."""
    try:
        with path.open("rb") as data, tifffile.TiffFile(data) as file:
            _refuse_other_files(path, file.ome_metadata)
            if len(file.pages) > most_frames:
                raise ImageError(
                    f"{path}: holds {len(file.pages)} images, expected at most {most_frames}; send "
                    "them in several files"
                )
            sizes = []
            for page in (series.keyframe for series in file.series):
                rows, columns = page.imagelength, page.imagewidth
                _refuse_channels(path, page.size // max(1, rows * columns), most_channels)
                sizes += [(rows, columns), (page.tilelength, page.tilewidth)]
            return max(sizes, key=math.prod)
    except ImageError:
        raise
    except Exception as error:  # tifffile raises anything on damaged files
        raise damaged(path, error) from None


def _refuse_other_files(path: Path, ome: str | None) -> None:
    """An OME-TIFF may name other files, and readers open them: here those of the server."""
    if ome is None:
        return
    root = ElementTree.fromstring(ome)
    own = root.get("UUID")
    named = {
        (part.text or "").strip() for part in root.iter() if part.tag.rpartition("}")[2] == "UUID"
    }
    binary_only = any(part.tag.rpartition("}")[2] == "BinaryOnly" for part in root.iter())
    if binary_only or named - {own}:
        raise ImageError(
            f"{path}: an OME-TIFF that is spread over several files; save it as one file"
        )

"""What a source folder holds: image files, what is known of each, and what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfrecords_tools.container import ZARR_SUFFIX
from tfrecords_tools.cut import Window
from tfrecords_tools.errors import SourceError
from tfrecords_tools.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
"""One image, or one box, on the way to the table: source_id, source_paths, label, metadata."""


class Problem(NamedTuple):
    """A source image or table row that cannot be used: where, and why with what to do."""

    path: str
    reason: str


class SourceImage(NamedTuple):
    """One image: where it is read from, and what is known of it.

    paths: locators, one for the image or one per channel. parts: what names and files say of it.
    channels: names of all its channels, () where none are known. position: what it shares with the
    other frames of one field in one file; None for an image that is a file of its own.
    """

    paths: tuple[str, ...]
    parts: Mapping[str, str]
    channels: tuple[str, ...] = ()
    position: str | None = None


@dataclass
class Sources:
    """What a source folder holds.

    rows: one per image, or per box; columns source_id, source_paths (tuple of locators below the
    source folder), label (None where unknown), metadata, and with boxes xmin ymin xmax ymax.
    channels: names in the order of the images, () where neither the user nor the files name them.
    warnings: doubts about the labels. windows: where experts annotated each image, by source_id;
    beyond_border: whether these may reach past the image's border, as windows around boxes do.
    """

    rows: pd.DataFrame
    metadata: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    beyond_border: bool = False


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts image_2 before image_10."""
    return tuple(
        (0, int(piece), piece) if piece.isdecimal() else (1, 0, piece)
        for piece in re.split(r"(\d+)", text)
        if piece
    )


def find_images(source: Path) -> list[str]:
    """Posix paths below `source` of every image file, in natural order; hidden ones are left out.

    A folder that is an image (.zarr) counts as one file.

    Raises SourceError where there is no such folder or no image in it.
    """
    if not source.exists():
        raise SourceError(f"{source}: no such folder; give the folder that holds the images")
    if not source.is_dir():
        raise SourceError(f"{source}: a file, expected the folder that holds the images")
    if source.suffix.lower() == ZARR_SUFFIX:
        raise SourceError(f"{source}: an image itself; give the folder that it lies in")
    found: list[str] = []
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        images = [name for name in subfolders if Path(name).suffix.lower() == ZARR_SUFFIX]
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and name not in images
        ]
        found += [
            (Path(folder) / name).relative_to(source).as_posix()
            for name in (*names, *images)
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    if not found:
        raise SourceError(
            f"{source}: no images found; expected files that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return sorted(found, key=natural_key)

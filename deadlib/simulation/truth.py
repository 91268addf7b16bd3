"""What is written: images, masks and tables, byte for byte the same for the same arguments."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image


@dataclass
class Rendered:
    """Rows for images.csv, truth/cells.csv and (phase) truth/area.csv that one task gave."""

    images: list[dict[str, Any]] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)

    def extend(self, other: Rendered) -> None:
        self.images.extend(other.images)
        self.cells.extend(other.cells)
        self.areas.extend(other.areas)


def write_grey(path: Path, image: NDArray[np.uint16]) -> None:
    """A single-channel 16-bit TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", metadata=None, software="deadlib")


def write_rgb(path: Path, image: NDArray[np.uint8]) -> None:
    """An 8-bit RGB PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image, mode="RGB").save(path, format="PNG", compress_level=3)


def write_mask(folder: Path, name: str, mask: NDArray[np.uint16]) -> None:
    """The label mask of an image, under truth/masks/, deflated."""
    path = (folder / "truth" / "masks" / name).with_suffix(".tif")
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path,
        mask,
        photometric="minisblack",
        metadata=None,
        software="deadlib",
        compression="zlib",
    )


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """A CSV file with a header; columns in the order of the first row if none are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = list(columns) or list(rows[0] if rows else ())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")

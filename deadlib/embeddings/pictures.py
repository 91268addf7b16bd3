"""Wells as pictures: one image of each, from the dataset's own shards."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deadlib.embeddings.wells import Indices, Wells
from tfrecords_tools.dataset import Dataset, open_dataset
from tfrecords_tools.errors import ToolsError

Look = Literal["composite", "grey"]

LONGEST_SIDE_PX = 168
JPEG_QUALITY = 85
# display only: the darkest and the brightest pixels do not decide the contrast
DISPLAY_PERCENTILES = (0.5, 99.7)
# blue, orange, green and purple of the Okabe-Ito palette stay apart for colour-blind readers
CHANNEL_COLOURS = ((0.0, 0.45, 0.7), (0.9, 0.6, 0.0), (0.0, 0.62, 0.45), (0.8, 0.47, 0.65))


@dataclass(frozen=True)
class Pictures:
    """Where pictures come from: an open dataset and its rows by example_id; or what is missing."""

    dataset: Dataset | None
    rows: Mapping[str, int]
    missing: str | None

    def of(self, wells: Wells, chosen: Sequence[int], look: Look) -> list[str | None]:
        """A picture of each well as a data URI, all with the same contrast; None where none is.

        composite: channels laid over each other in colours; grey: side by side.
        """
        if self.dataset is None:
            return [None] * len(chosen)
        ids = [_example(wells, well) for well in chosen]
        images = [
            self.dataset.read_example(self.rows[name]) if name in self.rows else None
            for name in ids
        ]
        there = [image for image in images if image is not None]
        if not there:
            return [None] * len(chosen)
        limits = shared_limits(there)
        return [None if i is None else data_uri(display(i, limits, look)) for i in images]


def find_pictures(wells: Wells, dataset: Path | None) -> Pictures:
    """Open the dataset that was asked for, or the one that the table names if it is still the same.

    What keeps pictures away is no error: the page says what is missing.
    """
    metadata = wells.table.metadata
    folder = dataset or (Path(metadata["dataset"]) if metadata.get("dataset") else None)
    if "example_id" not in wells.table.frame:
        return Pictures(None, {}, "the table has no column example_id")
    if folder is None:
        return Pictures(None, {}, "the table names no dataset; give it with --dataset")
    try:
        found = open_dataset(folder)
    except ToolsError as error:
        return Pictures(None, {}, f"the dataset cannot be opened ({error})")
    expected = metadata.get("fingerprint")
    if expected is not None and found.fingerprint != expected:
        return Pictures(
            None, {}, f"{folder} is not the dataset of these predictions (its fingerprint differs)"
        )
    rows = {str(name): row for row, name in enumerate(found.manifest["example_id"])}
    if not wells.table.frame["example_id"].astype(str).isin(rows).any():
        return Pictures(None, {}, f"{folder} holds none of these examples")
    return Pictures(found, rows, None)


def typical_row(wells: Wells, well: int) -> int:
    """The row of the table whose vector lies nearest to the mean of its well."""
    rows: Indices = np.flatnonzero(wells.unit == well)
    return int(rows[np.argmax(wells.vectors[rows] @ wells.means[well])])


def shared_limits(images: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The darkest and brightest value shown of each channel (2, C), of all images together."""
    pixels = np.concatenate([image.reshape(-1, image.shape[-1])[::7] for image in images])
    return np.percentile(pixels, DISPLAY_PERCENTILES, axis=0)


def display(image: NDArray[Any], limits: NDArray[np.float64], look: Look) -> NDArray[np.uint8]:
    """An image (H, W, C) of any type as RGB (H, W, 3) uint8; (H, C * W, 3) where grey.

    8-bit images of three channels are colour, and stay as they are.
    """
    channels = image.shape[-1]
    if channels == 3 and image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    low, high = limits
    stretched = np.clip((image - low) / np.maximum(high - low, 1e-9), 0, 1)
    if channels == 1 or look == "grey":
        side_by_side = np.concatenate(np.moveaxis(stretched, -1, 0), axis=1)
        shown = np.repeat(side_by_side[..., None], 3, axis=-1)
    else:
        colours = np.array([CHANNEL_COLOURS[c % 4] for c in range(channels)])
        shown = np.clip(stretched @ colours, 0, 1)
    return np.asarray(np.round(shown * 255), np.uint8)


def data_uri(image: NDArray[np.uint8]) -> str:
    """A JPEG, at most 168 px high, inside the page."""
    picture = Image.fromarray(image)
    picture.thumbnail((8 * LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _example(wells: Wells, well: int) -> str:
    return str(wells.table.frame["example_id"].iloc[typical_row(wells, well)])

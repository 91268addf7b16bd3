"""What sizes a dataset holds and what the input section makes of them; without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deadlib.errors import RecipeError
from deadlib.recipe import InputSection

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.dataset import Dataset


def record_shape(manifest: pd.DataFrame) -> tuple[int, int] | None:
    """Rows and columns of the stored images, None where they differ."""
    sizes = manifest[["height_px", "width_px"]].drop_duplicates().to_numpy()
    return (int(sizes[0, 0]), int(sizes[0, 1])) if len(sizes) == 1 else None


def example_shape(dataset: Dataset, section: InputSection) -> tuple[int, int, int]:
    """(H, W, C) of what `batches` gives. Raises RecipeError where fit=crop cannot be met."""
    rows, columns = section.size_px
    channels = len(dataset.channels)
    if section.fit == "resize":
        return (rows, columns, channels)
    stored = record_shape(dataset.manifest)
    if stored is None:
        raise RecipeError(
            f"input.fit: crop needs stored images of one size, and those of {dataset.folder} "
            "differ; use fit: resize, or convert with tiles or crops"
        )
    if stored[0] < rows or stored[1] < columns:
        raise RecipeError(
            f"input.size_px: {rows} x {columns} px cannot be cropped from the stored images of "
            f"{stored[0]} x {stored[1]} px in {dataset.folder}; take at most their size, or use "
            "fit: resize"
        )
    return (*stored, channels)


def split_count(dataset: Dataset, split: str) -> int:
    """How many examples stand in a split."""
    return int((dataset.manifest["split"] == split).sum())


def is_resized(dataset: Dataset, section: InputSection) -> bool:
    """Whether some image has to change, mostly its size, before it stands in a batch."""
    other_size = record_shape(dataset.manifest) != section.size_px
    return section.equalise or (section.fit == "resize" and other_size)


def example_dtype(dataset: Dataset, section: InputSection) -> str:
    """The type of what `batches` gives: the stored one, or float32 in unit range.

    The latter where images are resized or were stored in several types.
    """
    stored = list(dataset.info["dtypes"])
    one_type = len(stored) == 1 and not is_resized(dataset, section)
    return stored[0] if one_type else "float32"

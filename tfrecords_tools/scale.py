"""Pixel sizes: what is known of them, and images brought to one.

A cell of 20 µm is 31 px at 0.65 µm and 62 px at 0.325 µm: to a network these are other cells. An
image that is to be resampled says so in its locator (`#zoom=0.5`), so that whoever reads it gets
it at the size that is wanted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tfrecords_tools.errors import PlanError
from tfrecords_tools.locator import Locator
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem

if TYPE_CHECKING:
    import pandas as pd

PIXEL_SIZE = "pixel_size_um"
"""The manifest's column: micrometres per pixel of the image as it is read."""

ALIKE = 0.05
"""Pixel sizes that differ by less than this share count as the same."""

_EXACTLY = 1e-3


def same_scale(one_um: float, other_um: float) -> bool:
    """Whether two pixel sizes differ by less than `ALIKE`."""
    return abs(one_um / other_um - 1) < ALIKE


def common_pixel_size(manifest: pd.DataFrame) -> float | None:
    """The pixel size of all examples in micrometres; None where it is not known or not one."""
    if PIXEL_SIZE not in manifest or manifest[PIXEL_SIZE].isna().any() or manifest.empty:
        return None
    sizes = manifest[PIXEL_SIZE].astype(float)
    return float(sizes.median()) if same_scale(sizes.max(), sizes.min()) else None


def mixed_scales(rows: pd.DataFrame) -> list[str]:
    """A sentence where images have different pixel sizes."""
    if PIXEL_SIZE not in rows:
        return []
    sizes = rows[PIXEL_SIZE].dropna().astype(float)
    if sizes.empty or same_scale(sizes.max(), sizes.min()):
        return []
    return [
        f"pixel sizes from {sizes.min():g} to {sizes.max():g} µm: cells of one kind differ in size "
        f"as much; bring the images to one with --rescale-to-um {sizes.max():g}"
    ]


def scaled(
    rows: pd.DataFrame, settings: ConversionSettings, problems: list[Problem]
) -> pd.DataFrame:
    """The images with the pixel size that the settings give, resampled where they ask for it.

    Raises PlanError where an image's pixel size would be needed and none is known.
    """
    if settings.pixel_size_um is not None:
        rows = rows.assign(**{PIXEL_SIZE: settings.pixel_size_um})
    target = settings.rescale_to_um
    if target is None:
        return rows
    if PIXEL_SIZE not in rows:
        raise PlanError(
            f"images are to be brought to {target:g} µm per pixel, but nothing says what they "
            "have; say it with --pixel-size-um"
        )
    sizes = rows[PIXEL_SIZE].astype(float)
    unknown = sizes.isna()
    problems += [
        Problem(name, "its pixel size is not known; say it with --pixel-size-um, or in the table")
        for name in rows["source_id"][unknown]
    ]
    rows, sizes = rows[~unknown], sizes[~unknown]
    found = rows.assign(**{PIXEL_SIZE: target}).reset_index(drop=True)
    found["source_paths"] = [
        with_zoom(paths, size / target)
        for paths, size in zip(rows["source_paths"], sizes, strict=True)
    ]
    return found


def with_zoom(paths: tuple[str, ...], zoom: float) -> tuple[str, ...]:
    """The locators of an image so that it is read `zoom` times as large; unchanged at 1."""
    if abs(zoom - 1) < _EXACTLY:
        return paths
    return tuple(str(replace(Locator.parse(path), zoom=zoom)) for path in paths)

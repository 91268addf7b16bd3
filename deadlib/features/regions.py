"""What is measured of each cell: shape, intensity and texture, all regions of an image at once.

Pixels of a region are those with its number; every statistic is a sum, a quantile or a histogram
over them, computed for all regions in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.features.texture import grey_level_statistics, smoothed, surfaces

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
EIGHTHS = tuple(k / 8 for k in range(1, 8))
BACKGROUND_PERCENTILE = 1
"""What an image shows where no light comes from cells: intensities are told above it."""
SHAPES = {
    "area": "area_px",
    "perimeter": "perimeter_px",
    "axis_major_length": "length_px",
    "axis_minor_length": "width_px",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
}


@dataclass(frozen=True)
class Regions:
    """Regions 1..count of a label image (H, W), in one order of their pixels."""

    labels: Labels
    count: int

    @cached_property
    def pixels(self) -> NDArray[np.intp]:
        """(P,) places of all pixels that belong to a region."""
        return np.flatnonzero(self.labels)

    @cached_property
    def region(self) -> NDArray[np.intp]:
        """(P,) the region of each, from 0."""
        return self.labels.ravel()[self.pixels].astype(np.intp) - 1

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """(count,) pixels of each region."""
        return np.bincount(self.region, minlength=self.count)

    def of(self, plane: NDArray[Any]) -> Floats:
        """(P,) the values of a plane (H, W) at the pixels."""
        return plane.ravel()[self.pixels].astype(np.float64)

    def mean(self, values: NDArray[np.floating]) -> Floats:
        """(count,) the mean of values (P,) over each region; NaN for one without pixels."""
        return _share(np.bincount(self.region, values, self.count), self.sizes)

    def quantiles(self, values: Floats, at: Sequence[float]) -> Floats:
        """(len(at), count): the values (P,) so far up each region, the lower of two; else NaN."""
        order = np.lexsort((values, self.region))
        first = np.cumsum(self.sizes) - self.sizes
        there = self.sizes > 0
        found = np.full((len(at), self.count), np.nan)
        for row, share in enumerate(at):
            place = first + np.floor(share * (self.sizes - 1)).astype(np.intp)
            found[row, there] = values[order[place[there]]]
        return found


def measure_regions(
    image: NDArray[np.float32],
    channels: Sequence[str],
    compartments: Mapping[str, Regions],
    diameter_px: float,
) -> dict[str, Floats]:
    """Every feature of every cell of an image (H, W, C): name to (n,).

    compartments: the same n cells as regions, such as `nucleus` and `ring`; the first gives the
    shape. Names are COMPARTMENT_WHAT_CHANNEL, with a unit where there is one. NaN where a cell has
    no pixels in a compartment, or a value is not defined.
    """
    first, outline = next(iter(compartments.items()))
    found = {f"{first}_{name}": values for name, values in shapes(outline).items()}
    scales = texture_scales(diameter_px)
    for place, channel in enumerate(channels):
        plane = np.ascontiguousarray(image[..., place])
        dark = np.float32(np.percentile(plane, BACKGROUND_PERCENTILE))
        above = plane - dark
        smooth = {scale: smoothed(plane, scale_px) for scale, scale_px in scales.items()}
        for name, regions in compartments.items():
            marks = regions.quantiles(regions.of(above), (*QUANTILES, *EIGHTHS))
            measured = intensities(regions, above, marks[: len(QUANTILES)])
            level = np.maximum(measured["mean"] + dark, 1e-6)
            for scale, scale_px in scales.items():
                strengths = surfaces(smooth[scale], scale_px, regions.pixels)
                for what, strength in strengths.items():
                    measured[f"{what}_{scale}"] = regions.mean(strength) / level
            edges = marks[len(QUANTILES) :]
            measured |= grey_level_statistics(above, regions.labels, edges, 1)
            found |= {f"{name}_{what}_{channel}": values for what, values in measured.items()}
    found |= _between_channels(image, channels, compartments)
    return found | _between_compartments(found, channels, list(compartments))


def texture_scales(diameter_px: float) -> dict[str, float]:
    """The scales in pixels at which texture is measured: the finest, and a tenth of a nucleus."""
    return {"fine": 1.0, "coarse": float(max(2, round(diameter_px / 10)))}


def shapes(regions: Regions) -> dict[str, Floats]:
    """The outline of each region, in pixels."""
    from skimage.measure import regionprops_table

    names = list(SHAPES)
    if not regions.count:
        return {name: np.zeros(0) for name in (*SHAPES.values(), "form_factor")}
    table = regionprops_table(regions.labels, properties=names)
    found = {SHAPES[name]: np.asarray(table[name], np.float64) for name in names}
    around = np.maximum(found["perimeter_px"], 1) ** 2
    return found | {"form_factor": 4 * np.pi * found["area_px"] / around}


def intensities(regions: Regions, plane: Plane, quantiles: Floats) -> dict[str, Floats]:
    """How bright each region is in a plane (H, W) with these quantiles (5, n), how evenly, and
    whether in its middle."""
    values = regions.of(plane)
    mean = regions.mean(values)
    deviation = np.sqrt(np.maximum(regions.mean(values**2) - mean**2, 0))
    found = {"mean": mean, "deviation": deviation, "sum": np.where(regions.sizes, mean, 0)}
    found["sum"] = found["sum"] * regions.sizes
    for share, row in zip(QUANTILES, quantiles, strict=True):
        found[f"quantile{round(100 * share):02}"] = row
    return found | {"off_centre": _off_centre(regions, values)}


def _off_centre(regions: Regions, values: Floats) -> Floats:
    """How far the centre of light lies from that of the region, in its radii."""
    light = np.maximum(values, 0) + 1e-9
    total = np.bincount(regions.region, light, regions.count)
    away = np.zeros(regions.count)
    for axis in np.divmod(regions.pixels, regions.labels.shape[1]):
        there = axis.astype(np.float64)
        centre = _share(np.bincount(regions.region, light * there, regions.count), total)
        away = away + (centre - regions.mean(there)) ** 2
    return _share(np.sqrt(away), np.sqrt(regions.sizes / np.pi))


def _between_channels(
    image: NDArray[np.float32], channels: Sequence[str], compartments: Mapping[str, Regions]
) -> dict[str, Floats]:
    """Pearson's correlation of every two channels over the pixels of a region."""
    found = {}
    for name, regions in compartments.items():
        values = [regions.of(image[..., place]) for place in range(len(channels))]
        means = [regions.mean(each) for each in values]
        centred = [each - mean[regions.region] for each, mean in zip(values, means, strict=True)]
        squares = [regions.mean(each**2) for each in centred]
        for one, channel in enumerate(channels):
            for two in range(one + 1, len(channels)):
                together = regions.mean(centred[one] * centred[two])
                correlation = _share(together, np.sqrt(squares[one] * squares[two]))
                flat = (regions.sizes > 0) & ~np.isfinite(correlation)
                found[f"{name}_correlation_{channel}_{channels[two]}"] = np.where(
                    flat, 0.0, correlation
                )
    return found


def _between_compartments(
    found: Mapping[str, Floats], channels: Sequence[str], names: Sequence[str]
) -> dict[str, Floats]:
    """Which share of its brightness a channel has in the first compartment: above a half, more
    than in the second."""
    if len(names) < 2:
        return {}
    shares = {}
    for channel in channels:
        one, two = (np.maximum(found[f"{name}_mean_{channel}"], 0) for name in names[:2])
        shares[f"{names[0]}_share_{channel}"] = _share(one, one + two)
    return shares


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """part / whole, NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=np.asarray(whole) > 0)

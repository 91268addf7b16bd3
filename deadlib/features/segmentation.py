"""Nuclei by their stain, and a ring of cytoplasm around each, without a network.

scikit-image does the work: a threshold, a watershed on the distance to the edge, and labels grown
outwards. It is imported when it is needed, as it is an extra.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.errors import InputError
from deadlib.features.regions import Regions

Plane = NDArray[np.float32]
Labels = NDArray[np.int32]

NUCLEAR = re.compile(r"dna|hoechst|dapi|draq|nucle", re.IGNORECASE)
"""Names of channels that show nuclei."""
SMALLEST = 0.35
"""What is thinner than this share of a nucleus's diameter is debris."""
NOISE = 5.0
"""Nuclei are at least so many deviations of the background brighter than it."""
SMOOTH = 0.06
"""Deviation of the Gaussian that images are smoothed with before, in diameters."""
HALF = 0.5
BACKGROUND_DIAMETERS = 3.0
"""The background is looked for within so many diameters around a pixel."""
_LEAST_PX = 3.0
_COARSE = 4


@dataclass(frozen=True)
class Cells:
    """The cells of one image: n nuclei that lie wholly inside it, numbered from 1.

    nuclei, ring: (H, W) int32, 0 outside; the ring of a nucleus has its number, and may be empty
    where cells are crowded. at_border: (H, W) int32, the nuclei that the image's edge cuts.
    """

    nuclei: Labels
    ring: Labels
    at_border: Labels

    @property
    def count(self) -> int:
        return int(self.nuclei.max(initial=0))

    @property
    def cut(self) -> int:
        """How many nuclei the image's edge cuts."""
        return int(self.at_border.max(initial=0))


def nuclear_channel(channels: Sequence[str], wanted: str | None = None) -> str:
    """The channel that shows nuclei: the wanted one, else the one that its name tells.

    Raises InputError where there is no such channel, or names tell none or several.
    """
    listed = ", ".join(channels)
    if wanted is not None:
        if wanted not in channels:
            raise InputError(
                f"no channel {wanted}; the images have {listed}; name one of them with --nuclei"
            )
        return wanted
    told = [name for name in channels if NUCLEAR.search(name)]
    if len(told) != 1:
        found = f"{', '.join(told)} all sound like it" if told else "no name tells"
        raise InputError(
            f"which channel shows the nuclei? {found}; the images have {listed}; name it with "
            "--nuclei, or measure whole images with --whole-images"
        )
    return told[0]


def segment(plane: Plane, diameter_px: float, ring_px: float) -> Cells:
    """The nuclei of one plane (H, W), whatever its unit, and a ring of cytoplasm of each.

    diameter_px: of a usual nucleus; what is much thinner is debris, and nuclei that touch are
    parted where they are narrow. ring_px: how wide the ring is; it begins 1 px outside.
    """
    from skimage.feature import peak_local_max
    from skimage.segmentation import expand_labels, watershed

    above = above_background(plane, diameter_px, SMOOTH * diameter_px)
    inside = bright_parts(above)
    distance = distance_in(inside, 0.08 * diameter_px)
    peaks = peak_local_max(
        distance,
        min_distance=max(1, round(0.35 * diameter_px)),
        threshold_abs=SMALLEST / 2 * diameter_px,
        exclude_border=False,
        labels=inside.astype(np.int32),
    )
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found = _without_debris(
        own_outlines(above, watershed(-distance, seeds, mask=inside)), diameter_px
    )
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    cut = np.isin(found, np.unique(edge[edge > 0]))
    grown = expand_labels(found, distance=1 + ring_px)
    grown[expand_labels(found, distance=1) > 0] = 0
    whole = np.where(cut, 0, found)
    numbers = np.zeros(int(found.max(initial=0)) + 1, np.int32)
    kept = np.unique(whole[whole > 0])
    numbers[kept] = np.arange(1, len(kept) + 1)
    return Cells(numbers[whole], numbers[grown], _renumbered(np.where(cut, found, 0)))


def usual_diameter(planes: Sequence[Plane]) -> float:
    """The diameter in pixels of a usual nucleus in these planes (H, W): twice the depth of what is
    brighter than the background, the median over its area.

    Raises InputError where no plane shows anything.
    """
    from scipy.ndimage import distance_transform_edt, label, maximum

    depths: list[Any] = []
    areas: list[Any] = []
    for plane in planes:
        guess = max(_LEAST_PX, min(plane.shape) / 16)
        above = above_background(plane, guess, smooth_px=1.0)
        parts, count = label(bright_parts(above))
        if count:
            parts = own_outlines(above, parts)
            depth = maximum(distance_transform_edt(parts > 0), parts, np.arange(1, count + 1))
            depths.append(depth)
            areas.append(np.bincount(parts.ravel(), minlength=count + 1)[1:])
    if not depths:
        raise InputError(
            "no nuclei found in the first images that were looked at; is this the channel of the "
            "nuclei? Name it with --nuclei, and their size with --diameter-px"
        )
    depth, area = np.concatenate(depths), np.concatenate(areas)
    order = np.argsort(depth)
    half = np.searchsorted(np.cumsum(area[order]), area.sum() / 2)
    return max(_LEAST_PX, float(2 * depth[order][half]))


def above_background(plane: Plane, diameter_px: float, smooth_px: float) -> Plane:
    """How much brighter than its background a plane (H, W) is, smoothed."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(plane.astype(np.float32), smooth_px)
    return np.asarray(smooth - background(smooth, diameter_px), np.float32)


def bright_parts(above: Plane) -> NDArray[np.bool_]:
    """Where a plane (H, W) without its background is bright, holes filled.

    By Otsu's threshold (1979) on the root of the brightness, so that a few very bright nuclei do
    not hide the others; empty where there is no more than noise.
    """
    from scipy.ndimage import binary_fill_holes
    from skimage.filters import threshold_otsu

    low, middle, high = np.percentile(above, [16, 50, 100])
    if high <= max(middle, 0):
        return np.zeros(above.shape, bool)
    threshold = float(threshold_otsu(np.sqrt(np.maximum(above, 0)))) ** 2
    noise = max(middle - low, 1e-3 * (high - middle))
    return np.asarray(binary_fill_holes(above > max(threshold, middle + NOISE * noise)))


def own_outlines(above: Plane, labels: NDArray[Any]) -> Labels:
    """Each part (H, W) as far as it is half as bright as its own median, holes filled: a threshold
    for the whole image draws bright nuclei too large."""
    from scipy.ndimage import binary_fill_holes

    count = int(labels.max(initial=0))
    if not count:
        return labels.astype(np.int32)
    regions = Regions(labels.astype(np.int32), count)
    middles = regions.quantiles(regions.of(above), [0.5])[0]
    bright = (labels > 0) & (above > HALF * np.concatenate([[0], middles])[labels])
    return np.where(binary_fill_holes(bright), labels, 0).astype(np.int32)


def background(plane: Plane, diameter_px: float) -> Plane:
    """The lower values around each pixel of a plane (H, W), smooth over some diameters."""
    from scipy.ndimage import gaussian_filter, percentile_filter, zoom

    step = max(1, round(diameter_px / _COARSE))
    rows, columns = (max(1, size // step) for size in plane.shape)
    if min(rows, columns) < _COARSE:
        return np.full_like(plane, np.percentile(plane, 10))
    blocks = plane[: rows * step, : columns * step].reshape(rows, step, columns, step)
    coarse = blocks.mean(axis=(1, 3))
    window = round(BACKGROUND_DIAMETERS * _COARSE)
    low = gaussian_filter(percentile_filter(coarse, 10, size=window), window / 2)
    return np.asarray(
        zoom(low, (plane.shape[0] / rows, plane.shape[1] / columns), order=1, grid_mode=True,
             mode="nearest"),
        np.float32,
    )  # fmt: skip


def distance_in(mask: NDArray[np.bool_], smooth_px: float) -> NDArray[np.float64]:
    """How deep in the mask (H, W) a pixel lies, in pixels, smoothed."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    return np.asarray(gaussian_filter(distance_transform_edt(mask), smooth_px)) * mask


def _without_debris(labels: NDArray[Any], diameter_px: float) -> Labels:
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    large = areas >= np.pi / 4 * (SMALLEST * diameter_px) ** 2
    return _renumbered(np.where(large[labels], labels, 0))


def _renumbered(labels: NDArray[Any]) -> Labels:
    """The same parts, numbered from 1 without gaps."""
    names = np.unique(labels)
    return np.searchsorted(names[names > 0], labels).astype(np.int32) + (labels > 0)

"""The shading of a plate: retrospective correction from the mean of many images.

A pixel is taken as true intensity x field, the field smooth and the same for all images of a plate
and channel. The mean over images at each place of the source image, on a coarse grid and with
pixels beyond the plate's 1st and 99th percentile clipped, so that debris weighs little, is fitted
by a polynomial of degree 4 in both directions together, and divided by its mean over the image.
Nothing is said of an additive background. Fuller models: CIDRE (Smith et al., Nature Methods 2015)
fits an additive term as well, BaSiC (Peng et al., Nature Communications 2017) separates the field
from the cells by sparsity.

The field is kept as the coefficients of a product basis of Legendre polynomials: with rows and
columns of the source image running from -1 to 1, field(v, u) = sum of c[i, j] P_i(v) P_j(u). The
mean of every P_i but P_0 is 0, so c[0, 0] = 1 is a mean of 1, and any window of the image is
evaluated from where it lies, without an interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

DEGREE = 4
COEFFICIENTS = (DEGREE + 1, DEGREE + 1)
CELLS = 32
"""Cells of the coarse grid along each side, where the image has as many pixels."""


@dataclass(frozen=True)
class CellSums:
    """Pixels of one plate, summed in the cells of a coarse grid over its source images.

    total: (rows, columns, C) float64; pixels: (rows, columns) float64. `add` changes them.
    """

    image_px: tuple[int, int]
    total: np.ndarray
    pixels: np.ndarray

    @classmethod
    def empty(cls, image_px: tuple[int, int], channels: int) -> CellSums:
        cells = (min(CELLS, image_px[0]), min(CELLS, image_px[1]))
        return cls(image_px, np.zeros((*cells, channels)), np.zeros(cells))

    def add(self, image: np.ndarray, top_px: int, left_px: int) -> None:
        """Add a window (H, W, C) of a source image; what lies outside the image is left out."""
        image = np.asarray(image, np.float64)
        chosen, sizes = [], []
        for axis, first in enumerate((top_px, left_px)):
            places = np.arange(first, first + image.shape[axis])
            inside = np.flatnonzero((places >= 0) & (places < self.image_px[axis]))
            image = image.take(inside, axis=axis)
            cell = places[inside] * self.pixels.shape[axis] // self.image_px[axis]
            starts = np.flatnonzero(np.diff(cell, prepend=-1))
            image = np.add.reduceat(image, starts, axis=axis)
            chosen.append(cell[starts])
            sizes.append(np.diff(starts, append=len(cell)))
        self.total[np.ix_(*chosen)] += image
        self.pixels[np.ix_(*chosen)] += np.outer(*sizes)

    def merge(self, other: CellSums) -> None:
        self.total[:] += other.total
        self.pixels[:] += other.pixels

    def shading(self) -> np.ndarray:
        """The field's coefficients (C, 5, 5) float64, fitted by least squares to the cells' means,
        each with the weight of its pixels; no shading where there is no light at all."""
        seen = self.pixels > 0
        v, u = np.meshgrid(*(_centres(*sides) for sides in self._sides()), indexing="ij")
        low = np.add.outer(*(np.arange(count) for count in COEFFICIENTS)) <= DEGREE
        basis = legendre.legvander2d(v[seen], u[seen], (DEGREE, DEGREE))[:, low.ravel()]
        weight = np.sqrt(self.pixels[seen])[:, None]
        means = self.total[seen] / self.pixels[seen][:, None]
        found = np.linalg.lstsq(basis * weight, means * weight, rcond=None)[0]
        field = np.zeros((means.shape[1], *COEFFICIENTS))
        field[:, low] = found.T
        dark = field[:, 0, 0] <= 0
        field[dark] = 0
        field[dark, 0, 0] = 1
        return field / field[:, :1, :1]

    def _sides(self) -> list[tuple[int, int]]:
        return list(zip(self.image_px, self.pixels.shape, strict=True))


def _centres(side_px: int, cells: int) -> np.ndarray:
    """The mean place of the pixels of each cell, -1 to 1 over the image."""
    places = np.arange(side_px)
    cell = places * cells // side_px
    return np.bincount(cell, weights=(2 * places + 1) / side_px - 1) / np.bincount(cell)

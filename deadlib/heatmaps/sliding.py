"""The dense network laid over whole frames: in tiles, and in shifted passes for small strides."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deadlib.data.unit import unit_range
from deadlib.errors import InputError
from deadlib.heatmaps.dense import dense_network, natural_stride
from deadlib.heatmaps.memory import region_bytes, too_little
from deadlib.heatmaps.normalise import normalised_by_windows
from deadlib.heatmaps.regions import Frame, read_region
from deadlib.heatmaps.setting import Setting
from deadlib.heatmaps.tiles import Tiling, tiling
from deadlib.recipe import RELATIVE
from deadlib.windows import Grid

Pair = tuple[int, int]


class DenseMapper:
    """Answers for all windows of a frame together. All tiles of a frame have one shape, so that
    the graph is made once for frames of one size.

    Raises InputError where the network cannot slide over a frame, where the run makes histograms of
    windows even, and where the network has no such stride.
    """

    def __init__(self, network: keras.Model, setting: Setting, stride_px: int) -> None:
        if setting.section.equalise:
            raise InputError(
                "the run makes the histogram of each window even (input.equalise), which windows "
                "cannot share; use the exact mode"
            )
        steps = strides_apart(stride_px, natural_stride(network), setting)
        self._setting = setting
        self._stride_px = stride_px
        self._passes = (steps[0].denominator, steps[1].denominator)
        self._dense = dense_network(network, (steps[0].numerator, steps[1].numerator))
        self._box_px = setting.stored_px if setting.section.normalise in RELATIVE else None
        self._answer = tf.function(self._answers, autograph=False)

    def tiling(self, grid: Grid, memory: float) -> Tiling:
        """How the windows of one pass are cut into tiles of at most `memory` bytes each.

        Raises InputError where that is too little for one window.
        """
        one_pass = (
            math.ceil(grid.rows / self._passes[0]),
            math.ceil(grid.columns / self._passes[1]),
        )
        free = memory - self._dense.transformed_bytes
        most_px = free / region_bytes(self._dense, self._setting)
        found = tiling(one_pass, self._dense.single_px, self._dense.stride_px, most_px)
        if found is None:
            lacking = too_little(self.needed_bytes((1, 1)), memory)
            raise InputError(f"--max-memory: {lacking}, or use the exact mode")
        return found

    def needed_bytes(self, counts: Pair) -> float:
        """The memory of a tile with so many rows and columns of windows."""
        side_px = self._dense.region_px(counts)
        region = math.prod(side_px) * region_bytes(self._dense, self._setting)
        return region + self._dense.transformed_bytes

    def probabilities(self, frame: Frame, grid: Grid, memory: float) -> np.ndarray:
        """(rows, columns, classes) float32 of all windows of the grid, in tiles of at most
        `memory` bytes. Raises as `tiling`."""
        tiles = self.tiling(grid, memory)
        classes = self._dense.steps[-1].channels
        found = np.zeros((grid.rows, grid.columns, classes), np.float32)
        for down, right in product(range(self._passes[0]), range(self._passes[1])):
            for row, column in tiles:
                first = (down + row * self._passes[0], right + column * self._passes[1])
                part = self._tile(frame, first, tiles.per_tile)
                target = found[first[0] :: self._passes[0], first[1] :: self._passes[1]]
                target = target[: part.shape[0], : part.shape[1]]
                target[:] = part[: target.shape[0], : target.shape[1]]
        return found

    def _tile(self, frame: Frame, first: Pair, counts: Pair) -> np.ndarray:
        """(*counts, classes) of the windows from `first`, a row and column of the grid, on."""
        tops = [number * self._stride_px for number in first]
        wide_px = self._dense.region_px(counts)
        starts = [top * scale for top, scale in zip(tops, self._setting.scale, strict=True)]
        starts = [start - lead for start, lead in zip(starts, self._dense.lead_px, strict=True)]
        if self._box_px:
            starts = [start - box + 1 for start, box in zip(starts, self._box_px, strict=True)]
            wide_px = (
                wide_px[0] + 2 * (self._box_px[0] - 1),
                wide_px[1] + 2 * (self._box_px[1] - 1),
            )
        reads = [
            _Read(start, side, scale)
            for start, side, scale in zip(starts, wide_px, self._setting.scale, strict=True)
        ]
        pixels = read_region(
            frame, reads[0].start, reads[1].start, reads[0].length, reads[1].length
        )
        # Where the first and the last box of the frame begin in this region.
        box_px = self._box_px or self._setting.size_px
        first_box = [-math.floor(start) for start in starts]
        last_box = [
            max(low, math.floor(side * scale - box - start))
            for low, side, scale, box, start in zip(
                first_box, frame.shape[:2], self._setting.scale, box_px, starts, strict=True
            )
        ]
        shift = [read.shift for read in reads]
        return np.asarray(
            self._answer(
                tf.constant(pixels),
                tf.constant(shift, tf.float32),
                tf.constant(first_box, tf.int32),
                tf.constant(last_box, tf.int32),
                wide_px=wide_px,
            )
        )

    def _answers(
        self, pixels: Any, shift: Any, first_box: Any, last_box: Any, *, wide_px: Pair
    ) -> Any:
        """Graph op: a part of the frame (h, w, C), as stored → probabilities of its windows."""
        wide = unit_range(pixels)[None]
        if any(scale != 1 for scale in self._setting.scale):
            wide = tf.raw_ops.ScaleAndTranslate(
                images=wide,
                size=wide_px,
                scale=[float(scale) for scale in self._setting.scale],
                translation=shift,
                kernel_type="triangle",
                antialias=True,
            )
            wide = tf.ensure_shape(wide, (1, *wide_px, self._setting.channels))
        preprocess = self._setting.preprocess
        if self._box_px:
            region = normalised_by_windows(preprocess, wide, self._box_px, first_box, last_box)
        else:
            region = preprocess.normalise(wide)
        return tf.nn.softmax(self._dense(region))[0]


class _Read:
    """Which pixels of the frame, along an axis, make up a region at the network's scale."""

    def __init__(self, start: Fraction, side_px: int, scale: Fraction) -> None:
        if scale == 1:
            self.start, self.length, self.shift = int(start), side_px, 0.0
            return
        support = math.ceil(max(1 / scale, Fraction(1))) + 1
        self.start = math.floor(start / scale) - support
        self.length = math.ceil(side_px / scale) + 2 * support + 1
        self.shift = float(self.start * scale - start)


def strides_apart(stride_px: int, natural_px: Pair, setting: Setting) -> tuple[Fraction, Fraction]:
    """How many windows of the network's own stride lie between two of the grid, down and right: a
    whole number, or one over a whole number of shifted passes.

    Raises InputError, naming the nearest strides that there are.
    """
    if found := _steps(stride_px, natural_px, setting):
        return found
    largest = 2 * stride_px + math.ceil(4 * max(natural_px) / min(setting.scale))
    known = [stride for stride in range(1, largest) if _steps(stride, natural_px, setting)]
    nearest = [
        *[stride for stride in known if stride < stride_px][-1:],
        *[stride for stride in known if stride > stride_px][:1],
    ]
    raise InputError(
        f"a stride of {stride_px} px: the dense mode of this network goes in steps of "
        f"{_words(natural_px, setting)} px, in multiples of them or in whole parts; take "
        f"{' or '.join(map(str, nearest)) or 'the exact mode'}, or use the exact mode"
    )


def _steps(stride_px: int, natural_px: Pair, setting: Setting) -> tuple[Fraction, Fraction] | None:
    down, right = (
        stride_px * scale / natural
        for natural, scale in zip(natural_px, setting.scale, strict=True)
    )
    whole = all(1 in (step.numerator, step.denominator) for step in (down, right))
    return (down, right) if whole else None


def _words(natural_px: Pair, setting: Setting) -> str:
    sides = {
        f"{float(natural / scale):g}"
        for natural, scale in zip(natural_px, setting.scale, strict=True)
    }
    return " and ".join(sorted(sides))

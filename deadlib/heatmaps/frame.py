"""A run's answer at every window of a frame."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from deadlib.errors import InputError
from deadlib.heatmaps.exact import ExactMapper
from deadlib.heatmaps.memory import (
    FLOAT_BYTES,
    PROCESS_BYTES,
    WEIGHT_COPIES,
    too_little,
    window_bytes,
)
from deadlib.heatmaps.regions import Frame, check_frame
from deadlib.heatmaps.setting import check_depth, setting_of
from deadlib.heatmaps.sliding import DenseMapper
from deadlib.runs import Run
from deadlib.windows import Grid, grid_over

__all__ = ["Frame", "FrameMapper"]

Mode = Literal["dense", "exact"]


class FrameMapper:
    """A run applied to every window of frames; compiled once, reused for all frames of a size.

    mode: `exact` puts every window through the network by itself, as deadlib-predict does with
    crops; `dense` computes what windows share once, many times faster and slightly different
    (decision 0016). stride_px: pixels between windows; in the dense mode a multiple or a whole part
    of the network's own stride. batch: windows at once in the exact mode, fewer where memory lacks.
    max_memory: bytes for the whole process, in which frames of any size are mapped tile by tile.
    window_px: how large a training window is in the frame, where that is not to be what it was in
    training, such as for another magnification; windows are then resized to what the network takes.

    Raises InputError where the run or the stride do not allow it, or the memory is too little.
    """

    def __init__(
        self,
        run: Run,
        *,
        mode: Mode = "dense",
        stride_px: int = 32,
        batch: int = 64,
        max_memory: int = 4 * 2**30,
        window_px: tuple[int, int] | None = None,
    ) -> None:
        self._run = run
        self._setting = setting_of(run, window_px)
        self._stride_px = stride_px
        network = run.network()
        weights = sum(math.prod(weight.shape) for weight in network.weights)
        self._memory = max_memory - PROCESS_BYTES - WEIGHT_COPIES * FLOAT_BYTES * weights
        self._exact: ExactMapper | None = None
        self._dense: DenseMapper | None = None
        if mode == "exact":
            windows = self._memory / window_bytes(network)
            if windows < 1:
                raise InputError(f"--max-memory: {too_little(window_bytes(network), self._memory)}")
            self._exact = ExactMapper(network, self._setting, min(batch, int(windows)))
        else:
            self._dense = DenseMapper(network, self._setting, stride_px)

    @property
    def window_px(self) -> tuple[int, int]:
        """Rows and columns of a window, in pixels of the frame."""
        return self._setting.window_px

    def grid(self, shape: tuple[int, int]) -> Grid:
        """The windows of a frame of so many rows and columns.

        Raises InputError where the window is larger than the frame.
        """
        return grid_over(shape, self._setting.window_px, self._stride_px)

    def probabilities(self, frame: Frame) -> np.ndarray:
        """The probabilities of the classes, (rows, columns, classes) float32, at every window.

        Raises InputError where the frame does not fit the run or holds NaN or infinite values.
        """
        grid = self._checked(frame)
        if self._dense:
            held = frame.nbytes if isinstance(frame, np.ndarray) else 0
            return _finite(self._dense.probabilities(frame, grid, self._memory - held))
        places = np.indices((grid.rows, grid.columns)).reshape(2, -1).T
        return self.at(frame, places).reshape(grid.rows, grid.columns, -1)

    def at(self, frame: Frame, places: np.ndarray) -> np.ndarray:
        """The probabilities of the classes, (N, classes) float32, at windows of the grid.

        places: (N, 2) int, rows and columns of the grid. The exact mode looks at these windows
        alone. Raises as `probabilities`.
        """
        if not self._exact:
            return self.probabilities(frame)[tuple(places.T)]
        grid = self._checked(frame)
        tops_px, lefts_px = grid.tops_px[places[:, 0]], grid.lefts_px[places[:, 1]]
        return _finite(self._exact.probabilities(frame, tops_px, lefts_px))

    def _checked(self, frame: Frame) -> Grid:
        check_frame(frame, self._setting.channels)
        check_depth(self._run, frame.dtype)
        return self.grid((frame.shape[0], frame.shape[1]))


def _finite(probabilities: np.ndarray) -> np.ndarray:
    if not np.isfinite(probabilities).all():
        raise InputError(
            "the network's answer is not a finite number everywhere; look for NaN in the frame, or "
            "in history.csv of the run for a training that diverged"
        )
    return probabilities

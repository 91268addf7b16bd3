"""Images larger than the model's window, read window by window by the exported model alone.

What one window is, is stored with the model; the windows are cut as `deadlib.heatmaps` cuts them
and go through the served graph whole, so that the answers are those of the run in its exact mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadlib.heatmaps.regions import read_region
from deadlib.interpretation.heat import place, seen_window
from deadlib.recipe import InputSection
from deadlib.windows import Grid, grid_over, upsampled

Pair = tuple[int, int]

LONGEST_SIDE_PX = 768
"""Of a map that is sent to a browser."""


@dataclass(frozen=True)
class Look:
    """How a model looks at images."""

    section: InputSection
    window_px: Pair
    """Rows and columns, in pixels of an image, of what it was trained to judge at once."""
    cut_px: Pair
    """The same of what is sent for a window: more where statistics are those of the stored image
    around it."""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Look | None:
        """From the `deadlib.json` of an export; None where the training images had several sizes,
        so that no size of window fits larger ones."""
        if description.get("window_px") is None:
            return None
        section = InputSection.model_validate(description["input"])
        window = _pair(description["window_px"])
        whole = section.fit == "crop"
        return cls(section, window, _pair(description["normalised_with_px"]) if whole else window)

    def grid(self, shape: Pair, stride_px: int | None = None) -> Grid | None:
        """The windows of an image of `shape`, side by side unless a stride is given.

        None where fewer than two lie side by side in it, or where it is no larger than what is
        cut for one: the model is asked about it whole.
        """
        fits = [side // window for side, window in zip(shape, self.window_px, strict=True)]
        larger = any(side > cut for side, cut in zip(shape, self.cut_px, strict=True))
        if min(fits) < 1 or max(fits) < 2 or not larger:
            return None
        return grid_over(shape, self.window_px, stride_px or min(self.window_px))

    def window(self, image: np.ndarray, top_px: int, left_px: int) -> np.ndarray:
        """What is sent for the window of an image (H, W, C) that begins there: (*cut_px, C), beyond
        the border the image's mirror image."""
        rows, columns = self.cut_px
        above, before = (
            (cut - seen) // 2 for cut, seen in zip(self.cut_px, self.window_px, strict=True)
        )
        return read_region(image, top_px - above, left_px - before, rows, columns)

    def placed(self, evidence: np.ndarray, shape: Pair) -> np.ndarray:
        """Evidence (h, w) as a picture float32 of all of the image of `shape` that it was found in;
        NaN where the model did not look."""
        if self.section.fit == "resize":
            return evidence
        top, left, rows, columns = seen_window(shape, self.section)
        laid = np.full(shape, np.nan, np.float32)
        seen = np.s_[top : top + rows, left : left + columns]
        laid[seen] = place(evidence, shape, self.section)[seen]
        return laid


def corners(grid: Grid) -> list[tuple[int, int]]:
    """First row and column of the windows, row by row."""
    return [(int(top), int(left)) for top in grid.tops_px for left in grid.lefts_px]


def heat(values: np.ndarray, grid: Grid, shape: Pair) -> np.ndarray:
    """Values (windows, K) of a grid as a picture (h, w, K) float32 of an image of `shape`.

    It has the image's own size, or, above LONGEST_SIDE_PX, a whole part of it.
    """
    scale = max(1, -(-max(shape) // LONGEST_SIDE_PX))
    region = (0, 0, -(-shape[0] // scale), -(-shape[1] // scale))
    return upsampled(values.reshape(grid.rows, grid.columns, -1), grid, region, scale)


def _pair(values: Any) -> Pair:
    rows, columns = values
    return int(rows), int(columns)

"""How much of the heat lies on empty background: the confounder that DeadNet's authors found.

What is a cell is known of simulated images, and otherwise guessed from texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import TiffFileError

from deadlib.controls.cells import Mask, texture_masks
from deadlib.inputs import RunInput

SIMULATOR = "simulator"
TEXTURE = "texture"
NOTEWORTHY = 1.2
"""Heat on the background, relative to even heat, from which a class is named."""


@dataclass(frozen=True)
class Background:
    """One class: where the heat for it lies."""

    target: str
    images: int
    heat_share: float
    """Mean share of an image's heat that lies on background."""
    area_share: float
    """Mean share of the area that is background: what even heat would have there."""

    @property
    def ratio(self) -> float:
        """1: as even heat; NaN: no background."""
        return self.heat_share / self.area_share if self.area_share > 0 else float("nan")

    def sentence(self) -> str:
        """What a reader has to know."""
        said = (
            f"{self.target}: {self.heat_share:.0%} of the heat lies on background, which is "
            f"{self.area_share:.0%} of the area"
        )
        if self.ratio > NOTEWORTHY:
            return (
                f"{said}, {self.ratio:.1f} times what even heat would have there: the network may "
                "take empty places for a sign of this class"
            )
        return said

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "sentence": self.sentence()}


@dataclass(frozen=True)
class Cells:
    """Which pixels of images are cells, and how that is known."""

    masks: list[Mask]
    origin: str
    """`simulator`: the truth; `texture`: a guess."""


def cells(given: RunInput, rows: Sequence[int]) -> Cells:
    """The masks (H, W), true on cells, of stored images: the simulator's where it left any."""
    found = [_true_mask(given, row) for row in rows]
    known = [mask for mask in found if mask is not None]
    if len(known) == len(rows):
        return Cells(known, SIMULATOR)
    return Cells(texture_masks([given.image(row) for row in rows]), TEXTURE)


def shares(heat: NDArray[np.float32], mask: Mask) -> tuple[float, float]:
    """Share of the heat (H, W) that lies on background, NaN without heat, and of the area."""
    total = float(heat.sum(dtype=np.float64))
    on_background = float(heat[~mask].sum(dtype=np.float64))
    return (on_background / total if total > 0 else float("nan"), float((~mask).mean()))


def by_class(targets: Sequence[str], found: Sequence[tuple[float, float]]) -> list[Background]:
    """The mean of `shares` over the images of each class asked about; without heat none counts."""
    values = np.asarray(found, np.float64)
    summed = []
    for target in sorted(set(targets)):
        here = values[[name == target for name in targets]]
        here = here[np.isfinite(here[:, 0])]
        if len(here):
            summed.append(Background(target, len(here), *(float(v) for v in here.mean(axis=0))))
    return summed


def _true_mask(given: RunInput, row: int) -> Mask | None:
    """The simulator's mask of a stored image; None where it left none that fits."""
    example = given.dataset.manifest.iloc[row]
    name = str(example["source_id"]).removeprefix("images/").replace("_{channel}", "")
    window = [int(example[edge]) for edge in ("top_px", "left_px", "height_px", "width_px")]
    top, left, height, width = window
    for source in given.dataset.sources:
        path = (Path(source["folder"]) / "truth" / "masks" / name).with_suffix(".tif")
        if not path.is_file():
            continue
        try:
            cut = tifffile.imread(path)[top : top + height, left : left + width] > 0
        except (OSError, TiffFileError):
            return None
        return cut if cut.shape == given.image(row).shape[:2] else None
    return None

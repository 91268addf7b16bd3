"""Each frame looked at before the work begins: what it is, and what may mislead the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadlib.errors import InputError
from deadlib.heatmaps.frames import open_frame, samples
from deadlib.heatmaps.movie import Moment, Position, in_words
from deadlib.heatmaps.regions import Frame
from tfrecords_tools.errors import ImageError

SATURATED = 0.01
"""A larger share of pixels at the end of the scale is told."""
EMPTY = 4.0
"""Structure below this many times that of noise alone is told."""
_BLOCK_PX = 8
_SHOWN = 5
# MAD of a normal distribution, and what the second difference makes of its deviation.
_MAD = 0.6745
_SECOND_DIFFERENCE = 6.0**0.5
_LAPLACIAN = 20.0**0.5


@dataclass(frozen=True)
class Look:
    """What a frame is like.

    saturated_share: of the pixels, of the worst channel. structure: how much neighbouring places
    differ, where 1 is what noise alone would give; of the best channel. low, high: intensities
    between which a picture of it is drawn, of its first channel.
    """

    shape: tuple[int, ...]
    dtype: str
    saturated_share: float
    structure: float
    low: float
    high: float

    @property
    def marks(self) -> tuple[str, ...]:
        """What makes its heat map doubtful: saturated, empty."""
        found = (
            ("saturated", self.saturated_share > SATURATED),
            ("empty", self.structure < EMPTY),
        )
        return tuple(name for name, holds in found if holds)


@dataclass(frozen=True)
class Survey:
    """The frames of a position that can be used, each with its look, and what there is to say.

    bad: a sentence for each frame that cannot be used. notes: a sentence on what is doubtful.
    """

    moments: tuple[Moment, ...]
    looks: tuple[Look, ...]
    bad: tuple[str, ...]
    notes: tuple[str, ...]


def survey(position: Position, seen: Callable[[], None]) -> Survey:
    """Look at every frame of a position; `seen` is called after each.

    Frames that cannot be read, and those of another size or data type than most, are bad.
    """
    found: list[tuple[Moment, Look]] = []
    bad: list[str] = []
    for moment in position.moments:
        try:
            found.append((moment, look_at(open_frame(moment.locators))))
        except ImageError as error:
            bad.append(f"position {position.name}, {in_words(moment)}: {error}")
        seen()
    kinds = Counter((look.shape, look.dtype) for _, look in found)
    usual = kinds.most_common(1)[0][0] if kinds else None
    kept = []
    for moment, look in found:
        if (look.shape, look.dtype) == usual:
            kept.append((moment, look))
        elif usual is not None:
            bad.append(
                f"position {position.name}, {in_words(moment)}: {moment.locators[0]} is "
                f"{_kind(look.shape, look.dtype)}, expected {_kind(*usual)} as the other frames; "
                "export it as the others"
            )
    return Survey(
        tuple(moment for moment, _ in kept),
        tuple(look for _, look in kept),
        tuple(bad),
        _notes(position, kept),
    )


def check_bad(bad: Sequence[str], skip: bool) -> None:
    """Raise InputError where frames cannot be used and are not to be skipped."""
    if bad and not skip:
        shown = "; ".join(bad[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise InputError(
            f"{len(bad)} frames cannot be used: {shown}{more}; mend them, or go on without them "
            "with --on-bad-frame skip"
        )


def look_at(frame: Frame) -> Look:
    """Measure a frame; a large one on samples of it."""
    parts = list(samples(frame))
    values = np.concatenate([part[..., 0].reshape(-1)[::7] for part in parts])
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    channels = range(frame.shape[2])
    return Look(
        shape=tuple(int(side) for side in frame.shape),
        dtype=frame.dtype.name,
        saturated_share=max(
            saturated_share([part[..., channel] for part in parts]) for channel in channels
        ),
        structure=max(structure(part[..., channel]) for part in parts for channel in channels),
        low=low,
        high=high,
    )


def saturated_share(parts: Sequence[np.ndarray[Any, Any]]) -> float:
    """Share of pixels at the end of the scale: of the data type, or of a sensor of 9 to 16 bits.

    0 where the largest value is no such end, and for floats, which have none.
    """
    if parts[0].dtype.kind == "f":
        return 0.0
    highest = max(int(part.max()) for part in parts)
    # 2^n - 1 has no zero bit; a sensor of fewer than 8 bits is not in use.
    if highest < 255 or highest & (highest + 1):
        return 0.0
    return sum(int((part == highest).sum()) for part in parts) / sum(part.size for part in parts)


def structure(plane: np.ndarray[Any, Any]) -> float:
    """How strongly means of small blocks (8 px) differ from those beside them.

    The 99th percentile of their second difference over what noise alone would give, 1 for pure
    noise whatever its strength; shading does not count. 0 for a plane of one value.
    """
    image = plane.astype(np.float32)
    rows, columns = (side // _BLOCK_PX for side in image.shape)
    if rows < 3 or columns < 3:
        return float("inf")
    noise = float(np.median(np.abs(np.diff(image, 2, axis=1))) / (_MAD * _SECOND_DIFFERENCE))
    blocks = image[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    means = blocks.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).mean(axis=(1, 3))
    around = means[:-2, 1:-1] + means[2:, 1:-1] + means[1:-1, :-2] + means[1:-1, 2:]
    curvature = float(np.percentile(np.abs(4 * means[1:-1, 1:-1] - around), 99)) / 2.576
    if curvature == 0:
        return 0.0
    # Whole numbers round: even without noise their error has this deviation.
    floor = 12.0**-0.5 if plane.dtype.kind != "f" else 0.0
    return curvature / (max(noise, floor, 1e-12) / _BLOCK_PX * _LAPLACIAN)


def _kind(shape: Sequence[int], dtype: str) -> str:
    return f"{shape[0]} x {shape[1]} px (rows x columns), {shape[2]} channels, {dtype}"


def _notes(position: Position, looks: Sequence[tuple[Moment, Look]]) -> tuple[str, ...]:
    notes = []
    saturated = [(moment, look) for moment, look in looks if "saturated" in look.marks]
    if saturated:
        worst = max(look.saturated_share for _, look in saturated)
        notes.append(
            f"position {position.name}: {len(saturated)} of {len(looks)} frames have more than "
            f"{100 * SATURATED:g} % of their pixels at the end of the camera's scale (up to "
            f"{100 * worst:.1f} %, first {in_words(saturated[0][0])}); what lies there is lost, so "
            "do not trust the map; take shorter exposures"
        )
    empty = [moment for moment, look in looks if "empty" in look.marks]
    if empty:
        notes.append(
            f"position {position.name}: {len(empty)} of {len(looks)} frames show nearly no "
            f"structure (first {in_words(empty[0])}): no cells, or out of focus; the network was "
            "not trained on empty images, so what it says of them means nothing"
        )
    return tuple(notes)

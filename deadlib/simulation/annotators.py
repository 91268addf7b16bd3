"""Simulated annotators: who is shown which crop of a lapse, and what they answer, after DeadNet.

The unit is a crop with some consecutive frames. Annotators take turns. Each gets fresh items in
random order; each fifth that an annotator gets is one that another has scored already, so that
their agreement can be measured. Nobody gets an item twice.

An annotator sees which share of a crop's cells is sick, with an error drawn for each response, and
answers by a threshold of their own; within a margin of it they are unsure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from deadlib.simulation.area import is_sick
from deadlib.simulation.design import Stream, stream

OVERLAP_EVERY = 5
BEGINNING = datetime(2017, 1, 9, 9, 0, 0)
SECONDS_EACH = 6.0

THRESHOLD = 0.55
THRESHOLD_SPREAD = 0.12
MARGIN = 0.06
ERROR = 0.25


@dataclass(frozen=True)
class Item:
    """A crop and its frames: the unit that is annotated. Lengths in pixels."""

    name: str
    position: str
    light_dose_s: float
    top_px: int
    left_px: int
    height_px: int
    width_px: int
    first_frame: int
    frames: int
    sick_share: float | None
    """Of the cells whose centre lies in the crop, over all frames; None where there is none."""


def items_of(
    images: Sequence[Mapping[str, Any]],
    cells: Sequence[Mapping[str, Any]],
    *,
    size_px: tuple[int, int],
    crop_px: int,
    frames: int,
) -> list[Item]:
    """Crops side by side from the top left corner, each with `frames` frames that follow.

    images, cells: rows of images.csv and truth/cells.csv. What is left over at the right, at the
    bottom and at the end of the lapse belongs to no item.
    """
    height, width = min(crop_px, size_px[0]), min(crop_px, size_px[1])
    sick: dict[str, dict[tuple[int, int], list[bool]]] = {}
    for cell in cells:
        crop = int(cell["y_px"] // height), int(cell["x_px"] // width)
        sick.setdefault(cell["path"], {}).setdefault(crop, []).append(is_sick(cell["stress"]))
    lapses: dict[str, list[Mapping[str, Any]]] = {}
    for image in images:
        lapses.setdefault(image["position"], []).append(image)
    found = []
    for position, lapse in lapses.items():
        for start in range(0, len(lapse) - frames + 1, frames):
            shown = [image["path"] for image in lapse[start : start + frames]]
            for row in range(size_px[0] // height):
                for column in range(size_px[1] // width):
                    seen = [
                        value
                        for path in shown
                        for value in sick.get(path, {}).get((row, column), [])
                    ]
                    top, left = row * height, column * width
                    found.append(
                        Item(
                            name=f"{position}_t{start:03d}_y{top}_x{left}",
                            position=position,
                            light_dose_s=lapse[start]["light_dose_s"],
                            top_px=top,
                            left_px=left,
                            height_px=height,
                            width_px=width,
                            first_frame=lapse[start]["time_index"],
                            frames=frames,
                            sick_share=float(np.mean(seen)) if seen else None,
                        )
                    )
    return found


def annotate(
    items: Sequence[Item], annotators: int, responses: int, seed: int
) -> list[dict[str, Any]]:
    """The log: one row per response, in the order of time.

    Each annotator gives `responses`, or fewer: the annotation ends when nothing fresh is left.
    """
    rng = stream(seed, Stream.ANNOTATORS)
    thresholds = THRESHOLD + THRESHOLD_SPREAD * rng.standard_normal(annotators)
    fresh = [int(index) for index in rng.permutation(len(items))]
    scored_by: dict[int, set[int]] = {}
    given = [0] * annotators
    now = BEGINNING
    log: list[dict[str, Any]] = []
    for _ in range(responses):
        for annotator in range(annotators):
            pool = [index for index, others in scored_by.items() if annotator not in others]
            overlap = bool(pool) and (given[annotator] + 1) % OVERLAP_EVERY == 0
            if not overlap and not fresh:
                return log
            index = pool[int(rng.integers(len(pool)))] if overlap else fresh.pop()
            scored_by.setdefault(index, set()).add(annotator)
            given[annotator] += 1
            now += timedelta(seconds=round(2 + float(rng.exponential(SECONDS_EACH))))
            log.append(
                {
                    "annotator": f"annotator{annotator + 1}",
                    **_described(items[index]),
                    "response": answer(items[index].sick_share, float(thresholds[annotator]), rng),
                    "served": "overlap" if overlap else "fresh",
                    "timestamp": now.isoformat(),
                }
            )
    return log


def answer(sick_share: float | None, threshold: float, rng: np.random.Generator) -> str:
    """What an annotator with this threshold says of a crop; without cells nobody can tell."""
    error = ERROR * float(rng.standard_normal())
    if sick_share is None or abs(sick_share + error - threshold) < MARGIN:
        return "unsure"
    return "sick" if sick_share + error > threshold else "healthy"


def _described(item: Item) -> dict[str, Any]:
    return {
        "item": item.name,
        "position": item.position,
        "light_dose_s": item.light_dose_s,
        "top_px": item.top_px,
        "left_px": item.left_px,
        "height_px": item.height_px,
        "width_px": item.width_px,
        "first_frame": item.first_frame,
        "frames": item.frames,
    }

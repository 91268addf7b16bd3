"""Cells: what each one is by birth, and where it stands in its life at a given hour."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.shapes import TILE_PX, smoothstep, spread_outline

NEVER = math.inf
MITOSIS_HOURS = 1.2
LEAD_HOURS = 0.8


@dataclass(frozen=True)
class CellLine:
    """What cells of one line look like."""

    radius_um: float = 17.0
    radius_spread: float = 0.18
    aspect: float = 1.5
    aspect_spread: float = 0.25
    protrusions: float = 1.5
    roughness: float = 0.10
    thickness: float = 1.0
    nucleus: float = 0.42
    colony: float = 0.0
    granules: float = 12.0


@dataclass(frozen=True)
class Cell:
    """One cell. Lengths in micrometres, angles in radians, times in hours after the insult."""

    number: int
    y_um: float
    x_um: float
    velocity_um: tuple[float, float]
    radius_um: float
    outline: NDArray[np.float64]
    angle: float
    thickness: float
    nucleus_offset: tuple[float, float]
    nucleus_um: float
    nucleus_aspect: float
    nucleoli: NDArray[np.float64]
    granules: NDArray[np.float64]
    blebs: NDArray[np.float64]
    fibres: NDArray[np.float64]
    texture: tuple[int, int]
    death_hours: float
    mitosis_hours: float
    sensitivity: float

    def place_um(self, hours: float) -> tuple[float, float]:
        """Where the centre stands; a dead cell no longer crawls."""
        crawling = min(hours, self.death_hours + 0.5) if hours > 0 else 0.0
        crawling = max(crawling, 0.0)
        return (
            self.y_um + self.velocity_um[0] * crawling,
            self.x_um + self.velocity_um[1] * crawling,
        )


@dataclass(frozen=True)
class Look:
    """How far a cell has gone, each from 0 to 1."""

    stress: float
    rounding: float
    blebbing: float
    decay: float
    mitosis: float

    @property
    def state(self) -> str:
        """The name of the stage, as in the table of truth."""
        if self.decay > 0.5:
            return "dead"
        if self.blebbing > 0.3:
            return "blebbing"
        if self.rounding > 0.3:
            return "rounding"
        if self.mitosis > 0.3:
            return "mitotic"
        return "stressed" if self.stress > 0.3 else "healthy"


STATES = ("healthy", "stressed", "mitotic", "rounding", "blebbing", "dead")


def look_at(cell: Cell, hours: float, stress: float) -> Look:
    """The stage of a cell at an hour; `stress` is the sublethal insult of its surroundings."""
    since = hours - cell.death_hours
    dying = float(smoothstep(since, -LEAD_HOURS, 0.0)) if math.isfinite(since) else 0.0
    dividing = 0.0
    if math.isfinite(cell.mitosis_hours) and since < 0:
        into = hours - cell.mitosis_hours
        dividing = float(
            smoothstep(into, 0, 0.2) * smoothstep(into, MITOSIS_HOURS, MITOSIS_HOURS - 0.2)
        )
    if not math.isfinite(since):
        since = -1e6
    return Look(
        stress=min(max(stress * cell.sensitivity, dying), 1.0),
        rounding=float(smoothstep(since, 0.0, 0.5)),
        blebbing=float(smoothstep(since, 0.4, 1.2) * smoothstep(since, 8.0, 5.0)),
        decay=float(smoothstep(since, 4.0, 8.0)),
        mitosis=dividing,
    )


def death_time(
    rng: np.random.Generator,
    *,
    hazard: float,
    scale_hours: float,
    shape: float,
    background_per_hour: float,
    history_hours: float,
) -> float:
    """When a cell dies, in hours after the insult; the draws do not depend on the hazard.

    Two causes compete: a background that has been at work for `history_hours` before, and the
    insult, whose cumulative hazard is `hazard (t / scale_hours)^shape` (Weibull). The same
    generator state gives an earlier death for a larger hazard, never a later one.
    """
    by_background, by_insult = rng.exponential(size=2)
    background = (
        by_background / background_per_hour - history_hours if background_per_hour > 0 else NEVER
    )
    insult = scale_hours * (by_insult / hazard) ** (1 / shape) if hazard > 0 else NEVER
    return float(min(background, insult))


def make_cell(
    rng: np.random.Generator,
    number: int,
    place_um: tuple[float, float],
    line: CellLine,
    *,
    death_hours: float,
    mitosis_share: float,
    horizon_hours: float,
    speed_um_per_hour: float = 4.0,
) -> Cell:
    """Draw one cell of a line at a place."""
    radius = line.radius_um * math.exp(line.radius_spread * rng.standard_normal())
    aspect = math.exp(math.log(line.aspect) + line.aspect_spread * rng.standard_normal())
    angle = rng.uniform(0, 2 * math.pi)
    protrusions = _protrusions(rng, angle, line)
    waves = tuple(
        (line.roughness * rng.rayleigh() * (2.0 / order) ** 1.5, rng.uniform(0, 2 * math.pi))
        for order in range(2, 11)
    )
    heading, speed = rng.uniform(0, 2 * math.pi), rng.exponential(speed_um_per_hour)
    nucleus = radius * line.nucleus * math.exp(0.08 * rng.standard_normal())
    spots = rng.poisson(line.granules)
    mitosis = rng.uniform(-MITOSIS_HOURS, horizon_hours) if rng.random() < mitosis_share else NEVER
    return Cell(
        number=number,
        y_um=place_um[0],
        x_um=place_um[1],
        velocity_um=(speed * math.sin(heading), speed * math.cos(heading)),
        radius_um=radius,
        outline=spread_outline(aspect, angle, waves, protrusions),
        angle=angle,
        thickness=line.thickness * math.exp(0.18 * rng.standard_normal()),
        nucleus_offset=(
            0.12 * radius * rng.standard_normal(),
            0.12 * radius * rng.standard_normal(),
        ),
        nucleus_um=nucleus,
        nucleus_aspect=1.0 + 0.35 * rng.random(),
        nucleoli=_scatter(rng, int(rng.integers(2, 9)), 0.6, 0.07, 0.17),
        granules=_scatter(rng, spots, 0.75, 0.2, 0.6),
        blebs=_around(rng, 3 + rng.poisson(4), 0.15, 0.45),
        fibres=_around(rng, rng.poisson(3), 0.6, 1.0),
        texture=(int(rng.integers(TILE_PX)), int(rng.integers(TILE_PX))),
        death_hours=death_hours,
        mitosis_hours=mitosis,
        sensitivity=float(rng.uniform(0.5, 1.5)),
    )


def _protrusions(
    rng: np.random.Generator, angle: float, line: CellLine
) -> tuple[tuple[float, float, float], ...]:
    """Spindle tips along the axis first, then lamellae anywhere."""
    found = []
    for index in range(rng.poisson(line.protrusions)):
        along = angle + math.pi * index + 0.35 * rng.standard_normal()
        direction = along if index < 2 else rng.uniform(0, 2 * math.pi)
        found.append((direction, rng.uniform(0.3, 1.4), rng.uniform(4, 11)))
    return tuple(found)


def _around(
    rng: np.random.Generator, count: int, smallest: float, largest: float
) -> NDArray[np.float64]:
    """Things on a rim: rows of (angle, size, order), crowded on one side as often as not."""
    angles = rng.uniform(0, 2 * math.pi) + rng.normal(0, rng.uniform(0.8, 2.5), count)
    return np.column_stack(
        [angles, rng.uniform(smallest, largest, count), rng.uniform(0, 1, count)]
    )


def _scatter(
    rng: np.random.Generator, count: int, reach: float, smallest: float, largest: float
) -> NDArray[np.float64]:
    """Points in a disc: rows of (y, x, size, weight), y and x in units of the disc's radius."""
    distance = reach * np.sqrt(rng.uniform(0, 1, count))
    turn = rng.uniform(0, 2 * math.pi, count)
    size = rng.uniform(smallest, largest, count)
    return np.column_stack(
        [distance * np.sin(turn), distance * np.cos(turn), size, rng.uniform(0.4, 1.0, count)]
    )


def scatter_cells(
    rng: np.random.Generator,
    extent_um: tuple[float, float],
    per_mm2: float,
    line: CellLine,
) -> NDArray[np.float64]:
    """Centres in a field of rows x columns micrometres, spaced out, in colonies if the line is.

    Returns (N, 2) y and x in micrometres. Each centre is the one of eight tries that is farthest
    from its neighbours; in colonies a try is drawn near a cell that is there already.
    """
    count = rng.poisson(per_mm2 * extent_um[0] * extent_um[1] / 1e6)
    extent = np.asarray(extent_um)
    centres = np.empty((count, 2))
    for index in range(count):
        tries = rng.uniform(0, 1, (8, 2)) * extent
        if index and rng.random() < line.colony:
            near = centres[rng.integers(index)]
            tries = np.clip(near + 2.2 * line.radius_um * rng.standard_normal((8, 2)), 0, extent)
        if index:
            gaps = np.min(np.sum((tries[:, None] - centres[None, :index]) ** 2, axis=-1), axis=1)
            centres[index] = tries[np.argmax(gaps)]
        else:
            centres[index] = tries[0]
    return centres

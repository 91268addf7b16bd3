"""A field of view: cells on a canvas a little larger than the image, and the truth about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.area import is_sick, sick_area
from deadlib.simulation.cells import Cell, look_at
from deadlib.simulation.scene import Placed, phase_object, place
from deadlib.simulation.shapes import Array, add_spot, textures


@dataclass(frozen=True)
class Field:
    """The image within its canvas: a margin all round keeps the optics from wrapping over."""

    MARGIN_UM: ClassVar[float] = 15.0

    height: int
    width: int
    pixel_um: float

    @property
    def margin_px(self) -> int:
        return round(self.MARGIN_UM / self.pixel_um)

    @property
    def canvas(self) -> tuple[int, int]:
        return self.height + 2 * self.margin_px, self.width + 2 * self.margin_px

    def crop(self, canvas: NDArray[Any]) -> NDArray[Any]:
        """The image out of the canvas."""
        margin = self.margin_px
        return canvas[margin : margin + self.height, margin : margin + self.width]


@dataclass(frozen=True)
class Scene:
    """A drawn field: the phase object on the canvas, the mask of the image, who is where."""

    phase: Array
    mask: NDArray[np.uint16]
    placed: list[Placed]
    field: Field

    def truth(self, path: str) -> list[dict[str, Any]]:
        """One row for each cell of which the image shows at least one pixel."""
        visible = np.bincount(self.mask.ravel(), minlength=1)
        rows = []
        for item in self.placed:
            number = item.cell.number
            if number >= visible.size or visible[number] == 0:
                continue
            death = item.cell.death_hours
            rows.append(
                {
                    "path": path,
                    "cell": number,
                    "y_px": round(item.y_px - self.field.margin_px, 2),
                    "x_px": round(item.x_px - self.field.margin_px, 2),
                    "radius_px": round(float(np.sqrt(np.mean(item.outline_px**2))), 2),
                    "area_px": int(visible[number]),
                    "state": item.look.state,
                    "stress": round(item.look.stress, 4),
                    "death_hours": round(death, 4) if np.isfinite(death) else "",
                }
            )
        return rows

    @property
    def sick_area(self) -> float | None:
        """The share of the image whose nearest visible cell is sick; None without a cell."""
        sick = [item.cell.number for item in self.placed if is_sick(item.look.stress)]
        return sick_area(self.mask, sick)


def compose(
    cells: Sequence[Cell],
    field: Field,
    hours: float,
    stress: float,
    stage_um: tuple[float, float],
    seed: int,
) -> Scene:
    """Draw cells as they are at an hour, with the stage shifted by (y, x) micrometres.

    The cells' coordinates count from the corner of the canvas. The textures come from the seed.
    """
    placed = []
    for cell in cells:
        item = place(
            cell,
            look_at(cell, hours, stress),
            hours=hours,
            pixel_um=field.pixel_um,
            origin_px=(stage_um[0] / field.pixel_um, stage_um[1] / field.pixel_um),
            canvas=field.canvas,
        )
        if item is not None:
            placed.append(item)
    phase, mask = phase_object(placed, field.canvas, field.pixel_um, textures(seed, field.pixel_um))
    return Scene(phase, field.crop(mask), placed, field)


def add_debris(
    phase: Array, field: Field, rng: np.random.Generator, per_mm2: float = 150.0
) -> None:
    """Scatter dust and fragments over a phase object, in place."""
    rows, columns = phase.shape
    area_mm2 = rows * columns * (field.pixel_um / 1000) ** 2
    for _ in range(rng.poisson(per_mm2 * area_mm2)):
        y, x = rng.uniform(0, rows), rng.uniform(0, columns)
        size_um = 0.4 + rng.exponential(0.35)
        add_spot(phase, y, x, max(size_um / field.pixel_um, 0.6), rng.normal(0.5, 0.4))

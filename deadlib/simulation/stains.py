"""Where the dyes are: DNA, endoplasmic reticulum, actin with Golgi and membrane, mitochondria.

Apoptosis: the nucleus condenses, brightens and breaks up, the cell shrinks and blebs, mitochondria
clump. Ferroptosis: the cell balloons and loses its fibres, the reticulum swells into vesicles,
mitochondria become small and dim, the nucleus stays nearly whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.cells import Cell, Look
from deadlib.simulation.field import Field
from deadlib.simulation.scene import Placed, label_mask, territories
from deadlib.simulation.shapes import (
    THETA,
    Array,
    Patch,
    Textures,
    add_ball,
    add_spot,
    ellipse_distance,
    patch_around,
    sample,
    smoothstep,
)

DNA, ER, AGP, MITO = range(4)


@dataclass(frozen=True)
class Stained:
    """A cell, how it dies (or healthy), how far it has gone (0-1) and how much dye it took."""

    cell: Cell
    state: str
    degree: float
    brightness: float

    @property
    def apoptosis(self) -> float:
        return self.degree if self.state == "apoptosis" else 0.0

    @property
    def ferroptosis(self) -> float:
        return self.degree if self.state == "ferroptosis" else 0.0


@dataclass(frozen=True)
class Painted:
    """Dye densities (4, rows, columns) on the canvas, the mask of the image, who is where."""

    density: Array
    mask: NDArray[np.uint16]
    placed: list[tuple[Stained, Placed]]

    def truth(self, path: str, field: Field) -> list[dict[str, Any]]:
        """One row for each cell of which the image shows at least one pixel."""
        visible = np.bincount(self.mask.ravel(), minlength=1)
        rows = []
        for stained, item in self.placed:
            number = stained.cell.number
            if number >= visible.size or visible[number] == 0:
                continue
            rows.append(
                {
                    "path": path,
                    "cell": number,
                    "y_px": round(item.y_px - field.margin_px, 2),
                    "x_px": round(item.x_px - field.margin_px, 2),
                    "radius_px": round(float(np.sqrt(np.mean(item.outline_px**2))), 2),
                    "area_px": int(visible[number]),
                    "state": stained.state if stained.degree >= 0.3 else "healthy",
                    "stress": round(stained.degree, 4),
                    "death_hours": "",
                }
            )
        return rows


def paint(cells: Sequence[Stained], field: Field, tiles: Textures) -> Painted:
    """Draw the dyes of all cells of a field."""
    placed = [(cell, item) for cell in cells if (item := _place(cell, field)) is not None]
    items = [item for _, item in placed]
    owner, best, second = territories(items, field.canvas)
    density = np.zeros((4, *field.canvas))
    for index, (stained, item) in enumerate(placed):
        window = item.patch.window
        others = np.where(owner[window] == index, second[window], best[window])
        depth = item.relative - 0.8 * item.look.rounding
        share = 1 / (1 + np.exp(np.clip((depth - others) / 0.08, -30, 30)))
        density[(slice(None), *window)] += _dyes(stained, item, share, field.pixel_um, tiles)
    mask = field.crop(label_mask(items, owner, field.canvas))
    return Painted(density, mask, placed)


def _place(stained: Stained, field: Field) -> Placed | None:
    cell = stained.cell
    apoptosis, ferroptosis = stained.apoptosis, stained.ferroptosis
    rounding = float(smoothstep(max(apoptosis, ferroptosis), 0.3, 0.9))
    round_size = 0.62 if apoptosis else 0.80
    outline = (1 - rounding) * cell.outline ** (1 - 0.4 * stained.degree)
    outline = outline * (1 - 0.12 * apoptosis) + rounding * round_size
    if ferroptosis:
        outline = outline * (1 + 0.05 * rounding * np.cos(2 * THETA + cell.angle))
    outline_px = outline * cell.radius_um / field.pixel_um
    y_px, x_px = cell.y_um / field.pixel_um, cell.x_um / field.pixel_um
    patch = patch_around(y_px, x_px, 1.35 * float(outline_px.max()) + 3, field.canvas)
    if patch is None:
        return None
    look = Look(stained.degree, rounding, apoptosis, 0.0, 0.0)
    return Placed(cell, look, y_px, x_px, patch, outline_px, patch.relative(outline_px))


def _dyes(stained: Stained, item: Placed, share: Array, pixel_um: float, tiles: Textures) -> Array:
    """Densities of the four dyes in the window of one cell."""
    cell, patch = stained.cell, item.patch
    apoptosis, ferroptosis = stained.apoptosis, stained.ferroptosis
    inside = smoothstep(item.relative, 1.03, 0.9) * share
    thick = (1 + 1.2 * item.look.rounding) * (
        0.45 + 0.55 * np.sqrt(np.clip(1 - item.relative**2, 0, None))
    )
    body = inside * thick
    grain = sample(tiles.grain, patch, cell.texture)
    cloud = sample(tiles.cloud, patch, cell.texture)
    strands = sample(tiles.strands, patch, cell.texture)
    y, x = cell.nucleus_offset[0] / pixel_um, cell.nucleus_offset[1] / pixel_um
    radius = cell.nucleus_um / pixel_um * (1 - 0.38 * apoptosis - 0.12 * ferroptosis)
    distance = ellipse_distance(patch, y, x, radius, cell.nucleus_aspect, cell.angle)
    nucleus = smoothstep(distance, 1.1, 0.9)
    near = np.exp(-0.5 * (distance / 2.6) ** 2)

    dyes = np.empty((4, *body.shape))
    dyes[DNA] = _nucleus(stained, patch, (y, x), radius, nucleus, grain, cloud)
    hole = 1 - 0.75 * nucleus
    dyes[ER] = body * hole * (0.18 + 0.55 * near) * (1 + 0.22 * grain + 0.15 * cloud)
    dyes[ER] *= 1 + 0.4 * apoptosis
    dyes[AGP] = _actin(stained, item, body, grain, cloud, pixel_um)
    fine = np.clip(strands + 0.10 * grain, 0, None)
    dyes[MITO] = body * hole * (0.08 + 1.1 * fine * (0.2 + 0.8 * near))
    dyes[MITO] *= (1 - 0.82 * ferroptosis) * (1 + 0.5 * apoptosis)
    if ferroptosis > 0:
        _swell(stained, item, dyes, inside, pixel_um)
    if apoptosis > 0:
        _bleb(stained, item, dyes)
    return dyes * stained.brightness


def _nucleus(
    stained: Stained,
    patch: Patch,
    centre_px: tuple[float, float],
    radius_px: float,
    nucleus: Array,
    grain: Array,
    cloud: Array,
) -> Array:
    apoptosis = stained.apoptosis
    texture = 1 + (0.14 + 0.25 * apoptosis) * cloud + 0.12 * grain
    whole = nucleus * np.clip(texture, 0.2, None) * (0.75 + 1.3 * apoptosis)
    whole *= 1 - 0.25 * stained.ferroptosis
    broken = float(smoothstep(apoptosis, 0.55, 0.9))
    if broken > 0:
        whole *= 1 - broken
        y, x = centre_px[0] - patch.dy[0, 0], centre_px[1] - patch.dx[0, 0]
        for spot_y, spot_x, size, weight in stained.cell.nucleoli:
            add_ball(
                whole,
                y + 1.9 * spot_y * radius_px,
                x + 1.9 * spot_x * radius_px,
                max((0.2 + 2.2 * size) * radius_px, 1.5),
                broken * (1.6 + 1.6 * weight),
            )
    else:
        y, x = centre_px[0] - patch.dy[0, 0], centre_px[1] - patch.dx[0, 0]
        for spot_y, spot_x, size, weight in stained.cell.nucleoli:
            add_spot(
                whole,
                y + spot_y * radius_px,
                x + spot_x * radius_px,
                max(size * radius_px, 0.8),
                -0.3 * weight,
            )
        whole = np.clip(whole, 0, None)
    return whole


def _actin(
    stained: Stained, item: Placed, body: Array, grain: Array, cloud: Array, pixel_um: float
) -> Array:
    """Cortex, stress fibres along the cell's axis, and the Golgi beside the nucleus."""
    cell, patch = stained.cell, item.patch
    across = patch.dy * np.cos(cell.angle) - patch.dx * np.sin(cell.angle)
    along = patch.dx * np.cos(cell.angle) + patch.dy * np.sin(cell.angle)
    wave = 2 * np.pi * pixel_um / 2.2
    bent = wave * across + 1.5 * np.sin(0.35 * wave * across) + 0.8 * cloud
    fibres = np.clip(np.sin(bent), 0, None) ** 2 * np.clip(0.6 + 0.5 * cloud, 0, 1.3)
    fibres *= 0.6 + 0.4 * np.sin(0.12 * wave * along + cell.nucleus_um)
    order = 1 - max(stained.apoptosis, stained.ferroptosis)
    cortex = np.exp(-(((item.relative - 0.95) / 0.07) ** 2)) * (body > 0.02)
    golgi_y = patch.dy + cell.nucleus_um / pixel_um * np.sin(cell.angle)
    golgi_x = patch.dx + cell.nucleus_um / pixel_um * np.cos(cell.angle)
    golgi = np.exp(-(golgi_y**2 + golgi_x**2) / (2 * (2.2 / pixel_um) ** 2))
    actin = body * (0.22 + 0.5 * order * fibres + 0.6 * golgi * (1 + 0.5 * grain) * order)
    return actin + cortex * (0.35 + 0.9 * stained.apoptosis + 0.15 * stained.ferroptosis)


def _swell(stained: Stained, item: Placed, dyes: Array, inside: Array, pixel_um: float) -> None:
    """Swollen vesicles of the reticulum, and the balloon on one side; in place."""
    ferroptosis = stained.ferroptosis
    centre = -item.patch.dy[0, 0], -item.patch.dx[0, 0]
    radius = float(item.outline_px.mean())
    vesicles = np.zeros(inside.shape)
    holes = np.zeros(inside.shape)
    for spot_y, spot_x, size, weight in stained.cell.granules:
        y, x = centre[0] + spot_y * radius, centre[1] + spot_x * radius
        size_px = (1.2 + 3.0 * size) * ferroptosis / pixel_um
        add_ball(vesicles, y, x, size_px * 1.25, weight)
        add_ball(holes, y, x, size_px, weight)
    dyes[ER] *= 1 + 0.35 * ferroptosis
    dyes[ER] += inside * np.clip(vesicles - 0.85 * holes, 0, 1) * 1.1 * ferroptosis
    dyes[ER] *= 1 - 0.6 * np.clip(holes, 0, 1) * ferroptosis
    angle, size, _ = stained.cell.blebs[0]
    balloon = radius * (0.35 + 0.8 * size) * float(smoothstep(ferroptosis, 0.5, 0.9))
    if balloon > 1:
        y = centre[0] + 0.9 * radius * np.sin(angle)
        x = centre[1] + 0.9 * radius * np.cos(angle)
        add_ball(dyes[AGP], y, x, balloon, 0.30)
        add_ball(dyes[ER], y, x, balloon, 0.10)


def _bleb(stained: Stained, item: Placed, dyes: Array) -> None:
    """Blebs on the rim, filled with cytoplasm and lined with actin; in place."""
    centre = -item.patch.dy[0, 0], -item.patch.dx[0, 0]
    radius = float(item.outline_px.mean())
    grown = float(smoothstep(stained.apoptosis, 0.3, 0.9))
    for angle, size, _ in stained.cell.blebs:
        size_px = 0.75 * size * radius * grown
        if size_px < 0.7:
            continue
        y = centre[0] + radius * 1.02 * np.sin(angle)
        x = centre[1] + radius * 1.02 * np.cos(angle)
        add_ball(dyes[ER], y, x, size_px, 0.5)
        add_ball(dyes[AGP], y, x, size_px, 0.9)
        add_ball(dyes[MITO], y, x, size_px, 0.25)

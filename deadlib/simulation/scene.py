"""The phase object: how far a field of cells delays the light, and which pixel is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.cells import Cell, Look
from deadlib.simulation.shapes import (
    ANGLES,
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

ROUND_PHASE = 4.3
FIBRE_PHASE = 0.16


@dataclass(frozen=True)
class Placed:
    """A cell on the canvas: its stage, the window around it and its outline in pixels."""

    cell: Cell
    look: Look
    y_px: float
    x_px: float
    patch: Patch
    outline_px: Array
    relative: Array


def round_radius_um(cell: Cell, look: Look) -> float:
    """Radius of the cell once it has let go: dying cells shrink, dividing ones do not."""
    return cell.radius_um * (0.54 - 0.12 * look.blebbing + 0.06 * look.decay)


def place(
    cell: Cell,
    look: Look,
    *,
    hours: float,
    pixel_um: float,
    origin_px: tuple[float, float],
    canvas: tuple[int, int],
) -> Placed | None:
    """Put a cell on the canvas, or None where it does not touch it."""
    y_um, x_um = cell.place_um(hours)
    y_px, x_px = y_um / pixel_um + origin_px[0], x_um / pixel_um + origin_px[1]
    letting_go = max(look.rounding, look.mitosis)
    retracted = cell.outline ** (1 - 0.5 * look.stress) * (1 - 0.18 * look.stress)
    outline = (1 - letting_go) * retracted * cell.radius_um
    outline = outline + letting_go * round_radius_um(cell, look)
    reach = max(float(outline.max()), float(cell.outline.max()) * cell.radius_um * letting_go)
    patch = patch_around(y_px, x_px, reach / pixel_um + 3, canvas)
    if patch is None:
        return None
    outline_px = outline / pixel_um
    return Placed(cell, look, y_px, x_px, patch, outline_px, patch.relative(outline_px))


def territories(
    placed: Sequence[Placed], canvas: tuple[int, int]
) -> tuple[NDArray[np.int64], Array, Array]:
    """Share the plane out: each pixel goes to the cell whose outline it lies deepest in.

    Returns the index into `placed` of the owner (-1: nobody), the owner's relative distance and
    that of the next cell. Rounded cells lie on top of spread ones.
    """
    owner = np.full(canvas, -1, dtype=np.int64)
    best = np.full(canvas, np.inf)
    second = np.full(canvas, np.inf)
    for index, item in enumerate(placed):
        window = item.patch.window
        depth = item.relative - 0.8 * max(item.look.rounding, item.look.mitosis)
        closer = depth < best[window]
        second[window] = np.where(closer, best[window], np.minimum(second[window], depth))
        best[window] = np.where(closer, depth, best[window])
        owner[window] = np.where(closer, index, owner[window])
    return owner, best, second


def label_mask(
    placed: Sequence[Placed], owner: NDArray[np.int64], canvas: tuple[int, int]
) -> NDArray[np.uint16]:
    """Each pixel's cell number, 0 outside all outlines."""
    mask = np.zeros(canvas, dtype=np.uint16)
    for index, item in enumerate(placed):
        window = item.patch.window
        inside = (owner[window] == index) & (item.relative < 1)
        mask[window][inside] = item.cell.number
    return mask


def phase_object(
    placed: Sequence[Placed],
    canvas: tuple[int, int],
    pixel_um: float,
    tiles: Textures,
) -> tuple[Array, NDArray[np.uint16]]:
    """Delay in radians (rows, columns) and the label mask of the same shape."""
    owner, best, second = territories(placed, canvas)
    phase = np.zeros(canvas)
    for index, item in enumerate(placed):
        window = item.patch.window
        others = np.where(owner[window] == index, second[window], best[window])
        free = max(item.look.rounding, item.look.mitosis)
        depth = item.relative - 0.8 * free
        # Touching cells leave a narrow cleft, which shines in phase contrast.
        cleft = 1 / (1 + np.exp(np.clip((depth - others + 0.06) / 0.04, -30, 30)))
        share = cleft * (1 - free) + free
        phase[window] += _cell_phase(item, share, pixel_um, tiles)
    return phase, label_mask(placed, owner, canvas)


def _cell_phase(item: Placed, share: Array, pixel_um: float, tiles: Textures) -> Array:
    look = item.look
    free = max(look.rounding, look.mitosis)
    phase = np.zeros(item.relative.shape)
    if free < 1:
        phase += (1 - free) * _spread_phase(item, pixel_um, tiles) * share
    if free > 0:
        phase += free * _round_phase(item, pixel_um, tiles)
    return phase


def _spread_phase(item: Placed, pixel_um: float, tiles: Textures) -> Array:
    """An adherent cell: thin lamella, dome, nucleus with nucleoli, granules and vacuoles."""
    cell, look, patch = item.cell, item.look, item.patch
    inside = np.clip(1 - item.relative**2, 0, None)
    lamella = smoothstep(item.relative, 1.02, 0.88)
    phase = (0.13 * lamella + (0.30 + 0.15 * look.stress) * inside**1.3) * cell.thickness
    grain = sample(tiles.grain, patch, cell.texture)
    cloud = sample(tiles.cloud, patch, cell.texture)
    phase *= 1 + (0.10 + 0.10 * look.stress) * grain * lamella + 0.10 * cloud

    y, x = cell.nucleus_offset[0] / pixel_um, cell.nucleus_offset[1] / pixel_um
    radius = cell.nucleus_um * (1 - 0.15 * look.stress) / pixel_um
    distance = ellipse_distance(patch, y, x, radius, cell.nucleus_aspect, cell.angle)
    nucleus = smoothstep(distance, 1.08, 0.9)
    rim = np.exp(-(((distance - 1) / 0.10) ** 2))
    phase += (0.065 * rim - 0.03 * nucleus - 0.10 * grain * nucleus * phase) * lamella

    centre = -patch.dy[0, 0], -patch.dx[0, 0]
    spots = np.zeros_like(phase)
    for spot_y, spot_x, size, weight in cell.nucleoli:
        sigma = max(size * radius * (1 - 0.3 * look.stress), 0.6)
        add_spot(
            spots,
            centre[0] + y + spot_y * radius,
            centre[1] + x + spot_x * radius,
            sigma,
            0.28 * weight,
        )
    reach = 0.9 * item.outline_px.mean()
    for spot_y, spot_x, size, weight in cell.granules:
        sigma = max(0.7 * size / pixel_um, 0.55)
        add_spot(
            spots,
            centre[0] + y + spot_y * reach,
            centre[1] + x + spot_x * reach,
            sigma,
            0.22 * weight,
        )
        if look.stress > 0.05 and weight > 0.6:
            vacuole = (0.6 + 1.4 * size) * (0.4 + 0.6 * look.stress) / pixel_um
            add_ball(
                spots,
                centre[0] + y - spot_x * reach,
                centre[1] + x + spot_y * reach,
                vacuole,
                -0.4 * look.stress * weight,
            )
    return phase + spots * lamella


def _round_phase(item: Placed, pixel_um: float, tiles: Textures) -> Array:
    """A cell that has let go: a thick ball; dying ones bleb, turn lumpy and leave fibres."""
    cell, look, patch = item.cell, item.look, item.patch
    dying = look.rounding
    ball = np.clip(1 - item.relative**2, 0, None) ** 0.5
    grain = sample(tiles.grain, patch, cell.texture)
    cloud = sample(tiles.cloud, patch, cell.texture)
    height = ROUND_PHASE * cell.thickness * (1 - 0.87 * look.decay)
    lumps = 1 + dying * (0.10 + 0.20 * look.blebbing) * grain + 0.12 * dying * cloud
    lumps = lumps + 0.03 * (1 - dying) * grain
    phase = height * ball * lumps
    centre = -patch.dy[0, 0], -patch.dx[0, 0]
    if look.mitosis > dying:
        across = np.abs(patch.dx * np.cos(cell.angle) + patch.dy * np.sin(cell.angle))
        along = patch.dy * np.cos(cell.angle) - patch.dx * np.sin(cell.angle)
        plate = (across < 1.3 / pixel_um) & (np.abs(along) < 0.55 * item.outline_px.mean())
        phase += 0.8 * plate * ball
    blebbing = max(look.blebbing, 0.7 * look.decay)
    radius = item.outline_px.mean()
    for angle, size, onset in cell.blebs:
        grown = float(smoothstep(blebbing, 0.6 * onset, 0.6 * onset + 0.4))
        if grown > 0:
            distance = radius * (0.75 + 0.4 * size)
            add_ball(
                phase,
                centre[0] + distance * np.sin(angle),
                centre[1] + distance * np.cos(angle),
                max(size * radius * grown, 0.8),
                0.55 * height * size * 2 * grown,
            )
    if dying > 0:
        phase += dying * (1 - look.decay) * _fibres(item, pixel_um)
    return phase


def _fibres(item: Placed, pixel_um: float) -> Array:
    """Retraction fibres: threads from the ball to where the edge of the spread cell was."""
    patch, cell = item.patch, item.cell
    threads = np.zeros(item.relative.shape)
    turn = THETA[patch.angle]
    for angle, length, strength in cell.fibres:
        index = round(angle / (2 * np.pi) * ANGLES) % ANGLES
        reach = cell.outline[index] * cell.radius_um / pixel_um * length
        aside = patch.distance * np.sin(turn - angle)
        ahead = patch.distance * np.cos(turn - angle)
        width = 0.45 / pixel_um + 0.25
        thread = np.exp(-(aside**2) / (2 * width**2)) * (ahead > 0) * (ahead < reach)
        threads = np.maximum(threads, strength * thread)
    return FIBRE_PHASE * threads

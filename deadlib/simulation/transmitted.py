"""Transmitted light: cell lines under camptothecin (CPT) or vehicle (DMSO), named as published."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deadlib.simulation.cells import Cell, CellLine, death_time, make_cell, scatter_cells
from deadlib.simulation.design import Stream, kept_wells, plate_conditions, stream
from deadlib.simulation.field import Field, add_debris, compose
from deadlib.simulation.optics import PhaseOptics, expose, phase_contrast
from deadlib.simulation.parameters import CELL_LINES, SimulationError, TransmittedParameters
from deadlib.simulation.truth import Rendered, write_mask, write_rgb
from deadlib.simulation.walk import Place, own_place, strip_place

CLASSES = ("DMSO", "CPT")
BACKGROUND = 0.34
STRAY = 0.4
HALO_RATIO = 1.7
TINT = (1.0, 0.99, 0.965)
SCALE_HOURS = 5.0
WEIBULL_SHAPE = 1.5
BACKGROUND_DEATHS_PER_HOUR = 0.012
HISTORY_HOURS = 6.0
MITOSIS_SHARE = 0.05
STRESS_HOURS = 0.8
DUST_PER_MM2 = 120.0
MOST_CELLS = 65_535
REACH_UM = 100.0

_SPREAD = CellLine(radius_um=19, aspect=1.4, protrusions=1.2, thickness=1.0)
_TIGHT = CellLine(
    radius_um=9.5,
    aspect=1.15,
    aspect_spread=0.12,
    protrusions=0.2,
    roughness=0.06,
    thickness=1.1,
    nucleus=0.62,
    colony=0.93,
    granules=4,
)
LINES: dict[str, CellLine] = {
    "U2": _SPREAD,
    "PC3": replace(_SPREAD, radius_um=15, aspect=1.7, protrusions=2.2, colony=0.2, thickness=1.2),
    "MCF7": replace(
        _SPREAD, radius_um=13, aspect=1.2, protrusions=0.5, colony=0.85, thickness=1.35
    ),
    "T47D": replace(
        _SPREAD, radius_um=12, aspect=1.25, protrusions=0.3, colony=0.7, thickness=1.5, granules=18
    ),
    "H9": _TIGHT,
    "FN": replace(_TIGHT, radius_um=10.5, thickness=1.0, colony=0.88),
    "DCMWT": replace(_TIGHT, radius_um=11, aspect=1.25, protrusions=0.4, colony=0.85),
}
REFERENCE_RADIUS_UM = 17.0


@dataclass(frozen=True)
class Shot:
    """One image of the plan; experiments are counted from 0, wells and fields from 1.

    `index` counts the fields of one well and hour, from 0.
    """

    line: str
    treatment: str
    well: int
    hours: int
    field: int
    experiment: int
    index: int = 0

    @property
    def name(self) -> str:
        return (
            f"{self.line}_{self.treatment}{self.well}_{self.hours}H_RGB_"
            f"{self.field:04d}_N{self.experiment + 1}.png"
        )


def plan(parameters: TransmittedParameters, seed: int) -> list[Shot]:
    """Every field of every well at every hour. Fields are numbered through their experiment."""
    shots = []
    for experiment in range(parameters.experiments):
        wells = [
            (line, treatment, well)
            for line in parameters.lines
            for treatment in CLASSES
            for well in range(1, parameters.wells + 1)
        ]
        labels = [treatment for _, treatment, _ in wells]
        kept = kept_wells(labels, experiment, parameters.experiments, CLASSES, parameters, seed)
        number = 0
        for line, treatment, well in (wells[index] for index in kept):
            for hours in parameters.hours:
                for index in range(parameters.fields):
                    number += 1
                    shots.append(Shot(line, treatment, well, hours, number, experiment, index))
    return shots


def scene_key(parameters: TransmittedParameters, shot: Shot) -> tuple[int, int, int, int]:
    """What the draws of cells and dust hang on: overlapping fields have one scene in common."""
    first = shot.field - shot.index if parameters.overlap else shot.field
    return shot.experiment, CELL_LINES.index(shot.line), shot.hours, first


def place_of(parameters: TransmittedParameters, shot: Shot, seed: int) -> Place:
    """Where the field lies in its scene."""
    field = Field(parameters.height, parameters.width, parameters.pixel_um)
    if not parameters.overlap:
        return own_place(field)
    rng = stream(seed, Stream.WELL, *scene_key(parameters, shot), shot.index)
    return strip_place(field, shot.index, parameters.fields, parameters.overlap, rng)


def population(parameters: TransmittedParameters, shot: Shot, seed: int) -> list[Cell]:
    """The cells in reach of a field; places count from the corner of the scene.

    The draws depend on the treatment only through the time of death. Raises SimulationError for
    a strip of more cells than a mask has numbers.
    """
    key = scene_key(parameters, shot)
    rng = stream(seed, Stream.FIELD, *key)
    line = LINES[shot.line]
    field = Field(parameters.height, parameters.width, parameters.pixel_um)
    place = place_of(parameters, shot, seed)
    beyond = np.subtract(place.extent_px, field.canvas) * field.pixel_um
    rows_um = parameters.height * parameters.pixel_um + 2 * Field.MARGIN_UM + beyond[0]
    columns_um = parameters.width * parameters.pixel_um + 2 * Field.MARGIN_UM + beyond[1]
    crowding, weakness = np.exp((0.2, 0.5) * rng.standard_normal(2))
    per_mm2 = parameters.density * crowding * (REFERENCE_RADIUS_UM / line.radius_um) ** 2
    treated = shot.treatment == "CPT"
    centres = scatter_cells(rng, (rows_um, columns_um), per_mm2, line)
    if len(centres) > MOST_CELLS:
        raise SimulationError(
            f"{len(centres)} cells in the fields of one well, a mask numbers {MOST_CELLS}; lower "
            "fields, density or the size of the images, or leave overlap out"
        )
    left_um = place.corner_px[1] * field.pixel_um - REACH_UM
    right_um = left_um + field.canvas[1] * field.pixel_um + 2 * REACH_UM
    cells = []
    for index, centre in enumerate(centres):
        if not left_um < centre[1] < right_um:
            continue
        own = stream(seed, Stream.FIELD, *key, index)
        death = death_time(
            own,
            hazard=parameters.effect if treated else 0.0,
            scale_hours=SCALE_HOURS,
            shape=WEIBULL_SHAPE,
            background_per_hour=BACKGROUND_DEATHS_PER_HOUR * weakness,
            history_hours=HISTORY_HOURS,
        )
        cells.append(
            make_cell(
                own,
                index + 1,
                (float(centre[0]), float(centre[1])),
                line,
                death_hours=death,
                mitosis_share=MITOSIS_SHARE,
                horizon_hours=max(shot.hours, 1.0),
            )
        )
    return cells


def stress_at(treatment: str, effect: float, hours: float) -> float:
    """Sublethal damage by camptothecin, from 0 to 0.85; none by the vehicle."""
    if treatment != "CPT":
        return 0.0
    return 0.85 * (1 - math.exp(-1.2 * effect)) * (1 - math.exp(-hours / STRESS_HOURS))


def render(parameters: TransmittedParameters, seed: int, shot: Shot, folder: Path) -> Rendered:
    """Draw and write one image; the rows of the tables come back."""
    field = Field(parameters.height, parameters.width, parameters.pixel_um)
    conditions = plate_conditions(
        parameters, seed, shot.experiment, parameters.experiments, CLASSES
    )
    rng = stream(seed, Stream.FRAME, shot.experiment, shot.field, CELL_LINES.index(shot.line))
    cells = population(parameters, shot, seed)
    stress = stress_at(shot.treatment, parameters.effect, shot.hours)
    place = place_of(parameters, shot, seed)
    top, left = place.corner_px
    stage_um = (-top * field.pixel_um, -left * field.pixel_um)
    scene = compose(cells, field, shot.hours, stress, stage_um, seed)
    shared = stream(seed, Stream.WELL, *scene_key(parameters, shot))
    dust = np.zeros(place.extent_px)
    add_debris(dust, field, shared if parameters.overlap else rng, per_mm2=DUST_PER_MM2)
    np.add(scene.phase, place.cut(dust, field), out=scene.phase)
    optics = PhaseOptics(
        parameters.pixel_um,
        stray=STRAY,
        halo_um=HALO_RATIO * conditions.halo_um,
        relief=conditions.relief,
    )
    defocus = rng.normal(0, parameters.defocus) + conditions.defocus_um
    seen = field.crop(phase_contrast(scene.phase, optics, defocus))
    gain = BACKGROUND * np.exp(0.05 * rng.standard_normal())
    light = seen * conditions.illumination.field(parameters.height, parameters.width) * gain
    counts = 255 * expose(light, parameters.noise, rng)[..., None] * np.asarray(TINT)
    write_rgb(folder / "images" / shot.name, np.rint(counts).astype(np.uint8))
    write_mask(folder, shot.name, scene.mask)
    path = f"images/{shot.name}"
    row: dict[str, Any] = {
        "path": path,
        "label": shot.treatment,
        "experiment": f"N{shot.experiment + 1}",
        "well": f"{shot.line}_{shot.treatment}{shot.well}",
        "field": shot.field,
        "cell_line": shot.line,
        "treatment": shot.treatment,
        "time_hours": shot.hours,
    }
    if parameters.overlap:
        row |= {"stage_y_px": top, "stage_x_px": left}
    return Rendered([row], scene.truth(path))


def tables(
    parameters: TransmittedParameters, seed: int, plan: list[Shot], rows: Rendered
) -> dict[str, list[dict[str, Any]]]:
    """No further table: images.csv says everything."""
    return {}

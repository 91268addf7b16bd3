"""The time-lapse in phase contrast: positions that got a dose of light, and what came of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deadlib.simulation.annotators import annotate, items_of
from deadlib.simulation.cells import Cell, CellLine, death_time, make_cell, scatter_cells
from deadlib.simulation.design import (
    Conditions,
    Stream,
    kept_wells,
    plate_conditions,
    stream,
)
from deadlib.simulation.field import Field, add_debris, compose
from deadlib.simulation.light import drawn_share, lit
from deadlib.simulation.optics import PhaseOptics, expose, phase_contrast
from deadlib.simulation.parameters import PhaseParameters
from deadlib.simulation.truth import Rendered, write_grey, write_mask

CLASSES = ("healthy", "sick")
LINE = CellLine(radius_um=16.5, aspect=1.6, protrusions=2.2, colony=0.35)
BACKGROUND = 0.15
REFERENCE_DOSE_S = 100.0
DOSE_EXPONENT = 1.5
SCALE_HOURS = 9.0
WEIBULL_SHAPE = 2.0
BACKGROUND_DEATHS_PER_HOUR = 0.012
HISTORY_HOURS = 5.0
MITOSIS_PER_HOUR = 0.03
STRESS_HOURS = 1.0


@dataclass(frozen=True)
class Position:
    """One stage position of the plan."""

    number: int
    name: str
    plate: int
    well: str
    light_dose_s: float
    label: str


def plan(parameters: PhaseParameters, seed: int) -> list[Position]:
    """Wells spread evenly over plates, half of each plate's wells unexposed; doses by well."""
    wells = -(-parameters.positions // parameters.positions_per_well)
    found: list[Position] = []
    for plate in range(parameters.plates):
        of_plate = range(plate, wells, parameters.plates)
        layout = stream(seed, Stream.LAYOUT, 0, plate)
        doses = _doses(parameters, plate, len(of_plate), layout)
        labels = [label_of(dose, parameters.sick_dose) for dose in doses]
        for slot in kept_wells(labels, plate, parameters.plates, CLASSES, parameters, seed):
            first = of_plate[slot] * parameters.positions_per_well
            last = min(first + parameters.positions_per_well, parameters.positions)
            well = f"{'BCDEFG'[slot // 10]}{slot % 10 + 2:02d}"
            found.extend(
                Position(number, "", plate, well, doses[slot], labels[slot])
                for number in range(first, last)
            )
    digits = max(2, len(str(len(found))))
    return [
        replace(position, name=f"P{index:0{digits}d}")
        for index, position in enumerate(found, start=1)
    ]


def _doses(
    parameters: PhaseParameters, plate: int, wells: int, rng: np.random.Generator
) -> list[float]:
    """Every second well unexposed, the others through the doses in turn; then shuffled."""
    unexposed = [dose for dose in parameters.doses if dose == 0]
    exposed = [dose for dose in parameters.doses if dose > 0]
    turns = range(plate, plate + wells)
    if unexposed and exposed:
        doses = [exposed[turn // 2 % len(exposed)] if turn % 2 else 0.0 for turn in turns]
    else:
        doses = [parameters.doses[turn % len(parameters.doses)] for turn in turns]
    return [doses[index] for index in rng.permutation(wells)]


def label_of(light_dose_s: float, sick_dose_s: float) -> str:
    """The class of a position: by the dose that it got, empty between the two classes."""
    if light_dose_s == 0:
        return "healthy"
    return "sick" if light_dose_s >= sick_dose_s else ""


def hazard(light_dose_s: float, effect: float) -> float:
    """Cumulative hazard of death after SCALE_HOURS: 1 at 100 s and effect 1."""
    return float((effect * light_dose_s / REFERENCE_DOSE_S) ** DOSE_EXPONENT)


def stress_at(light_dose_s: float, effect: float, hours: float) -> float:
    """Sublethal damage at an hour, from 0 to 0.9; it saturates with dose and time."""
    full = 0.9 * (1 - math.exp(-effect * light_dose_s / 100.0))
    return full * (1 - math.exp(-max(hours, 0.0) / STRESS_HOURS))


def population(parameters: PhaseParameters, position: Position, seed: int) -> list[Cell]:
    """The cells of a position. The draws depend on the dose only through the time of death."""
    rng = stream(seed, Stream.FIELD, position.number)
    rows_um = parameters.height * parameters.pixel_um + 2 * Field.MARGIN_UM
    columns_um = parameters.width * parameters.pixel_um + 2 * Field.MARGIN_UM
    crowding, weakness, cycling = np.exp((0.25, 0.8, 0.6) * rng.standard_normal(3))
    centres = scatter_cells(rng, (rows_um, columns_um), parameters.density * crowding, LINE)
    horizon = parameters.start_hours + parameters.frames * parameters.interval_hours
    light = stream(seed, Stream.LIGHT, position.number)
    reached = lit(
        centres,
        corner=(Field.MARGIN_UM, Field.MARGIN_UM),
        size=(parameters.height * parameters.pixel_um, parameters.width * parameters.pixel_um),
        share=drawn_share(parameters.lit_share, light),
        rng=light,
    )
    cells = []
    for index, (centre, lit_up) in enumerate(zip(centres, reached, strict=True)):
        own = stream(seed, Stream.FIELD, position.number, index)
        death = death_time(
            own,
            hazard=hazard(position.light_dose_s if lit_up else 0.0, parameters.effect),
            scale_hours=SCALE_HOURS,
            shape=WEIBULL_SHAPE,
            background_per_hour=BACKGROUND_DEATHS_PER_HOUR * weakness,
            history_hours=HISTORY_HOURS,
        )
        cell = make_cell(
            own,
            index + 1,
            (float(centre[0]), float(centre[1])),
            LINE,
            death_hours=death,
            mitosis_share=min(MITOSIS_PER_HOUR * cycling * horizon, 1.0),
            horizon_hours=horizon,
        )
        cells.append(cell if lit_up else replace(cell, sensitivity=0.0))
    return cells


def render(parameters: PhaseParameters, seed: int, position: Position, folder: Path) -> Rendered:
    """Draw and write all frames of a position; the rows of the tables come back."""
    cells = population(parameters, position, seed)
    conditions = plate_conditions(parameters, seed, position.plate, parameters.plates, CLASSES)
    gain = float(np.exp(0.06 * stream(seed, Stream.WELL, position.number).standard_normal()))
    result = Rendered()
    for frame in range(parameters.frames):
        hours = parameters.start_hours + frame * parameters.interval_hours
        name = f"{position.name}_t{frame:03d}.tif"
        rng = stream(seed, Stream.FRAME, position.number, frame)
        field = Field(parameters.height, parameters.width, parameters.pixel_um)
        stress = stress_at(position.light_dose_s, parameters.effect, hours)
        stage_um = rng.normal(0, 0.7, 2)
        scene = compose(cells, field, hours, stress, (stage_um[0], stage_um[1]), seed)
        add_debris(scene.phase, field, stream(seed, Stream.WELL, position.number, 1))
        light = _light(scene.phase, field, conditions, gain, parameters, rng)
        counts = 400 + 65_135 * expose(light, parameters.noise, rng)
        write_grey(folder / "images" / name, np.rint(counts).astype(np.uint16))
        write_mask(folder, name, scene.mask)
        result.images.append(
            {
                "path": f"images/{name}",
                "label": position.label,
                "plate": f"plate{position.plate + 1}",
                "well": position.well,
                "position": position.name,
                "time_index": frame,
                "time_hours": hours,
                "light_dose_s": position.light_dose_s,
            }
        )
        result.cells.extend(scene.truth(f"images/{name}"))
        area = scene.sick_area
        result.areas.append(
            {
                "path": f"images/{name}",
                "position": position.name,
                "time_index": frame,
                "time_hours": hours,
                "sick_area": "" if area is None else round(area, 4),
            }
        )
    return result


def _light(
    phase: np.ndarray[Any, Any],
    field: Field,
    conditions: Conditions,
    gain: float,
    parameters: PhaseParameters,
    rng: np.random.Generator,
) -> np.ndarray[Any, Any]:
    optics = PhaseOptics(parameters.pixel_um, halo_um=conditions.halo_um)
    defocus = rng.normal(0, parameters.defocus) + conditions.defocus_um
    seen = field.crop(phase_contrast(phase, optics, defocus))
    lamp = conditions.illumination.field(parameters.height, parameters.width)
    return np.asarray(seen * lamp * (BACKGROUND * gain))


def tables(
    parameters: PhaseParameters, seed: int, plan: list[Position], rows: Rendered
) -> dict[str, list[dict[str, Any]]]:
    """positions.csv, truth/area.csv and, where there are annotators, annotations.csv."""
    found = {
        "positions.csv": _positions(parameters, plan, rows),
        "truth/area.csv": rows.areas,
    }
    if parameters.annotators:
        items = items_of(
            rows.images,
            rows.cells,
            size_px=(parameters.height, parameters.width),
            crop_px=parameters.crop_px,
            frames=parameters.sequence_frames,
        )
        found["annotations.csv"] = annotate(
            items, parameters.annotators, parameters.responses, seed
        )
    return found


def _positions(
    parameters: PhaseParameters, plan: list[Position], rows: Rendered
) -> list[dict[str, Any]]:
    """One row per position, with the share of its cells that are dying or dead at the end."""
    last = {
        row["path"]: row["position"]
        for row in rows.images
        if row["time_index"] == parameters.frames - 1
    }
    states: dict[str, list[str]] = {}
    for cell in rows.cells:
        if cell["path"] in last:
            states.setdefault(last[cell["path"]], []).append(cell["state"])
    table = []
    for position in plan:
        seen = states.get(position.name, [])
        dead = sum(state in ("rounding", "blebbing", "dead") for state in seen)
        table.append(
            {
                "position": position.name,
                "plate": f"plate{position.plate + 1}",
                "well": position.well,
                "light_dose_s": position.light_dose_s,
                "label": position.label,
                "cells": len(seen),
                "dying_share": round(dead / len(seen), 4) if seen else "",
            }
        )
    return table

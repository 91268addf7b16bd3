"""Cell painting: four fluorescence channels of healthy, apoptotic and ferroptotic cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.simulation.batch import batch_of
from deadlib.simulation.cells import NEVER, CellLine, make_cell, scatter_cells
from deadlib.simulation.design import (
    Stream,
    kept_wells,
    plate_conditions,
    stream,
)
from deadlib.simulation.field import Field
from deadlib.simulation.layout import (
    channel_names,
    experiment_name,
    image_path,
    mask_name,
    plate_name,
)
from deadlib.simulation.optics import Illumination, expose, fluorescence
from deadlib.simulation.parameters import CHANNELS, IMAGING, PaintingParameters
from deadlib.simulation.plates import (
    CLASSES,
    Well,
    inhibition,
    viability_rows,
    wells_of_plate,
)
from deadlib.simulation.shapes import textures
from deadlib.simulation.stains import Stained, paint
from deadlib.simulation.truth import Rendered, write_grey, write_mask

LINE = CellLine(radius_um=13.0, aspect=1.7, protrusions=1.8, nucleus=0.48, granules=10)
SPONTANEOUS = 0.03
FULL_SIGNAL = 0.28
BACKGROUND = 0.012
VEILED = {"non-confocal": 0.15, "confocal": 0.02}
THROUGHPUT = {"non-confocal": 1.0, "confocal": 0.6}


@dataclass(frozen=True)
class View:
    """One field of a well of the plan, imaged in one way; fields are counted from 1."""

    well: Well
    field: int
    imaging: str = IMAGING[0]


def plan(parameters: PaintingParameters, seed: int) -> list[View]:
    """Every field of every imaged well, plate by plate."""
    return [
        View(well, field, imaging)
        for well in imaged_wells(parameters, seed)
        for field in range(1, parameters.fields + 1)
        for imaging in parameters.imaging
    ]


def imaged_wells(parameters: PaintingParameters, seed: int) -> list[Well]:
    """The wells of all plates, less those that a shortcut leaves out."""
    found: list[Well] = []
    for plate in range(parameters.all_plates):
        wells = wells_of_plate(parameters, plate, seed)
        labels = [well.label for well in wells]
        kept = kept_wells(labels, plate, parameters.all_plates, CLASSES, parameters, seed)
        found.extend(wells[index] for index in kept)
    return found


def population(parameters: PaintingParameters, view: View, seed: int) -> list[Stained]:
    """The cells of a field: fewer and more of them dying, the lower the viability."""
    well = view.well
    if not well.label:
        return []
    key = (well.plate, well.row, well.column, view.field)
    rng = stream(seed, Stream.FIELD, *key)
    lost = inhibition(well.dose, parameters.effect) if well.label != "healthy" else 0.0
    extent = (
        parameters.height * parameters.pixel_um + 2 * Field.MARGIN_UM,
        parameters.width * parameters.pixel_um + 2 * Field.MARGIN_UM,
    )
    crowding = float(np.exp(0.2 * rng.standard_normal())) * (1 - 0.35 * lost)
    crowding *= batch_of(parameters, seed, well.plate).seeding
    found = []
    for index, centre in enumerate(scatter_cells(rng, extent, parameters.density * crowding, LINE)):
        own = stream(seed, Stream.FIELD, *key, index)
        chance, severity, by_itself, brightness = own.random(4)
        state, degree = "healthy", 0.0
        if lost > 0:
            state = well.label
            degree = 0.6 + 0.4 * severity if chance < 0.9 * lost else 0.7 * lost * severity
        if degree < 0.3 and by_itself < SPONTANEOUS:
            state, degree = "apoptosis", 0.6 + 0.4 * severity
        cell = make_cell(
            own,
            index + 1,
            (float(centre[0]), float(centre[1])),
            LINE,
            death_hours=NEVER,
            mitosis_share=0.0,
            horizon_hours=1.0,
        )
        found.append(Stained(cell, state, degree, 0.7 + 0.6 * brightness))
    return found


def render(parameters: PaintingParameters, seed: int, view: View, folder: Path) -> Rendered:
    """Draw and write the four channels of a field; the rows of the tables come back."""
    well = view.well
    field = Field(parameters.height, parameters.width, parameters.pixel_um)
    conditions = plate_conditions(parameters, seed, well.plate, parameters.all_plates, CLASSES)
    batch = batch_of(parameters, seed, well.plate)
    again = (IMAGING.index(view.imaging),) if view.imaging != IMAGING[0] else ()
    rng = stream(seed, Stream.FRAME, well.plate, well.row, well.column, view.field, *again)
    dyes = np.exp(
        parameters.plate_effect
        * stream(seed, Stream.PLATE, well.plate, 1).standard_normal(len(CHANNELS))
    )
    cells = population(parameters, view, seed)
    painted = paint(cells, field, textures(seed, parameters.pixel_um))
    defocus = rng.normal(0, parameters.defocus) + conditions.defocus_um
    well_gain = float(np.exp(0.06 * rng.standard_normal()))
    path = image_path(parameters, well, view.field, view.imaging)
    for index, channel in enumerate(channel_names(parameters)):
        density = painted.density[index] + batch.bleed[index] * painted.density[index - 1]
        seen = field.crop(
            fluorescence(
                density,
                parameters.pixel_um,
                defocus + batch.defocus_um[index],
                veiled=VEILED[view.imaging],
            )
        )
        brightness = FULL_SIGNAL * dyes[index] * batch.stain[index] * well_gain
        background = BACKGROUND * conditions.background * batch.background[index]
        lamp = tilted(conditions.illumination, batch.slope[index])
        light = (seen * brightness + background) * lamp.field(field.height, field.width)
        exposed = expose(THROUGHPUT[view.imaging] * light, parameters.noise, rng)
        write_grey(
            folder / path.format(channel=channel),
            np.rint(200 + 65_335 * exposed).astype(np.uint16),
        )
    write_mask(folder, mask_name(path), painted.mask)
    row: dict[str, Any] = {
        "path": path,
        "label": well.label,
        "experiment": experiment_name(parameters, well.plate),
        "plate": plate_name(parameters, well.plate),
        "well": well.name,
        "row": well.row_letter,
        "column": well.column,
        "field": view.field,
        "imaging": view.imaging,
        "treatment": well.treatment,
        "concentration_um": well.concentration_um,
        "viability": round(well.viability, 4),
    }
    return Rendered([row], painted.truth(path, field))


def tilted(illumination: Illumination, slope: NDArray[np.float64]) -> Illumination:
    """The lamp with a further tilt (2,), along rows and columns."""
    along = (illumination.slope[0] + float(slope[0]), illumination.slope[1] + float(slope[1]))
    return replace(illumination, slope=along)


def tables(
    parameters: PaintingParameters, seed: int, plan: list[View], rows: Rendered
) -> dict[str, list[dict[str, Any]]]:
    """viability.csv, one row per well."""
    wells = list({(view.well.plate, view.well.name): view.well for view in plan}.values())
    return {"viability.csv": viability_rows(wells, parameters)}

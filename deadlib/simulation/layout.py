"""Where the files of a painting experiment lie: plainly, or as in the published record.

Published: one folder for each plate and way of imaging, names as the Operetta's, channels as
numbers. The record's own numbers of channels are not explained anywhere (P-4); here 1 to 4 are DNA,
ER, AGP and Mito.
"""

from __future__ import annotations

from deadlib.simulation.parameters import CHANNELS, IMAGING, PaintingParameters
from deadlib.simulation.plates import Well

LAST_EXPERIMENT = 8


def experiment_name(parameters: PaintingParameters, plate: int) -> str:
    """The experiment of a plate (0-based): E1, E2, ...; published: numbers that end with 8."""
    number = plate // parameters.plates
    if parameters.layout == "published":
        return str(LAST_EXPERIMENT - parameters.experiments + 1 + number)
    return f"E{number + 1}"


def plate_name(parameters: PaintingParameters, plate: int) -> str:
    """plate1, plate2, ...; published: 1, 2, ... through all experiments."""
    return str(plate + 1) if parameters.layout == "published" else f"plate{plate + 1}"


def image_path(parameters: PaintingParameters, well: Well, field: int, imaging: str) -> str:
    """The path below the simulation's folder, with the place {channel} in it."""
    if parameters.layout == "published":
        experiment = experiment_name(parameters, well.plate)
        folder = f"2022-07-14_Tingying_Exp{experiment}_plate0{well.plate + 1}_40x_{imaging}"
        name = f"r{well.row:02d}c{well.column:02d}f{field:02d}p01-ch{{channel}}sk1fk1fl1.tiff"
        return f"images/{folder}/Images/{name}"
    plain = imaging == IMAGING[0]
    folder = f"plate{well.plate + 1}" + ("" if plain else f"_{imaging}")
    return f"images/{folder}/{well.name}_f{field:02d}_{{channel}}.tif"


def channel_names(parameters: PaintingParameters) -> tuple[str, ...]:
    """What stands for the place {channel}, in the order of the dyes."""
    if parameters.layout == "published":
        return tuple(str(number + 1) for number in range(len(CHANNELS)))
    return CHANNELS


def mask_name(path: str) -> str:
    """The name of the mask of an image below truth/masks."""
    place = "-ch{channel}sk1fk1fl1" if "-ch{channel}" in path else "_{channel}"
    return path.removeprefix("images/").replace(place, "")

"""The plate of the painting experiment: inducers by row, concentrations by column, viability.

Names, order and highest concentrations are those of the published experiment; IC50 is the second
highest of five two-fold steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deadlib.simulation.design import Stream, stream
from deadlib.simulation.parameters import PaintingParameters

CLASSES = ("apoptosis", "ferroptosis", "healthy")
TOP_CONCENTRATION_UM = {
    "apoptosis": {
        "Stauro": 0.04748,
        "Vinblastine": 0.00222,
        "Paclitaxel": 110.24,
        "Etoposide": 67.48,
        "Actinomycin D": 0.0015104,
        "Doxorubicin": 0.2472,
        "Niclosamide": 6.78,
    },
    "ferroptosis": {
        "RLS3": 0.06028,
        "ML162": 0.09572,
        "ML210": 0.4704,
        "Erastin": 5.132,
        "IKE": 1.396,
        "FINO2": 4.284,
        "FIN56": 0.3106,
    },
}
ROWS = "BCDEFGHIJKLMNO"
CONCENTRATIONS = 5
DOSE_COLUMNS = (range(3, 8), range(13, 18), range(18, 23))
DMSO_COLUMNS = (1, 8, 10, 12, 23)
UNTREATED_COLUMNS = (2, 9, 11, 24)
EDGE_COLUMNS = (1, 2, 23, 24)
EMPTY = "Leer"
EMPTY_WELLS = ("N09", "N11", "O09", "O11")
HILL = 1.2
FULL_LUMINESCENCE = 250_000


@dataclass(frozen=True)
class Well:
    """One well of the plan; `dose` is the concentration in units of the IC50.

    An empty well (published layout only) has no label and no cells.
    """

    plate: int
    row: int
    column: int
    treatment: str
    mechanism: str
    label: str
    concentration_um: float
    dose: float
    viability: float

    @property
    def row_letter(self) -> str:
        return ROWS[self.row - 2]

    @property
    def name(self) -> str:
        return f"{self.row_letter}{self.column:02d}"


def inhibition(dose: float, effect: float) -> float:
    """Share of the ATP that a dose (in IC50) takes away, times the effect; at most 0.95."""
    return min(effect * dose**HILL / (1 + dose**HILL), 0.95)


def wells_of_plate(parameters: PaintingParameters, plate: int, seed: int) -> list[Well]:
    """All wells of one plate, row by row; viability carries the noise of the ATP assay.

    In the published layout the four wells that were left empty there are empty.
    """
    found = []
    row = 2
    for mechanism, inducers in TOP_CONCENTRATION_UM.items():
        for inducer, top in list(inducers.items())[: parameters.inducers]:
            for column, treatment, step in _columns(parameters, inducer):
                concentration = 0.0 if step is None else top / 2**step
                dose = 0.0 if step is None else 2.0 ** (1 - step)
                rng = stream(seed, Stream.WELL, plate, row, column)
                viability = 1 - inhibition(dose, parameters.effect)
                viability *= float(np.exp(0.08 * rng.standard_normal()))
                well = Well(
                    plate,
                    row,
                    column,
                    treatment,
                    mechanism,
                    "healthy" if step is None else mechanism,
                    concentration,
                    dose,
                    viability,
                )
                if parameters.layout == "published" and well.name in EMPTY_WELLS:
                    well = replace(well, treatment=EMPTY, label="", viability=0.01 * viability)
                found.append(well)
            row += 1
    return found


def _columns(parameters: PaintingParameters, inducer: str) -> Sequence[tuple[int, str, int | None]]:
    """(column, treatment, step below the highest concentration) in the order of the columns."""
    found: list[tuple[int, str, int | None]] = []
    for columns in DOSE_COLUMNS[: parameters.replicates]:
        found.extend((column, inducer, step) for step, column in enumerate(columns))
    found.extend((column, "DMSO", None) for column in DMSO_COLUMNS[: parameters.controls])
    found.extend(
        (column, "Untreated", None) for column in UNTREATED_COLUMNS[: parameters.untreated]
    )
    return sorted(found, key=lambda entry: entry[0])


def viability_rows(wells: Sequence[Well], parameters: PaintingParameters) -> list[dict[str, Any]]:
    """The viability table in the columns of the published one, raw luminescence per plate.

    Viability is relative to the mean of the DMSO wells of the experiment.
    """
    means = {
        experiment: _control_mean(
            [well for well in wells if well.plate // parameters.plates == experiment]
        )
        for experiment in range(parameters.experiments)
    }
    letters = [_letters(plate) for plate in range(parameters.all_plates)]
    rows = []
    for index, well in enumerate(wells):
        normalised = round(well.viability / means[well.plate // parameters.plates], 6)
        row: dict[str, Any] = {
            "": index,
            "Unnamed: 0": (well.row - 1) * 24 + well.column,
            "Row": well.row_letter,
            "Col": well.column,
            "Treatment": well.treatment,
            "Concentration_uM": _decimal_comma(well.concentration_um),
            "Cell_Death": "Healthy" if well.column in EDGE_COLUMNS else well.mechanism.capitalize(),
            "Well": well.name,
            "incubation_time": "24h",
            "drug": well.label,
            "Row_New": well.row,
            "concentr": well.concentration_um,
            "plate": well.plate + 1,
        }
        for plate, letter in enumerate(letters):
            here = plate == well.plate
            row[letter] = round(well.viability * FULL_LUMINESCENCE) if here else ""
            row[f"normalized_atp_{plate + 1}"] = normalised if here else ""
        row["normalized_atp"] = normalised
        rows.append(row)
    return rows


def _control_mean(wells: Sequence[Well]) -> float:
    controls = [well.viability for well in wells if well.treatment == "DMSO"]
    return float(np.mean(controls)) if controls else 1.0


def _decimal_comma(value: float) -> str:
    return f"{value:g}".replace(".", ",")


def _letters(plate: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    letters = ""
    number = plate + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters

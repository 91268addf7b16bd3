"""Viability as a share of that of the wells which got the solvent only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from deadlib.errors import InputError
from deadlib.plates.columns import plate_names
from deadlib.plates.settings import TableSettings


@dataclass(frozen=True)
class Reference:
    """What viability was divided by: the mean of so many reference wells, on a plate or on all.

    experiment: the one whose plates these are all, where the table tells experiments apart.
    """

    plate: str | None
    wells: int
    mean: float
    experiment: str | None = None

    @property
    def words(self) -> str:
        everywhere = "all plates" + (f" of {self.experiment}" if self.experiment else "")
        where = everywhere if self.plate is None else f"plate {self.plate}"
        return f"{where}: {self.wells} wells, mean {self.mean:.9g}"


def normalised(
    frame: pd.DataFrame, settings: TableSettings, origin: str
) -> tuple[pd.Series, tuple[Reference, ...]]:
    """Viability over the mean of the reference wells, of the same plate or of all plates of the
    experiment.

    frame: columns plate, treatment, viability (float, NaN where missing). Raises InputError where
    there is no such well with a viability, or their mean is not above 0.
    """
    reference = frame[frame["treatment"].isin(settings.reference)].dropna(subset="viability")
    name = " or ".join(settings.reference)
    alone = pd.Series("", index=frame.index)
    experiments = frame["experiment"].fillna("?") if "experiment" in frame else alone
    units = experiments if settings.normalise == "all" else plate_names(frame)
    found = {}
    for unit in units.unique():
        wells = reference[units[reference.index] == unit]
        if settings.normalise == "all":
            found[unit] = replace(_reference(wells, None, name, origin), experiment=unit or None)
        else:
            found[unit] = _reference(wells, unit, name, origin)
    means = {unit: entry.mean for unit, entry in found.items()}
    return frame["viability"] / units.map(means), tuple(found.values())


def _reference(wells: pd.DataFrame, plate: str | None, name: str, origin: str) -> Reference:
    where = "no plate" if plate is None else f"plate {plate}"
    if wells.empty:
        has = "has" if plate is None else "has no well with viability of"
        raise InputError(
            f"{origin}: {where} {has} {'a well of ' if plate is None else ''}{name}"
            f"{' with viability' if plate is None else ''}, by which viability is normalised; name "
            "the wells with --reference TREATMENT, divide by the mean of all plates with "
            "--normalise all, or leave it as it is with --normalise none"
        )
    mean = float(wells["viability"].mean())
    if not mean > 0:
        raise InputError(
            f"{origin}: {where}: the {len(wells)} wells of {name} have a mean viability of "
            f"{mean:g}, expected more than 0; name other wells with --reference TREATMENT"
        )
    return Reference(plate, len(wells), mean)

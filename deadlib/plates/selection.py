"""Which wells are learnt from: treated ones by their viability, controls by rule."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deadlib.errors import InputError
from deadlib.plates.columns import plate_names
from deadlib.plates.settings import TableSettings


def selected(
    frame: pd.DataFrame, settings: TableSettings, origin: str, notes: list[str]
) -> pd.DataFrame:
    """The wells that the settings ask for; what was left out goes to the notes.

    frame: columns plate, treatment and viability as far as the settings need them. Treated wells
    are kept within the closed range of viability, one without viability is in no range; controls by
    the rule `healthy`, and of these `healthy_per_plate` on each plate, as equally as can be from
    each kind of control, drawn by the seed. Raises InputError where viability is missing.
    """
    if "treatment" not in frame:
        return frame
    control = frame["treatment"].isin(settings.controls)
    kept = pd.Series(True, index=frame.index)
    if settings.viability_range is not None:
        if "viability" not in frame:
            raise InputError(
                f"{origin}: no column viability, which a range needs; name it with "
                "--column viability=NAME"
            )
        low, high = settings.viability_range
        inside = frame["viability"].between(low, high)
        kept = control | inside
        notes.append(
            f"viability {low:g} to {high:g}: {int((inside & ~control).sum())} of "
            f"{int((~control).sum())} treated wells kept"
        )
        if settings.healthy == "in_range":
            kept = inside
    if settings.healthy == "none":
        kept = kept & ~control
    chosen = frame[kept]
    if settings.healthy_per_plate is not None:
        chosen = _drawn(chosen, control[kept], settings.healthy_per_plate, settings.seed, notes)
    left = int(chosen["treatment"].isin(settings.controls).sum())
    if left < control.sum():
        notes.append(f"{left} of {int(control.sum())} control wells kept")
    return chosen


def _drawn(
    frame: pd.DataFrame, control: pd.Series, number: int, seed: int, notes: list[str]
) -> pd.DataFrame:
    """The treated wells, and so many controls of each plate."""
    kept = list(frame.index[~control])
    for plate, wells in frame[control].groupby(plate_names(frame)[control], sort=False):
        # a plate's draw does not depend on which other plates there are
        rng = np.random.default_rng([seed, *str(plate).encode()])
        ordered = wells.sort_values(["row", "column"])
        turns = pd.Series(rng.permutation(len(ordered)), index=ordered.index)
        # one of each kind in turn, so that kinds are drawn as equally as they can be
        place = turns.groupby(ordered["treatment"]).rank()
        order = pd.DataFrame({"place": place, "turn": turns}).sort_values(["place", "turn"])
        kept += list(order.index[:number])
        if len(ordered) < number:
            notes.append(
                f"plate {plate} has {len(ordered)} control wells, fewer than the {number} asked "
                "for; all are kept"
            )
    return frame.loc[frame.index.isin(kept)]

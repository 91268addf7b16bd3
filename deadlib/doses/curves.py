"""How each compound's answers change with its dose, and where they turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from deadlib.doses.hill import FEWEST_DOSES, Fit, Hill, crossing, fit_hill
from deadlib.doses.wells import CALLED, Wells
from tfrecords_tools.table import PROBABILITY

Floats = NDArray[np.float64]
Response = Literal["probability", "called"]

FEWEST_PLATES = 3
NO_CHANGE = 0.05
"""p from which on a change with the dose is not believed."""
LEAST_CHANGE = 0.1
"""Of a probability or share: half of less is no dose that anyone would ask for."""


@dataclass(frozen=True)
class Place:
    """A dose and its interval.

    low, high: None where the doses at hand leave that end open; over: what the interval is over;
    reason: why there is no value.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    over: Literal["wells", "plates"] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Curve:
    """One compound and one class.

    hill: the curve through all wells of the compound, in places, None where there are too few
    doses; ec50: the dose of half the effect.
    """

    compound: str
    name: str
    wells: int
    doses: int
    plates: int
    hill: Hill | None
    p: float | None
    ec50: Place


@dataclass(frozen=True)
class Turn:
    """Where the most probable class of a compound's wells changes, before to after."""

    compound: str
    before: str
    after: str
    dose: Place


def curves_of(
    wells: Wells, *, response: Response = "probability", confidence: float = 0.95
) -> list[Curve]:
    """A curve for each compound and class.

    response: what it goes through, the probability of the class or the share of a well's rows that
    are called so.
    """
    prefix = PROBABILITY if response == "probability" else CALLED
    return [
        _curve(wells, str(compound), name, frame, prefix + name, confidence)
        for compound, frame in wells.treated.groupby("compound")
        for name in wells.classes
    ]


def turns_of(wells: Wells, *, confidence: float = 0.95) -> list[Turn]:
    """One for each compound: from the class of its lowest dose to that of its highest."""
    return [
        _turn(wells, str(compound), frame, confidence)
        for compound, frame in wells.treated.groupby("compound")
    ]


def dose_table(wells: Wells) -> pd.DataFrame:
    """One row per plate, compound and dose, controls too: wells, mean probability of each class,
    share of wells and of rows called so, mean viability."""
    keys = ["plate", "compound", "control", "dose"]
    called = {CALLED + "well_" + name: wells.frame.predicted == name for name in wells.classes}
    grouped = wells.frame.assign(**called).groupby(keys, dropna=False)
    found = grouped.agg(wells=("well", "size"), viability=("viability", "mean"))
    for name in wells.classes:
        found[PROBABILITY + name] = grouped[PROBABILITY + name].mean()
        found["wells_called_" + name] = grouped[CALLED + "well_" + name].mean()
        found["rows_called_" + name] = grouped[CALLED + name].mean()
    return found.reset_index()


def _curve(
    wells: Wells, compound: str, name: str, frame: pd.DataFrame, column: str, confidence: float
) -> Curve:
    places, values = frame.place.to_numpy(float), frame[column].to_numpy(float)
    doses, plates = len(np.unique(places)), frame.plate.nunique()
    if doses < FEWEST_DOSES:
        return Curve(
            compound, name, len(frame), doses, plates, None, None, Place(reason=_few(doses))
        )
    fit = fit_hill(places, values, confidence=confidence)
    ec50 = _half(wells, places, fit)
    if ec50.value is not None:
        ec50 = (
            _over_plates(
                wells, frame, lambda x, y: _believed(x, fit_hill(x, y)), column, confidence
            )
            or ec50
        )
    return Curve(compound, name, len(frame), doses, plates, fit.curve, fit.p, ec50)


def _half(wells: Wells, places: Floats, fit: Fit) -> Place:
    if not fit.p < NO_CHANGE:
        return Place(reason="no change with the dose that chance would not make")
    change = abs(fit.curve.end - fit.curve.start)
    if change < LEAST_CHANGE:
        return Place(reason=f"the curve changes by {change:.2f} only")
    lowest, highest = places.min(), places.max()
    if fit.curve.midpoint > highest:
        highest_dose = wells.of_place(highest)
        return Place(reason=f"half the effect lies above {highest_dose:.3g}, the highest dose")
    if fit.curve.midpoint < lowest:
        lowest_dose = wells.of_place(lowest)
        return Place(reason=f"half the effect lies below {lowest_dose:.3g}, the lowest dose")
    if fit.low is None and fit.high is None:
        return Place(reason="the doses do not tell where half the effect lies")
    return Place(
        wells.of_place(fit.curve.midpoint),
        None if fit.low is None else wells.of_place(fit.low),
        None if fit.high is None else wells.of_place(fit.high),
        "wells",
    )


def _few(doses: int) -> str:
    return f"{doses} {'dose' if doses == 1 else 'doses'}; a curve takes {FEWEST_DOSES}"


def _believed(places: Floats, fit: Fit) -> float | None:
    inside = places.min() <= fit.curve.midpoint <= places.max()
    return fit.curve.midpoint if fit.p < NO_CHANGE and inside else None


def _over_plates(
    wells: Wells,
    frame: pd.DataFrame,
    place_of: Callable[[Floats, Floats], float | None],
    column: str,
    confidence: float,
) -> Place | None:
    """The mean of the plates' own places, with t limits; None where plates are too few for it, or
    one of them does not tell its own."""
    places = []
    for _, plate in frame.groupby("plate"):
        if plate.place.nunique() < FEWEST_DOSES or len(plate) <= FEWEST_DOSES:
            return None
        found = place_of(plate.place.to_numpy(float), plate[column].to_numpy(float))
        if found is None:
            return None
        places.append(found)
    if len(places) < FEWEST_PLATES:
        return None
    mean, deviation = float(np.mean(places)), float(np.std(places, ddof=1))
    tail = (1 - confidence) / 2
    step = float(-stdtrit(len(places) - 1, tail) * deviation / len(places) ** 0.5)
    value, low, high = (wells.of_place(place) for place in (mean, mean - step, mean + step))
    return Place(value, low, high, "plates")


def _turn(wells: Wells, compound: str, frame: pd.DataFrame, confidence: float) -> Turn:
    columns = [PROBABILITY + name for name in wells.classes]
    by_dose = frame.groupby("place")[columns].mean()
    called = [wells.classes[k] for k in by_dose.to_numpy().argmax(1)]
    before, after = called[0], called[-1]
    if len(set(called)) == 1:
        return Turn(compound, before, after, Place(reason=f"called {before} at every dose"))
    if before == after:
        between = ", ".join(sorted(set(called) - {before}))
        return Turn(
            compound, before, after,
            Place(reason=f"called {before} at both ends, {between} in between"),
        )  # fmt: skip
    if by_dose.shape[0] < FEWEST_DOSES:
        return Turn(compound, before, after, Place(reason=_few(by_dose.shape[0])))
    frame = frame.assign(margin=frame[PROBABILITY + after] - frame[PROBABILITY + before])
    places, values = frame.place.to_numpy(float), frame.margin.to_numpy(float)
    found, low, high = crossing(places, values, 0.0, confidence=confidence)
    if found is None:
        return Turn(
            compound, before, after, Place(reason="the curves of the two classes do not cross once")
        )
    dose = Place(
        wells.of_place(found),
        None if low is None else wells.of_place(low),
        None if high is None else wells.of_place(high),
        "wells",
    )

    def crossed(x: Floats, y: Floats) -> float | None:
        place = fit_hill(x, y, bounds=(-1.0, 1.0)).curve.place_of(0.0)
        return place if place is not None and x.min() <= place <= x.max() else None

    over = _over_plates(wells, frame, crossed, "margin", confidence)
    return Turn(compound, before, after, over or dose)

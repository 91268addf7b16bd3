"""Doses written down: tables, figures, one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from deadlib._version import __version__
from deadlib.aggregation import How
from deadlib.bootstrap import Resampling
from deadlib.doses import figures
from deadlib.doses.curves import (
    NO_CHANGE,
    Curve,
    Place,
    Response,
    Turn,
    curves_of,
    dose_table,
    turns_of,
)
from deadlib.doses.hits import Hit, hits_of
from deadlib.doses.readout import read_readout
from deadlib.doses.wells import CONTROLS, Columns, Scale, Wells, wells_of
from deadlib.pages import Remark, render, write, write_figures
from deadlib.predictions import PredictionTable, open_predictions

PAGE = "doses.html"
NUMBERS = "doses.json"
FOUND = 0.05
"""q up to which a compound counts as a hit."""
MOST_SHOWN = 24
"""Compounds, and lines of the hit list, on the page; the tables have all."""
MOST_PLATES = 12
_HILL = ("start", "end", "midpoint", "slope")


@dataclass(frozen=True)
class Doses:
    """What a table of predictions says of doses.

    unit: of the doses, for axes and tables; response: what the curves go through. Of a readout
    there is one class, and no turns.
    """

    wells: Wells
    curves: tuple[Curve, ...]
    turns: tuple[Turn, ...]
    hits: tuple[Hit, ...]
    remarks: tuple[Remark, ...]
    unit: str
    response: Response


def doses_of(
    predictions: str | Path,
    *,
    columns: Columns | None = None,
    controls: Sequence[str] = CONTROLS,
    how: How = "mean",
    scale: Scale = "log",
    response: Response = "probability",
    readout: str | None = None,
    unit: str | None = None,
    resampling: Resampling | None = None,
) -> Doses:
    """Read a table of predictions, and ask it of doses.

    readout: a column of measured shares, 0 to 1, to be asked instead of probabilities; any table
    with wells and doses will do then.

    Raises PredictionError where the table lacks wells or doses, or holds what is none.
    """
    resampling = resampling or Resampling()
    columns = columns or Columns()
    table, left_out = (
        (open_predictions(predictions), ())
        if readout is None
        else read_readout(predictions, readout)
    )
    wells = wells_of(table, columns, controls=controls, how=how, scale=scale)
    if readout is not None:
        wells = replace(wells, classes=(readout,))
    hits, untold = hits_of(wells, resampling)
    if unit is None:
        unit = "µM" if columns.dose.endswith("_um") else columns.dose.replace("_", " ")
    found = Doses(
        wells,
        tuple(curves_of(wells, response=response, confidence=resampling.level)),
        () if readout else tuple(turns_of(wells, confidence=resampling.level)),
        tuple(hits),
        (),
        unit,
        response,
    )
    told = (*left_out, *_seen(table), *wells.remarks, *untold)
    kept = [Remark(text, "warning") for text in told]
    return replace(found, remarks=(*_findings(found), *kept))


def write_report(doses: Doses, out: str | Path, *, command: str | None = None) -> Path:
    """Write wells.csv, dose_table.csv, curves.csv, turns.csv, hits.csv, figures, doses.json and,
    last, doses.html into `out`. Raises WriteError."""
    out = Path(out)
    shown = _shown(doses)
    drawings = [figures.dose_response(doses.wells, shown, doses.curves, doses.unit, doses.response)]
    plates = _plates_with_viability(doses.wells) if doses.turns else []
    for plate in plates[:MOST_PLATES]:
        frame = doses.wells.treated
        here = set(frame[(frame.plate == plate) & frame.viability.notna()].compound)
        drawings.append(
            figures.prediction_plot(
                doses.wells, plate, [name for name in shown if name in here] or sorted(here),
                doses.unit,
            )
        )  # fmt: skip
    page = render(
        "deadlib.doses", PAGE, drawings,
        doses=doses, place=place_words, shown=shown, most=MOST_SHOWN, found=FOUND,
        no_change=NO_CHANGE,
        plates=[(plate, f"plate_{figures.plain_name(plate)}") for plate in plates[:MOST_PLATES]],
        more_plates=len(plates) - MOST_PLATES, command=command,
    )  # fmt: skip
    tables = {
        "wells.csv": doses.wells.frame.drop(columns="place"),
        "dose_table.csv": dose_table(doses.wells),
        "curves.csv": pd.DataFrame([_curve_row(curve) for curve in doses.curves]),
    }
    for name, rows in (
        ("turns.csv", [_turn_row(turn) for turn in doses.turns]),
        ("hits.csv", [_hit_row(hit) for hit in doses.hits]),
    ):
        if rows:
            tables[name] = pd.DataFrame(rows)
        else:
            (out / name).unlink(missing_ok=True)
    for name, table in tables.items():
        write(out / name, table.to_csv(index=False, float_format="%.6g").encode())
    write_figures(out, drawings)
    write(out / NUMBERS, json.dumps(_numbers(doses, command), indent=1, allow_nan=False).encode())
    write(out / PAGE, page.encode())
    return out / PAGE


def place_words(place: Place) -> str:
    """4.72 (4.41 – 5.02), with an end left out as below or above; or why there is none."""
    if place.value is None:
        return place.reason or "–"
    if place.low is None and place.high is None:
        return f"{place.value:.3g} (both ends open)"
    if place.low is None:
        return f"{place.value:.3g} (at most {place.high:.3g}; the lower end is open)"
    if place.high is None:
        return f"{place.value:.3g} (at least {place.low:.3g}; the upper end is open)"
    return f"{place.value:.3g} ({place.low:.3g} – {place.high:.3g})"


def _seen(table: PredictionTable) -> tuple[str, ...]:
    """What to say of rows that the network learnt from."""
    seen = int(table.metadata.get("seen_in_training") or 0)
    if not seen:
        return ()
    return (
        f"{seen:,} of {len(table.frame):,} rows are of images that the network was trained, chosen "
        "or calibrated on. It knows their class, so that curves and hits look clearer than they "
        "would on new wells; for an honest figure predict the test split, or pool a study's.",
    )


def _findings(doses: Doses) -> list[Remark]:
    remarks = []
    if doses.hits:
        found = {hit.compound for hit in doses.hits if hit.q <= FOUND}
        remarks.append(
            Remark(
                f"{len(found)} of {len(doses.wells.compounds)} compounds change the answers, "
                f"compared with the control wells of their plates (q at most {FOUND})."
            )
        )
    turned = [turn for turn in doses.turns if turn.dose.value is not None]
    remarks += [
        Remark(
            f"{turn.compound}: the call turns from {turn.before} to {turn.after} at "
            f"{place_words(turn.dose)} {doses.unit}."
        )
        for turn in turned[:6]
    ]
    if len(turned) > 6:
        remarks.append(Remark(f"{len(turned) - 6} more compounds turn; turns.csv has all."))
    if doses.turns and not turned:
        remarks.append(Remark("No compound turns from one class to another once."))
    return remarks


def _shown(doses: Doses) -> list[str]:
    """Compounds for the figures: by their place in the hit list, else by name."""
    ranked = list(dict.fromkeys(hit.compound for hit in doses.hits))
    return [*ranked, *(name for name in doses.wells.compounds if name not in ranked)][:MOST_SHOWN]


def _plates_with_viability(wells: Wells) -> list[str]:
    return sorted(wells.treated[wells.treated.viability.notna()].plate.unique())


def _curve_row(curve: Curve) -> dict[str, Any]:
    hill = asdict(curve.hill) if curve.hill else dict.fromkeys(_HILL)
    counts = {"wells": curve.wells, "doses": curve.doses, "plates": curve.plates}
    named = {"compound": curve.compound, "class": curve.name}
    return named | _place_row("ec50", curve.ec50) | counts | {"p": curve.p} | hill


def _turn_row(turn: Turn) -> dict[str, Any]:
    named = {"compound": turn.compound, "before": turn.before, "after": turn.after}
    return named | _place_row("dose", turn.dose)


def _place_row(name: str, place: Place) -> dict[str, Any]:
    """The columns that a table has of a place."""
    return {
        name: place.value,
        "low": place.low,
        "high": place.high,
        "interval_over": place.over,
        "reason": place.reason,
    }


def _hit_row(hit: Hit) -> dict[str, Any]:
    found = {key: value for key, value in asdict(hit).items() if key not in ("effect", "name")}
    return {
        "compound": found.pop("compound"),
        "class": hit.name,
        "effect": hit.effect.value,
        "low": hit.effect.low,
        "high": hit.effect.high,
    } | found


def _numbers(doses: Doses, command: str | None) -> dict[str, Any]:
    wells = doses.wells
    return {
        "version": __version__,
        "command": command,
        "classes": list(wells.classes),
        "wells": len(wells.treated),
        "control_wells": len(wells.controls),
        "plates": sorted(wells.frame.plate.unique()),
        "compounds": wells.compounds,
        "unit": doses.unit,
        "scale": wells.scale,
        "how": wells.how,
        "response": doses.response,
        "remarks": [asdict(remark) for remark in doses.remarks],
        "curves": [asdict(curve) for curve in doses.curves],
        "turns": [asdict(turn) for turn in doses.turns],
        "hits": [asdict(hit) for hit in doses.hits],
    }

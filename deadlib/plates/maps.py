"""A page of plate maps: one picture for each plate and value, and the values as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deadlib.outputs import written_whole
from deadlib.pages import render, write, write_figures
from deadlib.pages.drawing import Drawing
from deadlib.plates.drawing import Amounts, plate_map
from deadlib.plates.geometry import Place, PlateFormat, format_for, parse_well
from deadlib.plates.wells import WellValues, read_wells, well_values
from tfrecords_tools.pool import Progress

PAGE = "plates.html"
WELLS = "wells.csv"
USUAL = ("treatment", "concentration_um", "viability", "label")
OF_PREDICTIONS = ("disagreement",)


def draw_plates(
    path: str | Path,
    out: str | Path,
    values: Sequence[str] = (),
    *,
    by: Sequence[str] = (),
    plate: PlateFormat | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw the wells of a plate table, prediction table or dataset; write them into folder `out`.

    values: columns, or `predicted`, `disagreement` and `fields` (see `wells.well_values`); by
    default what there is of treatment, concentration_um, viability, label and disagreement. All
    plates of one value share its colours. Returns the page; beside it `wells.csv` has one row per
    plate and well, and `figures` each picture as PNG and SVG. Raises InputError.
    """
    out = Path(out)
    table = read_wells(path, by)
    names = list(values) or _usual(table.values(), table.frame)
    found = [well_values(table, name) for name in dict.fromkeys(names)]
    places = [place for well in table.frame["well"].unique() if (place := parse_well(well))]
    plate = plate or format_for(places)
    drawings = []
    total = sum(len(value.plates) for value in found)
    for value in found:
        for number, name in enumerate(value.plates, start=1):
            drawings.append(_draw(value, name, number, plate))
            if progress is not None:
                progress("drawing plates", len(drawings), total)
    text = render(
        "deadlib.plates",
        PAGE,
        drawings,
        source=str(path),
        parts=[
            (value, _summary(value), [_file(value, k + 1) for k in range(len(value.plates))])
            for value in found
        ],
        plate=plate,
        command=command,
    )
    write_figures(out, drawings)
    with written_whole(out / WELLS) as partial:
        as_table(found).to_csv(partial, index=False, float_format="%.9g")
    write(out / PAGE, text.encode())
    return out / PAGE


def as_table(values: Sequence[WellValues]) -> pd.DataFrame:
    """One row per plate and well, one column per value; marked wells in `<value>_marked`."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for value in values:
        for plate, wells in value.plates.items():
            for well, found in wells.items():
                row = rows.setdefault((plate, well), {"plate": plate, "well": well})
                row[value.name] = found
                if value.mark:
                    row[f"{value.name}_marked"] = well in value.marked.get(plate, ())
    ordered = sorted(rows.values(), key=lambda row: _order(row, list(values[0].plates)))
    return pd.DataFrame(ordered)


def _order(row: dict[str, object], plates: list[str]) -> tuple[int, Place]:
    return plates.index(str(row["plate"])), parse_well(row["well"]) or Place(1, 1)


def _usual(known: Sequence[str], frame: pd.DataFrame) -> list[str]:
    filled = [n for n in USUAL if n in known and frame[n].notna().any()]
    labelled = "label" in filled
    calls = [name for name in OF_PREDICTIONS if name in known and labelled]
    calls = calls or [name for name in ("predicted",) if name in known]
    return [*filled, *calls] or ["fields"]


def _draw(value: WellValues, name: str, number: int, plate: PlateFormat) -> Drawing:
    return plate_map(
        value.plates[name],
        title=f"Plate {name}",
        name=_file(value, number),
        plate=plate,
        scale=value.scale,
        legend=value.legend,
        marked=value.marked.get(name, ()),
        mark=value.mark,
    )


def _file(value: WellValues, number: int) -> str:
    """The picture's name; plates are counted, since their names may be anything."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', value.name)}_{number:02}"


def _summary(value: WellValues) -> list[dict[str, object]]:
    """For each plate the number of wells, and the range or the count of each name."""
    rows = []
    for plate, wells in value.plates.items():
        known = [found for found in wells.values() if found is not None]
        if isinstance(value.scale, Amounts):
            numbers = [float(found) for found in known]
            said = (
                f"{min(numbers):.4g} to {max(numbers):.4g}, mean {sum(numbers) / len(numbers):.4g}"
                if numbers
                else "no value"
            )
        else:
            counts = {name: sum(str(k) == name for k in known) for name in value.scale.names}
            said = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        marked = len(value.marked.get(plate, ()))
        rows.append({"plate": plate, "wells": len(wells), "said": said, "marked": marked})
    return rows

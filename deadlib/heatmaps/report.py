"""A mapped movie written down: tables, figures, and one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deadlib._version import __version__
from deadlib.heatmaps import figures, pictures
from deadlib.heatmaps.curve import FEWEST_BLOCKS
from deadlib.heatmaps.lapse import MAPS, POSITIONS, VIDEO, Lapse, Mapped
from deadlib.heatmaps.maps import FULL, SUFFIX
from deadlib.heatmaps.summary import (
    TRUTH,
    Agreement,
    agreement,
    column_title,
    curve_table,
    group_table,
    onset_table,
    unit_of,
)
from deadlib.heatmaps.survey import EMPTY, SATURATED
from deadlib.pages import render, write
from deadlib.pages.drawing import Drawing

if TYPE_CHECKING:
    import pandas as pd

REPORT = "report.html"
SETTINGS = "settings.json"
_MOST_STILLS = 12
"""Positions whose stills the page shows; those of the others lie in their folders."""


def write_report(lapse: Lapse, out: Path, group_by: str | None, command: str) -> Path:
    """Write curve.csv, onset.csv, the figures and report.html into `out`; the page last.

    group_by: the column that groups positions, None for none. Also groups.csv and groups.png where
    positions are grouped, truth.csv and truth.png where the truth is known. Those of an earlier
    report that this one lacks are taken away.
    """
    found = agreement(lapse)
    onsets = onset_table(lapse)
    tables: dict[str, pd.DataFrame] = {
        "curve.csv": curve_table(lapse.positions),
        "onset.csv": onsets,
    }
    drawings = [figures.curves(lapse)]
    if group_by is not None:
        tables["groups.csv"] = group_table(lapse.positions, group_by)
        drawings.append(figures.groups(tables["groups.csv"], group_by, lapse))
    if found is not None:
        tables["truth.csv"] = found.pairs
        drawings.append(figures.truth(found))
    page = _page(lapse, onsets, found, group_by, drawings, command)
    files = {
        name: table.convert_dtypes().to_csv(index=False, float_format="%.6g").encode()
        for name, table in tables.items()
    }
    files |= {f"{drawing.name}.png": drawing.png for drawing in drawings}
    files[SETTINGS] = json.dumps(
        _settings(lapse, found, command), indent=1, allow_nan=False
    ).encode()
    for name in ("groups.csv", "groups.png", "truth.csv", "truth.png"):
        if name not in files:
            (out / name).unlink(missing_ok=True)
    for name, content in files.items():
        write(out / name, content)
    write(out / REPORT, page.encode())
    return out / REPORT


def _settings(lapse: Lapse, found: Agreement | None, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "version": __version__,
        "run": str(lapse.run.folder.resolve()),
        "movie": str(lapse.movie.path.resolve()),
        "settings": asdict(lapse.settings),
        "target": lapse.target,
        "classes": lapse.run.classes,
        "pixel_size_um": lapse.movie.pixel_size_um,
        "training_pixel_size_um": lapse.run.dataset.get("pixel_size_um"),
        "scale": lapse.scale,
        "warnings": lapse.notes,
        "difference_dense_exact": lapse.difference and asdict(lapse.difference),
        "truth": None
        if found is None
        else {
            "frames": len(found.pairs),
            "correlation": found.correlation,
            "mean_absolute_difference": found.error,
            "mean_difference": found.bias,
        },
    }


def _page(
    lapse: Lapse,
    onsets: pd.DataFrame,
    found: Agreement | None,
    group_by: str | None,
    drawings: Sequence[Drawing],
    command: str,
) -> str:
    settings = lapse.settings
    return render(
        "deadlib.heatmaps",
        REPORT,
        drawings,
        lapse=lapse,
        settings=settings,
        trained_um=lapse.run.dataset.get("pixel_size_um"),
        truth=found,
        truth_path=TRUTH.as_posix(),
        group_by=group_by,
        title_of=column_title,
        onsets=_cells(onsets),
        entries=[_entry(mapped, settings.format, settings.video) for mapped in lapse.positions],
        stills_shown=_MOST_STILLS,
        curves_drawn=figures.MOST_DRAWN,
        fewest_blocks=FEWEST_BLOCKS,
        saturated=SATURATED,
        empty=EMPTY,
        strength=pictures.STRENGTH,
        full=settings.resolution == FULL,
        wells=len({unit_of(mapped) for mapped in lapse.positions}) < len(lapse.positions),
        frames=sum(row["frame"] is not None for mapped in lapse.positions for row in mapped.rows),
        command=command,
        version=__version__,
    )


def _entry(mapped: Mapped, kind: str, video: str) -> dict[str, Any]:
    """A position for the page, with links that hold while the folder stays together."""
    base = f"{POSITIONS}/{quote(mapped.folder.name)}"
    return {
        "mapped": mapped,
        "maps": f"{base}/{MAPS}{SUFFIX[kind]}",
        "video": None if video == pictures.NO_VIDEO else f"{base}/{VIDEO}.{video}",
        "stills": [(f"{base}/{name}", words) for name, words in mapped.stills],
    }


def _cells(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """Heading and rows of text; what is not known stays empty."""
    rows = [
        ["" if value is None or value != value else _number(value) for value in row]
        for row in table.itertuples(index=False)
    ]
    return {"heading": [column_title(name) for name in table.columns], "rows": rows}


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

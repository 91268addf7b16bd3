"""The table of a study as one page that opens offline, with the same drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deadlib.pages import render, write, write_figures
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of
from deadlib.study.answers import TEST_METRICS
from deadlib.study.table import BEST, TITLES, Row, interval, shown

PAGE = "table.html"
FIGURE = "accuracy"
INCHES_PER_ROW = 0.26


def write_page(
    page: Path,
    title: str,
    axes: Sequence[str],
    rows: Sequence[Row],
    study: str,
    command: str | None,
) -> None:
    """Write the page, and its figure into `figures` beside it. Raises WriteError."""
    measured = [row for row in rows if BEST in row.spreads]
    drawings = [draw(measured)] if measured else []
    text = render(
        "deadlib.study",
        PAGE,
        drawings,
        title=title,
        axes=axes or ["cell"],
        rows=[([row.places[axis] for axis in axes] or [row.name], row) for row in rows],
        titles=TITLES,
        test_metrics=TEST_METRICS,
        best=BEST,
        shown=shown,
        interval=interval,
        repeats=max((row.repeats for row in rows), default=0),
        pooled=any(row.pools for row in rows),
        failed={name: why for row in rows for name, why in (row.failed or {}).items()},
        study=study,
        command=command,
    )
    write_figures(page.parent, drawings)
    write(page, text.encode())


def draw(rows: Sequence[Row]) -> Drawing:
    """Test accuracy of each row: single repeats, their mean, and its interval over groups."""
    with figure_of((6.4, 1.0 + INCHES_PER_ROW * len(rows))) as (figure, finish):
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            test, known = row.tests[BEST], row.spreads[BEST].known
            colour = COLOURS[1] if row.pools else COLOURS[0]
            axes.plot(known, np.full(len(known), place), "|", color=GREY, markersize=9)
            if test.low is not None and test.high is not None:
                axes.plot([test.low, test.high], [place, place], color=colour, linewidth=2.2)
            axes.plot(np.mean(known), place, "o", color=colour, markersize=5)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        strokes = "; strokes: single repeats" if max(row.repeats for row in rows) > 1 else ""
        axes.set_xlabel(f"test accuracy (bars: 95 % interval over groups{strokes})")
        names = ", ".join(f"{row.name} {shown(row.spreads[BEST])}" for row in rows)
        return finish(FIGURE, f"Test accuracy: {names}")

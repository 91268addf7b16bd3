"""Concordance written down: concordance.json, figures, and one page that opens offline."""

from __future__ import annotations

import json
from pathlib import Path

from deadlib.annotation import figures
from deadlib.annotation.concordance import Concordance
from deadlib.annotation.words import (
    assumptions,
    percent,
    percent_interval,
    summary,
    warnings,
)
from deadlib.pages import render, write, write_figures
from deadlib.pages.drawing import Drawing

REPORT = "concordance.html"
NUMBERS = "concordance.json"
# (key of Concordance.implied, what it is)
IMPLIED = {
    "ambiguous": "ambiguous, of all items",
    "left": "ambiguous, of the items on which all agree",
    "ceiling": "ceiling: every ambiguous item counted as wrong",
    "expected_ceiling": "expected ceiling: right on those as often as chance",
}


def write_report(found: Concordance, out: str | Path, *, log: str | Path) -> Path:
    """Write concordance.json, figures/ and concordance.html into `out`; the page last.

    log: the file that the responses come from, as the page names it. Returns the path of the page.
    Raises WriteError where the disk refuses.
    """
    out, drawings = Path(out), draw(found)
    page = render(
        "deadlib.annotation",
        REPORT,
        drawings,
        found=found,
        log=Path(log),
        words=summary(found),
        assumptions=assumptions(found),
        warnings=warnings(found),
        implied_names=IMPLIED,
        percent=percent,
        percent_interval=percent_interval,
    )
    write_figures(out, drawings)
    numbers = {"log": str(log), **found.to_json()}
    write(out / NUMBERS, json.dumps(numbers, indent=1, allow_nan=False).encode())
    write(out / REPORT, page.encode())
    return out / REPORT


def draw(found: Concordance) -> list[Drawing]:
    """Answers by dose, where doses are known, and by annotator."""
    drawings = []
    if found.by_dose:
        drawings.append(
            figures.shares("responses_by_dose", "light dose in s", found.by_dose, found.answers)
        )
    drawings.append(
        figures.shares("responses_by_annotator", "annotator", found.by_annotator, found.answers)
    )
    return drawings

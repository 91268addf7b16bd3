"""Pages on annotators that open offline, with their numbers and figures beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deadlib.annotation.concordance import Concordance
from deadlib.annotation.results import Results
from deadlib.annotation.sections import of_concordance, of_results
from deadlib.annotation.words import Tile, lead, tiles
from deadlib.pages import Remark, Section, render, write, write_figures

TITLE = "How far do the annotators agree?"


@dataclass(frozen=True)
class Page:
    """What a page tells, before it is written.

    stem: of the files; name: of the log or the panel; numbers: plain JSON values, all of the page.
    """

    stem: str
    name: str
    title: str
    lead: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def remarks(self) -> list[tuple[Section, Remark]]:
        """What a reader should know first, and the section that tells more."""
        return [(section, remark) for section in self.sections for remark in section.remarks]

    def html(self) -> str:
        """One file that needs no other."""
        return render("deadlib.annotation", "page.html", (), **vars(self), remarks=self.remarks)

    def write(self, out: str | Path) -> Path:
        """Write <stem>.json, figures/ and <stem>.html into `out`; the page last.

        Returns the path of the page. Raises WriteError where the disk refuses.
        """
        out, html = Path(out), self.html()
        for section in self.sections:
            write_figures(out, section.drawings)
        numbers = json.dumps(self.numbers, indent=1, allow_nan=False)
        write(out / f"{self.stem}.json", numbers.encode())
        write(out / f"{self.stem}.html", html.encode())
        return out / f"{self.stem}.html"


def write_report(found: Concordance, out: str | Path, *, log: str | Path) -> Path:
    """Write concordance.json, figures/ and concordance.html into `out`; the page last.

    log: the file that the responses come from, as the page names it. Returns the path of the page.
    Raises WriteError where the disk refuses.
    """
    log = Path(log)
    return Page(
        stem="concordance",
        name=log.stem,
        title=TITLE,
        lead=f"{log.name}: {lead(found)}",
        tiles=tiles(found),
        sections=of_concordance(found),
        numbers={"log": str(log), **found.to_json()},
    ).write(out)


def results_page(found: Results, *, name: str, more: Sequence[Section] = ()) -> Page:
    """The results of a panel. name: the panel's; more: sections that go first."""
    return Page(
        stem="results",
        name=name,
        title=TITLE,
        lead=f"{name}: {lead(found.concordance)}",
        tiles=tiles(found.concordance),
        sections=[*more, *of_results(found)],
        numbers={
            "panel": name,
            **found.to_json(),
            **{section.key: section.numbers for section in more},
        },
    )

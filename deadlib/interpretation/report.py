"""The page beside the pictures: how to read them, and what was measured, section by section."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from deadlib._version import __version__
from deadlib.interpretation import folder
from deadlib.interpretation.consistency import Consistency
from deadlib.outputs import written_whole
from deadlib.pages import render


@dataclass(frozen=True)
class Section:
    """A part of the page; what is no Markup is escaped."""

    title: str
    body: Markup


def write(
    out: Path,
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str,
    caption: str,
    facts: Mapping[str, str],
    agreed: Consistency | None = None,
    further: Sequence[Section] = (),
) -> Path:
    """Write what is told of all maps together, beside the pictures; return the page.

    report.html with overview.png and its `caption`; consistency.json where windows were compared;
    and last maps.csv, of `lines`. facts: what was asked, a name and a value each. further: sections
    that follow.
    """
    sections = [
        Section("The maps", figure(folder.OVERVIEW, caption)),
        shares_section(pd.DataFrame(lines)),
    ]
    if agreed is not None:
        sections.append(consistency_section(agreed))
        with written_whole(out / folder.CONSISTENCY) as partial:
            partial.write_text(json.dumps(agreed.to_json(), indent=1), encoding="utf-8")
    page = _page(title, facts, [*sections, *further])
    with written_whole(out / folder.REPORT) as partial:
        partial.write_text(page, encoding="utf-8")
    folder.write_table(out, lines)
    return out / folder.REPORT


def _page(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    values = {"title": title, "facts": facts, "sections": sections, "version": __version__}
    return render("deadlib.interpretation", folder.REPORT, [], **values)


def paragraph(text: str) -> Markup:
    """Plain text as a paragraph."""
    return Markup("<p>{}</p>\n").format(text)


def figure(file: str, caption: str) -> Markup:
    """A picture that lies beside the page, with what it shows."""
    return Markup(
        '<figure><a href="{}"><img src="{}" alt="{}"></a><figcaption>{}</figcaption></figure>\n'
    ).format(file, file, caption, caption)


def table(rows: pd.DataFrame) -> Markup:
    """A table with its column names as headings; floats to two decimals."""
    heads = Markup().join(Markup('<th scope="col">{}</th>').format(name) for name in rows.columns)
    lines = Markup().join(
        Markup("<tr>{}</tr>\n").format(Markup().join(map(_cell, line)))
        for line in rows.itertuples(index=False)
    )
    return Markup(
        '<div class="wide"><table><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n'
    ).format(heads, lines)


def shares_section(maps: pd.DataFrame) -> Section:
    """Where the heat lies, the mean over the maps of each class that was asked about."""
    means = maps.groupby("target")[["border_share", "half_heat_area"]].mean()
    counts = maps.groupby("target").size().rename("maps")
    rows = pd.concat([counts, means], axis=1).reset_index()
    rows.columns = ["heat for", "maps", "share at the border", "area of half the heat"]
    return Section(
        "Where the heat lies",
        paragraph(
            "Even heat has 0.36 in the outer tenth of each side, and half of it in 0.50 of the "
            "area. Clearly more at the border: look for a scale bar, the rim of a well, a "
            "vignette. maps.csv has the values of each map."
        )
        + table(rows),
    )


def consistency_section(found: Consistency) -> Section:
    """Whether windows agree about the pixels that they share."""
    rows = pd.DataFrame(
        {
            "weights": ["own, of each window", "of the class"],
            "correlation": [found.own.correlation, found.by_class.correlation],
            "difference": [found.own.difference, found.by_class.difference],
        }
    )
    alike = (
        "Both weights are the same: this network's score is a weighted mean of the feature maps of "
        "this layer, so what a map counts does not depend on the image. "
        if found.alike
        else ""
    )
    return Section(
        "Do overlapping windows agree?",
        paragraph(f"{found.sentence()[:1].upper()}{found.sentence()[1:]}.")
        + table(rows)
        + paragraph(
            f"{alike}"
            "A place speaks for a class or it does not, wherever the window is that shows it. "
            "Correlation: 1 where the two maps rise and fall alike on the pixels that both "
            "windows show. Difference: the mean difference of the two over their mean; 0 where "
            "they are the same, 2 where one has heat only where the other has none. Where windows "
            "disagree even with class weights, what the network says of a place depends on its "
            "surroundings: trust broad patterns, not single places."
        ),
    )


def _cell(value: object) -> Markup:
    if isinstance(value, str):
        return Markup("<td>{}</td>").format(value)
    shown = f"{value:.2f}" if isinstance(value, float) else f"{value}"
    return Markup('<td class="n">{}</td>').format("–" if shown == "nan" else shown)

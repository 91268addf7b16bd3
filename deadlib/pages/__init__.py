"""Pages that open offline: one style, and figures with them, for every report."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from deadlib.bootstrap import limits, number
from deadlib.outputs import written_whole
from deadlib.pages.drawing import Drawing
from deadlib.pages.glossary import GLOSSARY
from deadlib.pages.section import Remark, Section

__all__ = ["FIGURES", "Remark", "Section", "fragment", "render", "write", "write_figures"]

FIGURES = "figures"


def render(package: str, template: str, drawings: Iterable[Drawing], **values: Any) -> str:
    """The template of a package, filled in.

    It may include style.css and import the macros of macros.html; `figures` holds the drawings by
    name, as they stand inside the page, `glossary` the explanations of technical terms.
    """
    figures = {drawing.name: _inline(drawing) for drawing in drawings}
    return _environment(package).get_template(template).render(figures=figures, **values)


def fragment(package: str, template: str, drawings: Iterable[Drawing], **values: Any) -> Markup:
    """The same for a part of a page, to be put into another template as it is."""
    # what autoescaping has rendered is safe
    return Markup(render(package, template, drawings, **values))


def write_figures(folder: Path, drawings: Iterable[Drawing]) -> None:
    """Each drawing as PNG and SVG into `folder`/figures. Raises WriteError."""
    for drawing in drawings:
        write(folder / FIGURES / f"{drawing.name}.png", drawing.png)
        write(folder / FIGURES / f"{drawing.name}.svg", drawing.svg)


def write(path: Path, content: bytes) -> None:
    """Write a whole file or none. Raises WriteError where the disk refuses."""
    with written_whole(path) as partial:
        partial.write_bytes(content)


def _inline(drawing: Drawing) -> Markup:
    """A figure inside the page, as vectors."""
    data = base64.b64encode(drawing.svg).decode("ascii")
    return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(data, drawing.alt)


def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "."), jinja2.PackageLoader("deadlib.pages", ".")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, limits=limits)
    environment.globals["glossary"] = GLOSSARY
    return environment

"""A part of a report that one module makes: its page, its figures, its numbers, its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from deadlib.pages.drawing import Drawing


@dataclass(frozen=True)
class Remark:
    """One sentence of what a section found, for the top of the report.

    alarm: the figures do not mean what they seem to; warning: to be kept in mind; note: a finding.
    """

    text: str
    level: Literal["alarm", "warning", "note"] = "note"


@dataclass(frozen=True)
class Section:
    """One section of a report.

    key: its place in report.json and its anchor in the page; html: what stands below the title,
    from `pages.fragment`; numbers: plain JSON values, every figure that the section shows.
    """

    key: str
    title: str
    html: Markup
    numbers: Any = None
    drawings: tuple[Drawing, ...] = ()
    remarks: tuple[Remark, ...] = ()

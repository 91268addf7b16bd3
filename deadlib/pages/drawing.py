"""How every figure of a report looks, as PNG for slides and SVG for print.

Colours are Okabe & Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#8a8a8a"
INK = "#222222"
PNG_DPI = 200
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    # the same table gives the same file
    "svg.hashsalt": "deadlib",
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure. name: its file without suffix; alt: what it shows, in words."""

    name: str
    alt: str
    png: bytes
    svg: bytes


def plain(name: str) -> str:
    """A name as matplotlib draws it letter by letter, dollars too, which mean mathematics there."""
    return name.replace("$", r"\$")


def colours() -> Iterator[str]:
    while True:
        yield from COLOURS


Finish = Callable[[str, str], Drawing]


@contextmanager
def figure_of(size_inches: tuple[float, float]) -> Iterator[tuple[Figure, Finish]]:
    """A figure, and what turns it into a Drawing; style stays inside."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size_inches, dpi=PNG_DPI, layout="constrained")

        def finish(name: str, alt: str) -> Drawing:
            png, svg = io.BytesIO(), io.BytesIO()
            # laid out once for both; savefig would lay out and draw four times
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
            FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
            return Drawing(name, alt, png.getvalue(), svg.getvalue())

        yield figure, finish

"""Dose-response curves, and each well's answer against dose and viability."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deadlib.doses.curves import NO_CHANGE, Curve
from deadlib.doses.wells import CALLED, Wells
from deadlib.pages.drawing import COLOURS, GREY, Drawing, Finish, figure_of
from tfrecords_tools.table import PROBABILITY

# as in publications: healthy green, apoptosis red, ferroptosis blue
KNOWN = {"healthy": COLOURS[2], "apoptosis": COLOURS[1], "ferroptosis": COLOURS[0]}
MOST_ACROSS = 4
INCHES = (2.9, 2.2)


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """One colour each: the well-known classes theirs, others what is left."""
    known = {name: KNOWN[name.lower()] for name in classes if name.lower() in KNOWN}
    left = [colour for colour in COLOURS if colour not in known.values()]
    others = [name for name in classes if name not in known]
    return known | {name: left[k % len(left)] for k, name in enumerate(others)}


def class_letters(classes: Sequence[str]) -> dict[str, str]:
    """The first letter of each, or numbers from 1 where two begin alike."""
    letters = [name[:1].upper() for name in classes]
    if len(set(letters)) < len(classes):
        letters = [str(k + 1) for k in range(len(classes))]
    return dict(zip(classes, letters, strict=True))


def dose_response(
    wells: Wells, compounds: Sequence[str], curves: Sequence[Curve], unit: str, response: str
) -> Drawing:
    """One axes a compound: every well, the fitted curves, and half-effect doses with intervals."""
    colours = class_colours(wells.classes)
    prefix = PROBABILITY if response == "probability" else CALLED
    with _grid(len(compounds)) as (figure, axes_of, finish):
        for axes, compound in zip(axes_of, compounds, strict=True):
            frame = wells.treated[wells.treated.compound == compound]
            for name in wells.classes:
                axes.plot(
                    frame.place, frame[prefix + name], "o",
                    color=colours[name], markersize=3, alpha=0.45, markeredgewidth=0,
                )  # fmt: skip
                if len(wells.controls):
                    axes.axhline(
                        wells.controls[prefix + name].mean(),
                        color=colours[name], linewidth=0.9, linestyle=":",
                    )  # fmt: skip
            for curve in (curve for curve in curves if curve.compound == compound):
                _draw_curve(axes, wells, frame, curve, colours[curve.name])
            axes.set(title=compound, ylim=(-0.04, 1.04))
            _dose_axis(axes, wells)
        what = "probability of the class" if response == "probability" else "share called the class"
        if len(wells.classes) == 1:
            what = wells.classes[0]
        _shared(figure, unit, what, wells, colours)
        return finish(
            "dose_response",
            f"Answers over doses for {', '.join(compounds)}, with the curves through them.",
        )


def prediction_plot(wells: Wells, plate: str, compounds: Sequence[str], unit: str) -> Drawing:
    """One axes a compound of a plate: dose, viability, and each well as the letter it is called."""
    colours, letters = class_colours(wells.classes), class_letters(wells.classes)
    on_plate = wells.frame[(wells.frame.plate == plate) & wells.frame.viability.notna()]
    treated, controls = on_plate[~on_plate.control], on_plate[on_plate.control]
    low, high = on_plate.viability.min(), on_plate.viability.max()
    margin = 0.08 * max(high - low, 1e-9)
    with _grid(len(compounds)) as (figure, axes_of, finish):
        for axes, compound in zip(axes_of, compounds, strict=True):
            frame = treated[treated.compound == compound]
            if len(controls):
                axes.axhline(controls.viability.mean(), color=GREY, linewidth=0.9, linestyle=":")
            axes.plot(frame.place, frame.viability, linestyle="none")
            for place, viability, called in zip(
                frame.place, frame.viability, frame.predicted, strict=True
            ):
                axes.text(
                    place, viability, letters[called], color=colours[called],
                    ha="center", va="center", fontsize=8, fontweight="bold",
                )  # fmt: skip
            axes.set(title=compound, ylim=(low - margin, high + margin))
            _dose_axis(axes, wells)
        named = {f"{letters[name]} {name}": colour for name, colour in colours.items()}
        _shared(figure, unit, "viability", wells, named)
        called = ", ".join(f"{letters[name]} {name}" for name in wells.classes)
        return finish(
            f"plate_{plain_name(plate)}", f"Plate {plate}: what each well is called ({called})."
        )


def _draw_curve(axes: Axes, wells: Wells, frame: pd.DataFrame, curve: Curve, colour: str) -> None:
    if curve.hill is None:
        return
    places = np.linspace(frame.place.min(), frame.place.max(), 200)
    sure = curve.p is not None and curve.p < NO_CHANGE
    width, alpha = (1.6, 1.0) if sure else (0.8, 0.5)
    axes.plot(places, curve.hill(places), color=colour, linewidth=width, alpha=alpha)
    ec50 = curve.ec50
    if ec50.value is None:
        return
    middle = (curve.hill.start + curve.hill.end) / 2
    span = [
        places[0] if ec50.low is None else wells.place_of(ec50.low),
        places[-1] if ec50.high is None else wells.place_of(ec50.high),
    ]
    axes.plot(span, [middle, middle], color=colour, linewidth=3, alpha=0.5, solid_capstyle="butt")
    axes.plot(wells.place_of(ec50.value), middle, "D", color=colour, markersize=4)


def _dose_axis(axes: Axes, wells: Wells) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if wells.scale == "log":
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(FuncFormatter(dose_text))
    axes.grid(axis="x", color="#eeeeee", linewidth=0.7)
    axes.set_axisbelow(True)


def dose_text(place: float, _: int) -> str:
    """Two digits of a dose, 100 and not 1e+02, from its decimal logarithm."""
    return f"{float(f'{10**place:.2g}'):g}"


@contextmanager
def _grid(count: int) -> Iterator[tuple[Figure, list[Axes], Finish]]:
    """`count` axes, row by row, each with doses of its own: compounds differ by a thousandfold."""
    across = min(count, MOST_ACROSS)
    down = -(-count // across)
    size = (max(INCHES[0] * across, 4.2), INCHES[1] * down + 0.7)
    with figure_of(size) as (figure, finish):
        every = list(figure.subplots(down, across, sharey=True, squeeze=False).flat)
        for axes in every[count:]:
            axes.set_axis_off()
        yield figure, every[:count], finish


def _shared(figure: Figure, unit: str, what: str, wells: Wells, named: Mapping[str, str]) -> None:
    figure.supxlabel(f"dose ({unit})" if unit else "dose", fontsize=9)
    figure.supylabel(what, fontsize=9)
    lines = [Line2D([], [], color=colour, linewidth=3) for colour in named.values()]
    if len(wells.controls):
        lines.append(Line2D([], [], color=GREY, linewidth=1, linestyle=":"))
        named = {**named, "control wells": GREY}
    figure.legend(lines, list(named), loc="outside upper right", ncols=min(len(named), 5))


def plain_name(text: str) -> str:
    """As a file name, in the letters of any language."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_") or "plate"

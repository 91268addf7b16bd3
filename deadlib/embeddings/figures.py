"""The figures of the page: maps coloured by one column each, and the batch effect of all tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from deadlib.embeddings.batch import Answer
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of
from deadlib.predictions import as_names
from tfrecords_tools.table import TEXT_COLUMNS

AMOUNTS = frozenset({"concentration_um", "viability"})
LOGARITHMIC = frozenset({"concentration_um"})
MORE_COLOURS = (*COLOURS[:6], "#8c564b", "#7f3c8d", "#a5aa99", "#000000")
WELL = frozenset({"healthy", "living", "live", "control", "dmso"})
FEWEST_AMOUNTS = 9
PANELS_ACROSS = 3
PANEL_INCHES = 2.9


@dataclass(frozen=True)
class Colouring:
    """What rows are coloured by: names (M,) object, or amounts (M,) float, NaN where unknown."""

    column: str
    values: NDArray[Any]

    @property
    def is_amount(self) -> bool:
        return self.values.dtype.kind == "f"

    @staticmethod
    def of(frame: pd.DataFrame, column: str) -> Colouring:
        """Numbers of more than a few values are amounts, unless they are names by their meaning."""
        found = frame[column]
        numeric = pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_bool_dtype(found)
        many = found.nunique() >= FEWEST_AMOUNTS and column not in TEXT_COLUMNS
        if numeric and (many or column in AMOUNTS):
            return Colouring(column, found.to_numpy(float, na_value=np.nan))
        return Colouring(column, as_names(found).to_numpy(object))


def maps(
    name: str, title: str, positions: NDArray[np.float64], colourings: Sequence[Colouring]
) -> Drawing:
    """The same map once for each column."""
    down = -(-len(colourings) // PANELS_ACROSS)
    across = min(PANELS_ACROSS, len(colourings))
    with figure_of((PANEL_INCHES * across + 0.4, (PANEL_INCHES + 0.75) * down)) as (figure, finish):
        panels = figure.subplots(down, across, squeeze=False).ravel()
        # so that no class is drawn over all others
        order = np.random.default_rng(0).permutation(len(positions))
        for axes, colouring in zip(panels, colourings, strict=False):
            _panel(axes, positions[order], colouring, colouring.values[order])
        for axes in panels[len(colourings) :]:
            axes.set_axis_off()
        columns = ", ".join(one.column for one in colourings)
        return finish(name, f"Map of {title}, {len(positions)} images, coloured by {columns}")


def _panel(
    axes: Axes, positions: NDArray[np.float64], colouring: Colouring, values: NDArray[Any]
) -> None:
    size = float(np.clip(2500 / len(positions), 1.5, 14))
    setting: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    axes.set_title(colouring.column.replace("_", " "))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#d0d5da")
    if colouring.is_amount:
        _amounts(axes, positions, colouring.column, values, setting)
    else:
        _names(axes, positions, values, setting)


def _amounts(
    axes: Axes,
    positions: NDArray[np.float64],
    column: str,
    values: NDArray[np.float64],
    setting: Mapping[str, Any],
) -> None:
    logarithmic = column in LOGARITHMIC
    known = np.isfinite(values) & ((values > 0) | (not logarithmic))
    label = "none" if logarithmic else "not known"
    if not known.all():
        axes.scatter(*positions[~known].T, color="#cfd4d9", **setting)
    if not known.any():
        return
    low, high = np.percentile(values[known], [0, 100] if logarithmic else [1, 99])
    norm = LogNorm(low, high) if logarithmic and high > low else Normalize(low, high)
    x, y = positions[known].T
    drawn = axes.scatter(x, y, c=values[known], cmap="viridis", norm=norm, **setting)
    bar = axes.figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    if not known.all():
        bar.set_label(f"grey: {label}", fontsize=7)


def _names(
    axes: Axes,
    positions: NDArray[np.float64],
    values: NDArray[np.object_],
    setting: Mapping[str, Any],
) -> None:
    counted = pd.Series(values).value_counts()
    shown = sorted(counted.index[: len(MORE_COLOURS)], key=_place)
    other = ~np.isin(values.astype(str), shown)
    if other.any():
        axes.scatter(*positions[other].T, color="#cfd4d9", **setting)
    for place, name in enumerate(shown):
        axes.scatter(
            *positions[values == name].T, color=MORE_COLOURS[place], label=_short(name), **setting
        )
    handles, labels = axes.get_legend_handles_labels()
    if len(counted) > len(shown):
        handles.append(axes.scatter([], [], color="#cfd4d9", s=10, linewidths=0))
        labels.append(f"{len(counted) - len(shown)} more")
    axes.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=3,
        fontsize=6.5,
        handletextpad=0.1,
        columnspacing=0.7,
        markerscale=max(1.0, (12 / setting["s"]) ** 0.5),
    )


def _place(name: object) -> tuple[bool, str]:
    """What is well first, so that it is blue on every map."""
    return str(name).casefold() not in WELL, str(name)


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= 14 else f"{text[:13]}…"


def batch_effect(
    answers: Mapping[str, Sequence[Answer]], keys: Sequence[str], titles: Mapping[str, str]
) -> Drawing:
    """One block for each question, one row for each table: probe (dot) and neighbours (ring)."""
    rows = len(keys) * (len(answers) + 1)
    with figure_of((6.8, 0.9 + 0.24 * rows)) as (figure, finish):
        axes = figure.add_subplot()
        places, names, place, told = [], [], 0.0, []
        for key in keys:
            place += 0.9
            axes.text(0.0, place, titles[key], fontweight="bold", va="center", fontsize=8.5)
            place += 0.9
            for number, (table, found) in enumerate(answers.items()):
                one = next((answer for answer in found if answer.question.key == key), None)
                if one is not None:
                    _whiskers(axes, place, one, COLOURS[number % len(COLOURS)])
                    value = one.measured["probe"].estimate.value
                    told.append(f"{table}: {titles[key]} {value:.2f}")
                places.append(place)
                names.append(table)
                place += 0.9
        axes.set_yticks(places, names)
        axes.set_ylim(place, 0)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(
            "balanced accuracy of a linear probe (dot) and of the 10 nearest wells (ring)\n"
            "bar: 95 % interval over wells; grey stroke: chance"
        )
        return finish("batch_effect", "; ".join(told))


def _whiskers(axes: Axes, place: float, answer: Answer, colour: str) -> None:
    probe, neighbours = answer.measured["probe"], answer.measured["neighbours"]
    axes.plot([probe.chance] * 2, [place - 0.4, place + 0.4], color=GREY, linewidth=1.6)
    low, high = probe.estimate.low, probe.estimate.high
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
    ring = {"markersize": 6.5, "markerfacecolor": "none"}
    for found, style in ((probe, {"markersize": 5}), (neighbours, ring)):
        if found.estimate.value is not None:
            axes.plot(found.estimate.value, place, "o", color=colour, **style)

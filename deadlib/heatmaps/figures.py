"""The figures of the report on a movie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from deadlib.heatmaps.lapse import Lapse, Mapped
from deadlib.heatmaps.summary import Agreement, column_title, hours_known
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = 3
MOST_DRAWN = 24
_MARKED = {"saturated": ("v", COLOURS[4]), "empty": ("s", GREY)}


def curves(lapse: Lapse) -> Drawing:
    """A panel for each position: sick area with its interval, gaps as gaps, onset as a line."""
    shown = lapse.positions[:MOST_DRAWN]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with figure_of((3.4 * columns + 0.6, 2.3 * rows + 0.5)) as (figure, draw):
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, mapped in zip(panels.flat, shown, strict=False):
            _panel(axes, mapped, lapse)
        for axes in panels.flat[len(shown) :]:
            axes.axis("off")
        figure.supxlabel(time_label(lapse.positions))
        figure.supylabel(f"share of the frame called {lapse.target}")
        return draw("curve", "Sick area over time, a panel for each position")


def groups(table: pd.DataFrame, column: str, lapse: Lapse) -> Drawing:
    """The mean curve of each group with its interval, and the positions behind it."""
    use_hours = hours_known(lapse.positions)
    with figure_of((6.4, 3.8)) as (figure, draw):
        axes = figure.subplots()
        for place, (group, found) in enumerate(table.groupby(column, sort=False)):
            colour = COLOURS[place % len(COLOURS)]
            for mapped in lapse.positions:
                if str(mapped.facts.get(column, "unknown")) == str(group):
                    times, values, _ = _series(mapped, lapse.positions)
                    axes.plot(times, values, color=colour, linewidth=0.6, alpha=0.45)
            times = found["time_hours" if use_hours else "time_index"].to_numpy(float)
            low, high = found["low"].to_numpy(float), found["high"].to_numpy(float)
            axes.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0)
            count = int(found["units"].max())
            axes.plot(times, found["sick_area"], color=colour, label=f"{group}  (n = {count})")
        axes.set(
            xlabel=time_label(lapse.positions),
            ylabel=f"share of the frame called {lapse.target}",
            ylim=(-0.02, 1.02),
        )
        axes.legend(title=column_title(column), loc="upper left", bbox_to_anchor=(1.01, 1))
        return draw("groups", "Mean sick area of each group over time")


def truth(found: Agreement) -> Drawing:
    """Predicted against true sick area, one point per frame."""
    with figure_of((4.2, 3.9)) as (figure, draw):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        names = list(dict.fromkeys(found.pairs["position"]))
        for name, pairs in found.pairs.groupby("position", sort=False):
            colour = COLOURS[names.index(name) % len(COLOURS)]
            axes.plot(
                pairs["true"],
                pairs["predicted"],
                "o",
                markersize=3.5,
                alpha=0.75,
                color=colour,
                label=str(name),
            )
        axes.set(
            xlabel="true sick area (share of the frame)",
            ylabel="predicted sick area",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
            aspect="equal",
        )
        if len(names) <= len(COLOURS):
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
        return draw("truth", "Predicted against true sick area")


def time_label(positions: Sequence[Mapped]) -> str:
    return "time (hours)" if hours_known(positions) else "frame"


def _panel(axes: Axes, mapped: Mapped, lapse: Lapse) -> None:
    times, values, rows = _series(mapped, lapse.positions)
    colour = COLOURS[0]
    low, high = (_numbers(rows, name) for name in ("low", "high"))
    axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(times, values, color=colour, marker="o", markersize=2.5)
    for name, (marker, fill) in _MARKED.items():
        marked = [name in row["marks"] for row in rows]
        if any(marked):
            axes.plot(times[marked], values[marked], marker, color=fill, markersize=5, label=name)
    for time, row in zip(times, rows, strict=True):
        if row["frame"] is None:
            axes.axvspan(time - 0.5 * _step(times), time + 0.5 * _step(times), color="#dddddd")
    axes.axhline(lapse.settings.rule.area, color=GREY, linewidth=0.8, linestyle=":")
    title = mapped.name
    if mapped.onset.time is not None:
        axes.axvline(mapped.onset.time, color=COLOURS[1], linewidth=1.2)
        title += f"   onset {mapped.onset.time:.3g}"
    axes.set_title(title)
    axes.set_ylim(-0.02, 1.02)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _series(
    mapped: Mapped, positions: Sequence[Mapped]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[dict[str, Any]]]:
    """Times and sick areas; NaN where a frame is missing, so that the line breaks."""
    rows = mapped.rows
    times = _with_gaps_timed(rows) if hours_known(positions) else _numbers(rows, "time_index")
    return times, _numbers(rows, "sick_area"), rows


def _with_gaps_timed(rows: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Hours; those of a missing frame where its index lies between its neighbours."""
    index, hours = _numbers(rows, "time_index"), _numbers(rows, "time_hours")
    known = np.isfinite(hours)
    if known.sum() > 1:
        slope, start = np.polyfit(index[known], hours[known], 1)
        hours[~known] = start + slope * index[~known]
    return hours


def _numbers(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray[Any, Any]:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def _step(times: np.ndarray[Any, Any]) -> float:
    return float(np.nanmedian(np.diff(times))) if len(times) > 1 else 1.0

"""The figures on being unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deadlib.bootstrap import Estimate
from deadlib.evaluation.units import Floats
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of

Rates = Mapping[str, Estimate]


def reliability(rates: Rates, bins: dict[str, list[dict[str, Any]]], classes: int) -> Drawing:
    with figure_of((6.4, 3.6)) as (figure, draw):
        for axes, when, colour in zip(
            figure.subplots(1, 2, sharey=True), bins, (COLOURS[1], COLOURS[0]), strict=True
        ):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
            for bar in bins[when]:
                accuracy = bar["accuracy"]
                if accuracy.low is not None:
                    axes.plot([bar["confidence"]] * 2, [accuracy.low, accuracy.high], color=colour,
                              linewidth=1.2)  # fmt: skip
            axes.scatter(
                [bar["confidence"] for bar in bins[when]],
                [bar["accuracy"].value for bar in bins[when]],
                s=_areas([bar["n"] for bar in bins[when]]),
                color=colour,
                zorder=3,
                clip_on=False,
            )
            error = rates[f"calibration_error_{when}"].value
            axes.set(xlabel="claimed confidence", xlim=(0.95 / classes, 1.01), ylim=(0, 1.02))
            axes.set_title(f"{when.capitalize()} calibration: error {error:.3f}")
        figure.axes[0].set_ylabel("share called right")
        return draw("calibration", "Share called right over claimed confidence, before and after.")


def _areas(counts: Sequence[int]) -> list[float]:
    """Dots whose area grows with the number of images, small ones still seen."""
    most = max(counts)
    return [8 + 60 * count / most for count in counts]


def abstention(rates: Rates, answered: Floats) -> Drawing:
    drawn = [rates[f"answered_{share:.3f}"] for share in answered]
    with figure_of((4.4, 3.6)) as (figure, draw):
        axes = figure.subplots()
        value = np.array([one.value for one in drawn], float)
        low = [v if one.low is None else one.low for v, one in zip(value, drawn, strict=True)]
        high = [v if one.high is None else one.high for v, one in zip(value, drawn, strict=True)]
        percent = 100 * (1 - answered)
        axes.fill_between(percent, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
        axes.plot(percent, value, color=COLOURS[0])
        sure, right = rates["sure"].value, rates["right where sure"].value
        if sure is not None and right is not None:
            left_out = 100 * (1 - sure)
            axes.plot(left_out, right, "o", color=COLOURS[1], label="one class in the set")
            axes.legend(loc="lower right")
        axes.set(
            xlabel="images left out as unsure, %",
            ylabel="share of the others called right",
            title="Leaving out the unsure",
        )
        return draw("abstention", "Accuracy among the surest images, over the share left out.")


def claims(name: str, column: str, rows: Sequence[dict[str, Any]]) -> Drawing:
    with figure_of((5.2, 1.3 + 0.24 * len(rows))) as (figure, draw):
        axes = figure.subplots()
        for place, row in enumerate(rows):
            right = row["right"]
            if right.low is not None:
                axes.plot([right.low, right.high], [place, place], color=COLOURS[0], linewidth=1.4)
        places = range(len(rows))
        right = [row["right"].value for row in rows]
        axes.plot(right, places, "o", color=COLOURS[0], markersize=5, label="called right")
        claimed = [row["claimed"] for row in rows]
        axes.plot(claimed, places, "D", markerfacecolor="none", color=COLOURS[1], markersize=6,
                  label="claimed")  # fmt: skip
        axes.set_yticks(places, [f"{row['value']}  (n = {row['n']:,})" for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.set(xlabel="share of images", title=f"Claimed and right, by {column}")
        figure.legend(loc="outside lower center", ncols=2)
        return draw(name, f"Mean confidence and accuracy of each {column}.")


def distances(share: Floats) -> Drawing:
    with figure_of((4.4, 3.0)) as (figure, draw):
        axes = figure.subplots()
        axes.hist(share, np.linspace(0, 1, 21).tolist(), color=COLOURS[0], edgecolor="white")
        axes.axhline(len(share) / 20, color=GREY, linestyle=":", label="images like the known ones")
        axes.legend(loc="upper left")
        axes.set(
            xlabel="share of known images closer to training",
            ylabel="images",
            title="How unlike the training images",
            xlim=(0, 1),
        )
        return draw("distance", "Histogram of out_of_distribution; even where nothing is new.")

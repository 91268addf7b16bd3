"""What annotators answered, as stacked bars: figure 2a of the DeadNet paper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from deadlib.annotation.concordance import Answers
from deadlib.pages.drawing import COLOURS, INK, Drawing, figure_of
from tfrecords_tools.annotations import UNSURE

UNSURE_COLOUR = "#c8c8c8"
# a share as narrow as this has no room for its number
NARROWEST_LABELLED = 0.07


def shares(name: str, subject: str, bars: Sequence[Answers], answers: Sequence[str]) -> Drawing:
    """Share of each answer, one bar for each of `bars`, unsure on top."""
    certain = [answer for answer in answers if answer != UNSURE]
    colours = dict(zip(certain, islice(cycle(COLOURS), len(certain)), strict=True))
    colours[UNSURE] = UNSURE_COLOUR
    with figure_of((max(4.2, 2.2 + 0.62 * len(bars)), 3.6)) as (figure, draw):
        axes = figure.subplots()
        bottoms = [0.0] * len(bars)
        for answer in answers:
            heights = [100 * bar.counts[answer] / max(bar.responses, 1) for bar in bars]
            axes.bar(
                range(len(bars)),
                heights,
                0.78,
                bottom=bottoms,
                color=colours[answer],
                edgecolor="white",
                linewidth=0.8,
                label=answer,
            )
            for place, height in enumerate(heights):
                if height >= 100 * NARROWEST_LABELLED:
                    middle = bottoms[place] + height / 2
                    ink = INK if answer == UNSURE else "white"
                    axes.text(
                        place, middle, f"{height:.0f}", ha="center", va="center", color=ink, size=8
                    )
            bottoms = [low + height for low, height in zip(bottoms, heights, strict=True)]
        longest = max((len(bar.name) for bar in bars), default=0)
        rotated = longest > 9
        labels = [
            f"{bar.name} ({bar.responses:,})" if rotated else f"{bar.name}\n({bar.responses:,})"
            for bar in bars
        ]
        axes.set_xticks(range(len(bars)), labels)
        if rotated:
            axes.tick_params(axis="x", rotation=35)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
        axes.set(
            xlabel=f"{subject} (number of responses)",
            ylabel="% of responses",
            ylim=(0, 100),
            title="What annotators answered",
        )
        # from top to bottom, as the bars are stacked
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)
        said = "; ".join(
            f"{bar.name}: "
            + ", ".join(
                f"{answer} {100 * bar.counts[answer] / max(bar.responses, 1):.0f} %"
                for answer in answers
            )
            for bar in bars
        )
        return draw(name, f"Share of each answer by {subject}. {said}.")

"""What annotators answered (figure 2a of the DeadNet paper), how fast, and whether it changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from deadlib.annotation.concordance import Answers
from deadlib.annotation.pace import Drift, Pace, Stretch
from deadlib.pages.drawing import COLOURS, INK, Drawing, figure_of, plain
from tfrecords_tools.annotations import UNSURE

UNSURE_COLOUR = "#c8c8c8"
# small pictures in a row; more annotators are in the table
MOST_DRAWN = 8
IN_A_ROW = 4
# a share as narrow as this has no room for its number
NARROWEST_LABELLED = 0.07


def shares(name: str, subject: str, bars: Sequence[Answers], answers: Sequence[str]) -> Drawing:
    """Share of each answer, one bar for each of `bars`, unsure on top."""
    colours = _colours(answers)
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
                label=plain(answer),
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
            f"{plain(bar.name)}{' ' if rotated else chr(10)}({bar.responses:,})" for bar in bars
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


def seconds(name: str, paces: Sequence[Pace]) -> Drawing:
    """Median and middle half of the seconds per answer, one line for each of `paces`."""
    with figure_of((5.4, 1.0 + 0.28 * len(paces))) as (figure, draw):
        axes = figure.subplots()
        said = []
        for place, one in enumerate(paces):
            low, middle, high = one.quartiles_seconds or (0.0, 0.0, 0.0)
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=2.2)
            axes.plot(middle, place, "o", color=COLOURS[0], markersize=5)
            said.append(f"{one.name} {middle:.1f} s")
        axes.set_yticks(range(len(paces)), [plain(one.name) for one in paces])
        axes.set_ylim(len(paces) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set(xlabel="seconds per answer", title="How long answers take")
        return draw(name, f"Median seconds per answer: {', '.join(said)}.")


def drift(name: str, drifts: Sequence[Drift], answers: Sequence[str]) -> Drawing:
    """Share of each answer along the answers of each annotator, the first eight of them."""
    shown, colours = drifts[:MOST_DRAWN], _colours(answers)
    columns = min(IN_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    with figure_of((2.0 + 1.9 * columns, 0.6 + 1.9 * rows)) as (figure, draw):
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, one in zip(grid, shown, strict=False):
            middles = [(part.first + part.last) / 2 for part in one.stretches]
            for answer in answers:
                shares = [_percent(part, answer) for part in one.stretches]
                axes.plot(
                    middles,
                    shares,
                    "o-",
                    color=colours[answer],
                    markersize=3.5,
                    label=plain(answer),
                )
            axes.set(ylim=(0, 100), xlim=(0, one.stretches[-1].last), title=plain(one.annotator))
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        figure.supxlabel("answers of the annotator so far", size=9)
        figure.supylabel("% of responses", size=9)
        lines, labels = grid[0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside right center")
        said = "; ".join(
            f"{one.annotator}: "
            + ", ".join(
                f"{answer} {_percent(one.stretches[0], answer):.0f} % to "
                f"{_percent(one.stretches[-1], answer):.0f} %"
                for answer in answers
            )
            for one in shown
        )
        return draw(name, f"Share of each answer from the first stretch to the last. {said}.")


def _percent(part: Stretch, answer: str) -> float:
    return 100 * part.counts[answer] / (part.last - part.first + 1)


def _colours(answers: Sequence[str]) -> dict[str, str]:
    certain = [answer for answer in answers if answer != UNSURE]
    found = dict(zip(certain, islice(cycle(COLOURS), len(certain)), strict=True))
    return found | {UNSURE: UNSURE_COLOUR}

"""The section on plates and wells: its sentences, its tables, its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from deadlib.bootstrap import Estimate
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.figures import SHADES
from deadlib.evaluation.wells import SHOWN, VOTE, Counted, Plate, Wells
from deadlib.metrics import METRICS
from deadlib.pages import Remark, Section, fragment
from deadlib.pages.drawing import COLOURS, GREY, INK, Drawing, figure_of

ALL = "all wells"
MOST_PLATES_DRAWN = 40
# beyond these, matrices are too many or too small to be read; the tables hold them all
MOST_MATRICES, MOST_CLASSES = 8, 8


def wells(evaluation: Evaluation) -> Section | None:
    """Each plate, in single fields and in wells."""
    found = evaluation.wells
    if found is None:
        return None
    classes = evaluation.predictions.classes
    percent = f"{100 * evaluation.resampling.level:g}"
    drawings = [_accuracies(found, percent)]
    if len(classes) <= MOST_CLASSES:
        drawings.append(_matrices(found, classes))
    html = fragment(
        "deadlib.evaluation",
        "wells.html",
        drawings,
        found=found,
        rows=[found.together, *found.plates] if len(found.plates) != 1 else [found.together],
        metrics={name: METRICS[name].title for name in SHOWN},
        classes=classes,
        by_class=len(classes) <= MOST_CLASSES,
        drawn=_drawn(found),
        percent=percent,
        words=[*on_wells(found), *map(on_worse, found.worse)],
    )
    remarks = [Remark(on_worse(plate), "warning") for plate in found.worse]
    if found.most > 1:
        remarks.append(Remark(in_short(found, percent)))
    return Section(
        "wells", "Plates and wells", html, found.to_json(), tuple(drawings), tuple(remarks)
    )


def in_short(found: Wells, percent: str) -> str:
    """The accuracy over wells, for the top of the page."""
    ways = found.together.ways
    best = ways[found.best_way].metrics["accuracy"]
    vote = ways[VOTE].metrics["accuracy"]
    by_vote = (
        "" if found.best_way == VOTE else f", by majority vote {_of_100(vote.value)} of 100 are"
    )
    how = "the majority vote" if found.best_way == VOTE else "the mean probability"
    return (
        f"Of 100 wells {_of_100(best.value)} are called right by {how} of their fields"
        f"{_limits(best, percent)}{by_vote}; {_tied(found.together)}."
    )


def on_wells(found: Wells) -> list[str]:
    """What was counted, what decides ties, and what is left out."""
    sentences = []
    if found.most > 1:
        each = (
            f"{found.most} fields each"
            if found.fewest == found.most
            else f"{found.fewest} to {found.most} fields each, and count the same"
        )
        sentences.append(f"{found.together.wells:,} wells have {each}.")
        rule = (
            f"{', '.join(found.ties)}, in this order of precedence"
            if found.ties
            else "the class that stands first in the table"
            if found.calls_only
            else "the tied class of the highest mean probability"
        )
        tied = _tied(found.together)
        sentences.append(f"{tied[0].upper()}{tied[1:]}; ties go to {rule}.")
    elif found.together.tied is not None:
        tied = _tied(found.together)
        sentences.append(f"The table has one row for each well. {tied[0].upper()}{tied[1:]}.")
    if found.mixed:
        sentences.append(
            f"{found.mixed:,} wells are left out here, as their rows have different labels."
        )
    if found.without_place:
        sentences.append(f"{found.without_place:,} rows are left out here in all.")
    return sentences


def on_worse(plate: Plate) -> str:
    """That a plate is worse than the others, and how sure that is."""
    difference = plate.behind or Estimate(None)
    low, high = 100 * abs(difference.high or 0), 100 * abs(difference.low or 0)
    return (
        f"Plate {plate.name} is worse than the others: of 100 of its wells "
        f"{100 * abs(difference.value or 0):.0f} fewer are called right (interval {low:.0f} to "
        f"{high:.0f}, over wells, and wider for each plate that is compared). The figures over all "
        "plates hide that; find out what is different there."
    )


def _tied(plate: Plate) -> str:
    tied = plate.tied or 0
    return f"the vote is tied in {tied:,} of {plate.wells:,} wells"


def _accuracies(found: Wells, percent: str) -> Drawing:
    """The accuracy of each plate, counted in each way."""
    plates = [found.together, *(found.plates if len(found.plates) > 1 else [])]
    plates = plates[: MOST_PLATES_DRAWN + 1]
    ways = list(found.together.ways)
    with figure_of((5.6, 1.4 + 0.42 * len(plates))) as (figure, draw):
        axes = figure.subplots()
        for shift, (way, colour) in enumerate(zip(ways, COLOURS, strict=False)):
            for row, plate in enumerate(plates):
                one = plate.ways[way].metrics["accuracy"]
                height = row + 0.22 * (shift - (len(ways) - 1) / 2)
                if one.low is not None and one.high is not None:
                    axes.plot([one.low, one.high], [height] * 2, color=colour)
                if one.value is not None:
                    label = way if row == 0 else ""
                    axes.plot(one.value, height, "o", color=colour, markersize=4.5, label=label)
        axes.set_yticks(range(len(plates)), [_name(plate) for plate in plates])
        axes.set_ylim(len(plates) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        if len(plates) > 1:
            axes.axhline(0.5, color=GREY, linewidth=0.6)
        axes.set(xlabel=f"accuracy, with {percent} % interval", title="Fields and wells")
        if len(ways) > 1:
            figure.legend(loc="outside lower center", ncols=3)
        said = "; ".join(
            f"{_name(plate)}: {_of_100(plate.ways[way].metrics['accuracy'].value)} of 100 {way}"
            for plate in plates
            for way in ways
        )
        return draw("wells", f"Accuracy by plate. {said}.")


def _drawn(found: Wells) -> list[Plate]:
    """The plates whose matrices are drawn, all together first."""
    several = 1 < len(found.plates) < MOST_MATRICES
    return [found.together, *(found.plates if several else [])]


def _matrices(found: Wells, classes: Sequence[str]) -> Drawing:
    """Row-normalised confusion matrices: a row of them for each plate, a column for each way."""
    plates, ways = _drawn(found), list(found.together.ways)
    longest = max(map(len, classes)) * 0.075
    side = max(1.5, 0.42 * len(classes))
    width, height = (
        longest + 0.6 + side * 1.12 * len(ways),
        longest + 0.7 + side * 1.2 * len(plates),
    )
    with figure_of((width, height)) as (figure, draw):
        grid = figure.subplots(len(plates), len(ways), squeeze=False, sharex=True, sharey=True)
        for row, plate in enumerate(plates):
            for column, way in enumerate(ways):
                axes = grid[row, column]
                _matrix(axes, plate.ways[way])
                axes.set_title(f"{_name(plate)}\n{way}", fontsize=8)
                axes.set_yticks(range(len(classes)), classes)
                turn = {"rotation": 45, "ha": "right"} if len(classes) > 2 else {}
                axes.set_xticks(range(len(classes)), classes, **turn)
                if column == 0:
                    axes.set_ylabel("truly")
                if row == len(plates) - 1:
                    axes.set_xlabel("called")
        said = "; ".join(
            f"{_name(plate)}, {way}: {classes[r]} called {classes[c]} {share:.0f} %"
            for plate in plates
            for way in ways
            for (r, c), share in np.ndenumerate(100 * _shares(plate.ways[way]))
        )
        return draw("wells_confusion", f"Confusion matrices by plate. {said}.")


def _matrix(axes: Axes, counted: Counted) -> None:
    shares = _shares(counted)
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if counted.class_counts and sum(counted.counts[row]):
            axes.text(
                column, row, f"{100 * share:.0f}",
                ha="center", va="center", fontsize=7.5, color="white" if share > 0.6 else INK,
            )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _shares(counted: Counted) -> np.ndarray:
    counts = np.array(counted.counts, float)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _name(plate: Plate) -> str:
    return ALL if plate.name is None else f"plate {plate.name}"


def _of_100(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def _limits(estimate: Estimate, percent: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({percent}\u00a0% interval {100 * estimate.low:.0f}–{100 * estimate.high:.0f})"

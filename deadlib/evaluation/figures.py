"""Every figure of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from deadlib.evaluation.curves import GRID, Band
from deadlib.evaluation.measure import Level
from deadlib.evaluation.overfitting import over_fitting_begins
from deadlib.evaluation.parts import Part
from deadlib.metrics import CALIBRATION_BINS, METRICS
from deadlib.pages.drawing import COLOURS, GREY, INK, Drawing, colours, figure_of

SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#cfe3f1", "#5ba3d0", "#0b4f86"])
MOST_PARTS_DRAWN = 40
# up to so many classes a cell of the confusion matrix holds its interval and count, or its share
DETAILED, NUMBERED = 8, 25
# of more classes than colours, so many curves stand out and the others are grey
WORST_CURVES, OTHERS = 4, "#c9ced3"
# more classes than named colours
SPECTRUM = matplotlib.colormaps["turbo"]
LOSS = "Loss"


def confusion_matrix(name: str, level: Level, classes: Sequence[str], noun: str) -> Drawing:
    """Row shares: with interval and count for few classes, as a number for more, then as a shade.

    However many classes there are, names are printed large enough to read.
    """
    size = len(classes)
    side = _side_inches(size)
    longest = max(map(len, classes)) * 0.075
    with figure_of((side + 1.2 + longest, side + 0.8 + (longest if size > 3 else 0))) as (
        figure,
        draw,
    ):
        axes = figure.subplots()
        shares = np.array([[share.value or 0.0 for share in row] for row in level.shares])
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
        for row, column in np.ndindex(size, size):
            if size <= DETAILED:
                _cell(axes, level, row, column, size)
            elif shares[row, column] >= (0.005 if size <= NUMBERED else 0.095):
                _number(
                    axes, float(shares[row, column]), row, column, 8 if size <= NUMBERED else 5.5
                )
        turn = 0 if size < 4 else 30 if size <= DETAILED else 90
        axes.set_xticks(range(size), classes, rotation=turn, ha="right" if turn == 30 else "center")
        separator = "\n" if size <= DETAILED else "  "
        totals = [f"{label}{separator}(n = {level.class_counts[label]:,})" for label in classes]
        axes.set_yticks(range(size), totals)
        if size > NUMBERED:
            axes.tick_params(labelsize=6.5)
        axes.set(xlabel="called", ylabel="truly", title=f"Of 100 {noun} of each class")
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        if size <= DETAILED:
            axes.grid(which="minor", color="white", linewidth=2)
        else:
            # so that an eye can follow a row to its name
            axes.grid(which="minor", color="#e3e7ea", linewidth=0.5)
        axes.tick_params(which="both", length=0)
        cells = (
            f"{classes[r]} called {classes[c]}: {100 * shares[r, c]:.0f} %"
            for r, c in np.ndindex(size, size)
            if size <= DETAILED or shares[r, c] >= 0.005
        )
        return draw(name, "Confusion matrix. " + "; ".join(cells) + ".")


def _side_inches(classes: int) -> float:
    per_class = 1.05 if classes <= DETAILED else 0.36 if classes <= NUMBERED else 0.155
    return max(2.6, per_class * classes)


def _number(axes: Axes, share: float, row: int, column: int, size: float) -> None:
    colour = "white" if share > 0.6 else INK
    axes.text(
        column, row, f"{100 * share:.0f}",
        ha="center", va="center", color=colour, fontsize=size,
    )  # fmt: skip


def roc(level: Level) -> Drawing:
    with figure_of((4.2, 4.0)) as (figure, draw):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="guessing")
        curves = {label: found.true_positive_rate for label, found in level.curves.items()}
        for label, band, colour in _standing_out(curves):
            _band(axes, band, colour, label)
            # the curve begins at (0, 0): up to here without any false positive
            axes.plot([0, 0], [0, band.value[0]], color=colour or OTHERS)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
        _unit_square(axes)
        axes.legend(loc="lower right")
        area = _said(level, "roc_auc")
        return draw("roc", f"ROC curves of {', '.join(level.curves)}; {area}.")


def precision_recall(level: Level) -> Drawing:
    with figure_of((4.2, 4.0)) as (figure, draw):
        axes = figure.subplots()
        bands = {label: found.precision for label, found in level.curves.items()}
        for label, band, colour in _standing_out(bands):
            if len(bands) <= len(COLOURS):
                share = level.curves[label].share
                axes.axhline(share, color=colour, linewidth=1, linestyle=":")
            _band(axes, band, colour, label)
        if len(bands) <= len(COLOURS):
            axes.plot([], [], color=GREY, linewidth=1, linestyle=":", label="guessing")
        axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")
        _unit_square(axes)
        axes.legend(loc="lower left")
        area = _said(level, "average_precision")
        return draw(
            "precision_recall", f"Precision-recall curves of {', '.join(level.curves)}; {area}."
        )


def _standing_out(bands: Mapping[str, Band]) -> list[tuple[str, Band, str | None]]:
    """Each curve with its colour; of many classes only the lowest curves, drawn last, have one."""
    if len(bands) <= len(COLOURS):
        return [(label, band, COLOURS[k]) for k, (label, band) in enumerate(bands.items())]
    lowest = sorted(bands, key=lambda label: float(bands[label].value.mean()))[:WORST_CURVES]
    others = [(label, band, None) for label, band in bands.items() if label not in lowest]
    return [*others, *((label, bands[label], COLOURS[k]) for k, label in enumerate(lowest))]


def reliability(level: Level, classes: int) -> Drawing:
    """Accuracy over confidence with intervals, and how often each confidence occurs."""
    with figure_of((4.2, 4.3)) as (figure, draw):
        axes, below = figure.subplots(2, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="as sure as right")
        for found in level.bins:
            if found.accuracy.low is not None and found.accuracy.high is not None:
                limits = [found.accuracy.low, found.accuracy.high]
                axes.plot([found.confidence] * 2, limits, color=COLOURS[0], linewidth=1.2)
        confidence = [found.confidence for found in level.bins]
        right = [found.accuracy.value for found in level.bins]
        counts = [found.units for found in level.bins]
        axes.plot(confidence, right, "o", color=COLOURS[0], markersize=5, clip_on=False)
        axes.set(ylabel="share called right", ylim=(0, 1.02), title="Reliability")
        axes.legend(loc="lower right")
        lefts = [found.index / CALIBRATION_BINS for found in level.bins]
        width = 1 / CALIBRATION_BINS
        below.bar(lefts, counts, width, align="edge", color=COLOURS[0], edgecolor="white")
        below.set(xlabel="claimed confidence", ylabel="images", xlim=(0.95 / classes, 1.01))
        return draw("reliability", f"Reliability diagram; {_said(level, 'calibration_error')}.")


def probabilities(
    class_index: NDArray[np.intp], scores: NDArray[np.float64], classes: Sequence[str]
) -> Drawing:
    """Probability of the second of two classes by true class; else confidence, right and wrong."""
    binary = len(classes) == 2
    right = scores.argmax(axis=1) == class_index
    drawn = scores[:, 1] if binary else scores.max(axis=1)
    parts = (
        [(f"truly {name}", class_index == k, COLOURS[k]) for k, name in enumerate(classes)]
        if binary
        else [("called right", right, COLOURS[0]), ("called wrong", ~right, COLOURS[1])]
    )
    with figure_of((4.2, 4.0)) as (figure, draw):
        axes = figure.subplots()
        edges = np.linspace(0 if binary else 1 / len(classes), 1, 31).tolist()
        for label, member, colour in parts:
            axes.hist(drawn[member], edges, color=colour, alpha=0.25)
            axes.hist(drawn[member], edges, color=colour, histtype="step", label=label)
        axes.set_yscale("symlog", linthresh=10)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        subject = f"probability of {classes[1]}" if binary else "claimed confidence"
        axes.set(xlabel=subject, ylabel="images", title="What the model claims")
        axes.legend(loc="upper center" if binary else "upper left")
        groups = " and ".join(label for label, _, _ in parts)
        return draw("probabilities", f"Histogram of the {subject}, apart for images {groups}.")


def by_column(name: str, column: str, parts: Sequence[Part], metric: str) -> Drawing:
    """One metric with interval for each value of a column."""
    shown = list(parts[:MOST_PARTS_DRAWN])
    with figure_of((5.2, 0.9 + 0.24 * len(shown))) as (figure, draw):
        axes = figure.subplots()
        for place, part in enumerate(shown):
            found = part.metrics[metric]
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place, place], color=COLOURS[0], linewidth=1.4)
            if found.value is not None:
                axes.plot(found.value, place, "o", color=COLOURS[0], markersize=5)
        labels = [f"{part.value}  (n = {part.units:,})" for part in shown]
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        title = METRICS[metric].title
        axes.set(xlabel=title, title=f"By {column}", xlim=(_floor(shown, metric), 1.01))
        return draw(name, f"{title} of each {column}, with intervals.")


def classes_by_value(
    name: str,
    column: str,
    values: Sequence[str],
    counts: Sequence[Sequence[int]],
    classes: Sequence[str],
) -> Drawing:
    """What share of each value of a column is of each class, with the number of examples."""
    values, shown = values[:MOST_PARTS_DRAWN], np.array(counts[:MOST_PARTS_DRAWN], float)
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    few = len(classes) <= len(COLOURS)
    shades = COLOURS if few else [SPECTRUM(k / (len(classes) - 1)) for k in range(len(classes))]
    # a colour that stands for one of sixty classes tells nothing: no names then
    columns = 4 if few else 3
    lines = math.ceil(len(classes) / columns) if len(classes) <= NUMBERED else 0
    with figure_of((5.2, 1.0 + 0.26 * len(shown) + 0.2 * lines)) as (figure, draw):
        axes = figure.subplots()
        left = np.zeros(len(shown))
        for k, label in enumerate(classes):
            axes.barh(
                range(len(shown)), 100 * shares[:, k], left=left, height=0.72, color=shades[k],
                edgecolor="white", linewidth=0.6, label=label,
            )  # fmt: skip
            left += 100 * shares[:, k]
        totals = [
            f"{value}  (n = {int(row.sum()):,})" for value, row in zip(values, shown, strict=True)
        ]
        axes.set_yticks(range(len(shown)), totals)
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="percent of the images", title=f"Classes in each {column}", xlim=(0, 100))
        if lines:
            figure.legend(loc="outside lower center", ncols=min(len(classes), columns))
        parts = (
            f"{value}: "
            + ", ".join(f"{int(n)} {c}" for n, c in zip(row, classes, strict=True) if n)
            for value, row in zip(values, shown, strict=True)
        )
        return draw(name, f"Classes in each {column}. " + "; ".join(parts) + ".")


def learning_curves(history: Sequence[dict[str, Any]], kept_epoch: float | None) -> Drawing:
    """Loss, accuracy and the validation metrics over epochs, as far as the history has them; on the
    loss, from when on the network over-fits."""
    panels = _panels(history)
    begins = over_fitting_epoch(history)
    with figure_of((3.5 * len(panels), 3.1)) as (figure, draw):
        for axes, (title, lines) in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
        ):
            for colour, (label, values) in zip(colours(), lines.items(), strict=False):
                marker = "o" if len(history) < 3 else ""
                axes.plot(_epochs(history), values, color=colour, label=label, marker=marker)
            if kept_epoch is not None:
                axes.axvline(kept_epoch, color=GREY, linewidth=1, linestyle=":", label="epoch kept")
            if begins is not None and title == LOSS:
                end = _epochs(history)[-1]
                axes.axvspan(begins, end, color=COLOURS[4], alpha=0.15, linewidth=0)
                axes.axvline(begins, color=COLOURS[4], linewidth=1.4, label="over-fitting begins")
            axes.set(xlabel="epoch", title=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        length = history[-1].get("epoch", len(history))
        kept = f" Epoch {kept_epoch:.6g} was kept." if kept_epoch is not None else ""
        turned = f" Over-fitting begins at epoch {begins:.6g}." if begins is not None else ""
        words = f"{', '.join(panels)} over {length:.6g} epochs.{kept}{turned}"
        return draw("learning_curves", words)


def over_fitting_epoch(history: Sequence[dict[str, Any]]) -> float | None:
    """The epoch from which on the network over-fits; None where it does not, or nothing tells."""
    losses = _panels(history).get(LOSS, {})
    if losses.keys() < {"training", "validation"}:
        return None
    return over_fitting_begins(losses["training"], losses["validation"], _epochs(history))


def _epochs(history: Sequence[dict[str, Any]]) -> list[float]:
    return [row.get("epoch", place + 1) for place, row in enumerate(history)]


def _panels(history: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    wanted: dict[str, dict[str, tuple[str, ...]]] = {
        LOSS: {
            "training": ("train_loss", "loss"),
            "validation": ("validation_example_loss", "validation_loss", "val_loss"),
        },
        "Accuracy": {
            "training": ("train_accuracy", "accuracy"),
            "validation": ("validation_example_accuracy", "validation_accuracy", "val_accuracy"),
        },
        "Validation, over groups": {
            METRICS[name].title: (f"validation_{name}",)
            for name in ("balanced_accuracy", "macro_f1", "roc_auc")
        },
    }
    found: dict[str, dict[str, list[float]]] = {}
    for title, lines in wanted.items():
        for label, keys in lines.items():
            values = next((v for key in keys if (v := _column(history, key))), None)
            if values:
                found.setdefault(title, {})[label] = values
    return found


def _column(history: Sequence[dict[str, Any]], key: str) -> list[float] | None:
    values = [row.get(key) for row in history]
    if not any(isinstance(value, int | float) for value in values):
        return None
    return [math.nan if value is None else float(value) for value in values]


def has_learning_curves(history: Sequence[dict[str, Any]]) -> bool:
    return bool(_panels(history))


def _cell(axes: Axes, level: Level, row: int, column: int, size: int) -> None:
    share, count = level.shares[row][column], level.counts[row][column]
    if share.value is None:
        axes.text(column, row, "–", ha="center", va="center", color=GREY)
        return
    colour = "white" if share.value > 0.6 else INK
    small = 7.5 if size < 6 else 6
    axes.text(
        column, row - 0.14, f"{100 * share.value:.1f}",
        ha="center", va="center", color=colour, fontsize=small + 4.5, fontweight="bold",
    )  # fmt: skip
    interval = (
        f"{100 * share.low:.1f} – {100 * share.high:.1f}\n"
        if share.low is not None and share.high is not None
        else ""
    )
    axes.text(
        column, row + 0.21, f"{interval}{count:,}",
        ha="center", va="center", color=colour, fontsize=small, linespacing=1.35,
    )  # fmt: skip


def _band(axes: Axes, band: Band, colour: str | None, label: str) -> None:
    if colour is None:
        axes.plot(GRID, band.value, color=OTHERS, linewidth=0.8, clip_on=False)
        return
    axes.fill_between(GRID, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(GRID, band.value, color=colour, label=label, clip_on=False)


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")


def _said(level: Level, metric: str) -> str:
    found = level.metrics[metric]
    if found.value is None:
        return f"{METRICS[metric].title} undefined"
    return f"{METRICS[metric].title} {found.value:.3f}"


def _floor(parts: Sequence[Part], metric: str) -> float:
    """A left edge that shows every interval: 0.5 unless something lies lower."""
    found = [part.metrics[metric] for part in parts]
    seen = [v for estimate in found for v in (estimate.low, estimate.value) if v is not None]
    return 0.49 if min(seen, default=1.0) >= 0.5 else -0.01

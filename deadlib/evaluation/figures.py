"""Every figure of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from deadlib.evaluation.curves import GRID, Band
from deadlib.evaluation.measure import Level
from deadlib.evaluation.parts import Part
from deadlib.metrics import CALIBRATION_BINS, METRICS
from deadlib.pages.drawing import COLOURS, GREY, INK, Drawing, colours, figure_of

SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#cfe3f1", "#5ba3d0", "#0b4f86"])
MOST_PARTS_DRAWN = 40


def confusion_matrix(name: str, level: Level, classes: Sequence[str], noun: str) -> Drawing:
    """Row shares with interval and count in every cell."""
    size = len(classes)
    side = max(3.2, 1.05 * size + 1.4)
    with figure_of((side + 0.7, side)) as (figure, draw):
        axes = figure.subplots()
        shares = np.array([[share.value or 0.0 for share in row] for row in level.shares])
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
        for row, column in np.ndindex(size, size):
            _cell(axes, level, row, column, size)
        axes.set_xticks(range(size), classes, rotation=0 if size < 4 else 30)
        totals = [f"{label}\n(n = {level.class_counts[label]:,})" for label in classes]
        axes.set_yticks(range(size), totals)
        axes.set(xlabel="called", ylabel="truly", title=f"Of 100 {noun} of each class")
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="both", length=0)
        cells = (
            f"{classes[r]} called {classes[c]}: {100 * shares[r, c]:.0f} %"
            for r, c in np.ndindex(size, size)
        )
        return draw(name, "Confusion matrix. " + "; ".join(cells) + ".")


def roc(level: Level) -> Drawing:
    with figure_of((4.2, 4.0)) as (figure, draw):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="guessing")
        for colour, (label, curves) in zip(colours(), level.curves.items(), strict=False):
            _band(axes, curves.true_positive_rate, colour, label)
            # the curve begins at (0, 0): up to here without any false positive
            axes.plot([0, 0], [0, curves.true_positive_rate.value[0]], color=colour)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
        _unit_square(axes)
        axes.legend(loc="lower right")
        area = _said(level, "roc_auc")
        return draw("roc", f"ROC curves of {', '.join(level.curves)}; {area}.")


def precision_recall(level: Level) -> Drawing:
    with figure_of((4.2, 4.0)) as (figure, draw):
        axes = figure.subplots()
        for colour, (label, curves) in zip(colours(), level.curves.items(), strict=False):
            axes.axhline(curves.share, color=colour, linewidth=1, linestyle=":")
            _band(axes, curves.precision, colour, label)
        axes.plot([], [], color=GREY, linewidth=1, linestyle=":", label="guessing")
        axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")
        _unit_square(axes)
        axes.legend(loc="lower left")
        area = _said(level, "average_precision")
        return draw(
            "precision_recall", f"Precision-recall curves of {', '.join(level.curves)}; {area}."
        )


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


def learning_curves(history: Sequence[dict[str, Any]], kept_epoch: float | None) -> Drawing:
    """Loss, accuracy and the validation metrics over epochs, as far as the history has them."""
    panels = _panels(history)
    with figure_of((3.5 * len(panels), 3.1)) as (figure, draw):
        for axes, (title, lines) in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
        ):
            for colour, (label, values) in zip(colours(), lines.items(), strict=False):
                epochs = [row.get("epoch", place + 1) for place, row in enumerate(history)]
                marker = "o" if len(history) < 3 else ""
                axes.plot(epochs, values, color=colour, label=label, marker=marker)
            if kept_epoch is not None:
                axes.axvline(kept_epoch, color=GREY, linewidth=1, linestyle=":", label="epoch kept")
            axes.set(xlabel="epoch", title=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        length = history[-1].get("epoch", len(history))
        kept = f" Epoch {kept_epoch:.6g} was kept." if kept_epoch is not None else ""
        return draw("learning_curves", f"{', '.join(panels)} over {length:.6g} epochs.{kept}")


def _panels(history: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    wanted: dict[str, dict[str, tuple[str, ...]]] = {
        "Loss": {
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


def _band(axes: Axes, band: Band, colour: str, label: str) -> None:
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

"""The figures in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from deadlib.evaluation.bootstrap import Estimate, Resampling
from deadlib.evaluation.measure import Level
from deadlib.evaluation.table import Predictions

MOST_CLASSES = 6
NOTICEABLE_GAP = 0.02


def summary(
    predictions: Predictions, examples: Level, groups: Level | None, resampling: Resampling
) -> list[str]:
    """What a reader needs to know, the most important first."""
    sentences = [
        f"Of 100 {_images(predictions)} {_hundred(examples.metrics['accuracy'])} are called right"
        f" ({_interval(examples.metrics['accuracy'], resampling)}{_over(predictions, examples)}).",
        _guessing(examples, predictions.classes),
    ]
    if groups is not None and groups.units == groups.groups:
        found = groups.metrics["accuracy"]
        right = round(groups.units * (found.value or 0))
        sentences.append(
            f"With the images of each {_unit(predictions)} averaged, {_hundred(found)} of 100 are "
            f"called right ({right:,} of these {groups.units:,}; {_interval(found, resampling)})."
        )
    auc = examples.metrics["roc_auc"]
    if auc.value is not None and len(predictions.classes) == 2:
        negative, positive = predictions.classes
        sentences.append(
            f"Shown one image of each, {positive} and {negative}, it finds out which is which "
            f"{_hundred(auc)} times in 100 ({_interval(auc, resampling)})."
        )
    sentences += _by_class(examples, predictions.classes)
    sentences.append(_honesty(predictions, examples))
    return sentences


def number(estimate: Estimate) -> str:
    """0.882, or a dash."""
    return "–" if estimate.value is None else f"{estimate.value:.3f}"


def limits(estimate: Estimate) -> str:
    """0.873 – 0.890, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f} – {estimate.high:.3f}"


def _images(predictions: Predictions) -> str:
    if predictions.split == "test" and not predictions.metadata.get("seen_in_training"):
        return "unseen images"
    return f"images of split {predictions.split}" if predictions.split else "images"


def _unit(predictions: Predictions) -> str:
    return predictions.group_column or "row"


def _over(predictions: Predictions, level: Level) -> str:
    if predictions.group_column is None:
        return ", every row taken as independent"
    named = "" if predictions.group_column == "group" else f" ({predictions.group_column})"
    return f", over {level.groups} independent groups{named}"


def _hundred(estimate: Estimate) -> str:
    """A share as a count of 100; never 100 or 0 unless all or none."""
    value = 100 * (estimate.value or 0.0)
    digits = 1 if 0 < value < 1 or 99 < value < 100 else 0
    return f"{value:.{digits}f}"


def _interval(estimate: Estimate, resampling: Resampling) -> str:
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    narrow = estimate.high - estimate.low < 0.03
    low, high = (f"{100 * limit:.{int(narrow)}f}" for limit in (estimate.low, estimate.high))
    return f"{100 * resampling.level:g}\u00a0% interval {low}–{high}"


def _guessing(level: Level, classes: Sequence[str]) -> str:
    commonest = max(classes, key=lambda name: level.class_counts[name])
    share = 100 * level.class_counts[commonest] / level.units
    text = f"Always answering {commonest}, the commonest class, would get {share:.0f} right."
    balanced = level.metrics["balanced_accuracy"]
    if balanced.low is not None and balanced.low <= 1 / len(classes):
        text += " The balanced accuracy cannot be told from guessing."
    return text


def _by_class(level: Level, classes: Sequence[str]) -> list[str]:
    if len(classes) > MOST_CLASSES:
        return []
    found = []
    for name in classes:
        recall, precision = level.per_class[name]["recall"], level.per_class[name]["precision"]
        if recall.value is not None and precision.value is not None:
            found.append(
                f"Of 100 images of {name} {_hundred(recall)} are found; of 100 called {name} "
                f"{_hundred(precision)} are."
            )
    return found


def _honesty(predictions: Predictions, level: Level) -> str:
    says = float(predictions.probabilities.max(axis=1).mean())
    right = level.metrics["accuracy"].value or 0.0
    gap = says - right
    verdict = (
        "its probabilities are about as good as its answers"
        if abs(gap) < NOTICEABLE_GAP
        else f"it is {'over' if gap > 0 else 'under'}confident"
    )
    claimed, found = f"{100 * says:.0f}\u00a0%", f"{100 * right:.0f}\u00a0%"
    return f"On average it claims {claimed} certainty and is right {found} of the time: {verdict}."

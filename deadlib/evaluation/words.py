"""The figures in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from deadlib.annotation import Concordance
from deadlib.annotation import words as annotation
from deadlib.bootstrap import Estimate, Resampling
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.measure import Level
from deadlib.evaluation.table import FEWEST_GROUPS, Predictions
from deadlib.evaluation.virtual import VirtualBatches
from deadlib.pages import Remark
from tfrecords_tools.split import LEVELS

MOST_CLASSES = 6
NOTICEABLE_GAP = 0.02


def verdict(evaluation: Evaluation, remarks: Sequence[Remark]) -> dict[str, str]:
    """How good, how sure, and whether to trust it: one sentence each."""
    return {
        "How good?": _how_good(evaluation),
        "How sure?": _how_sure(evaluation),
        "Can it be trusted?": _how_trustworthy(remarks),
    }


def _how_good(evaluation: Evaluation) -> str:
    table, examples = evaluation.predictions, evaluation.by_example
    commonest = max(table.classes, key=lambda name: examples.class_counts[name])
    share = 100 * examples.class_counts[commonest] / examples.units
    return (
        f"Of 100 {_images(table)} {_hundred(examples.metrics['accuracy'])} are called right; "
        f"always answering {commonest}, the commonest class, would get {share:.0f} right."
    )


def _how_sure(evaluation: Evaluation) -> str:
    table, examples = evaluation.predictions, evaluation.by_example
    found, units = examples.metrics["accuracy"], f"{examples.groups:,} {_many(table)}"
    if found.low is None or found.high is None:
        return f"That cannot be said: there is no interval ({found.reason})."
    level = f"{100 * evaluation.resampling.level:g}\u00a0%"
    told = (
        f"Judged by these {units}, the true figure for others like them likely lies between "
        f"{' and '.join(_limits(found))} ({level} interval)"
    )
    if examples.groups < FEWEST_GROUPS:
        return f"{told}, and {examples.groups} are few: the interval is wide for it."
    balanced = examples.metrics["balanced_accuracy"]
    if balanced.low is not None and balanced.low <= 1 / len(table.classes):
        return f"{told}, but it cannot be told from guessing once every class counts the same."
    return f"{told}."


def _how_trustworthy(remarks: Sequence[Remark]) -> str:
    alarms = [remark for remark in remarks if remark.level == "alarm"]
    warnings = [remark for remark in remarks if remark.level == "warning"]
    if alarms:
        return (
            f"No: {_count(len(alarms), 'thing speaks', 'things speak')} against it, in the red "
            f"{'box' if len(alarms) == 1 else 'boxes'}, and until that is cleared up the figures "
            "are worth nothing."
        )
    if warnings:
        return (
            "With care: nothing was found that takes the meaning from the figures, but "
            f"{_count(len(warnings), 'thing has', 'things have')} to be kept in mind, in the "
            "yellow boxes."
        )
    return (
        "Nothing that was checked speaks against it; what was checked, and what nobody can check "
        "from a table, stands in the report."
    )


def details(evaluation: Evaluation) -> list[str]:
    """What else a reader wants to know, the most important first."""
    table, examples, groups = evaluation.predictions, evaluation.by_example, evaluation.by_group
    resampling, sentences = evaluation.resampling, []
    if groups is not None and groups.units == groups.groups:
        found = groups.metrics["accuracy"]
        right = round(groups.units * (found.value or 0))
        sentences.append(
            f"With the images of each {_unit(table)} averaged, {_hundred(found)} of 100 are "
            f"called right ({right:,} of these {groups.units:,}; {_interval(found, resampling)})."
        )
    auc = examples.metrics.get("roc_auc")
    if auc is not None and auc.value is not None and len(table.classes) == 2:
        negative, positive = table.classes
        sentences.append(
            f"Shown one image of each, {positive} and {negative}, it finds out which is which "
            f"{_hundred(auc)} times in 100 ({_interval(auc, resampling)})."
        )
    sentences += _by_class(examples, table.classes)
    if not table.calls_only:
        sentences.append(_honesty(table, examples))
    return sentences


def on_virtual_batches(
    predictions: Predictions,
    examples: Level,
    virtual: VirtualBatches | None,
    resampling: Resampling,
) -> list[str]:
    """Why the two intervals of a balanced accuracy differ, and which one to quote."""
    if virtual is None:
        return []
    drawn, images, unit = virtual.classifications, virtual.images, _sample(predictions)
    often = (
        f"The {drawn:,} classifications come from {images:,} different images, each drawn "
        f"{drawn / images:.1f} times on average"
    )
    honest = examples.metrics["balanced_accuracy"]
    if predictions.group_column is None:
        return [
            f"{often}. The first interval counts every draw as new evidence, so it is too narrow. "
            "The second takes every image once, but the table does not say which images come from "
            "one position, so it takes each as independent and may be too narrow as well: name "
            "the column that tells positions apart with --group-by.",
        ]
    sentences = [
        f"{often}, and the images of one {unit} are alike (the same cells, the same light): "
        "if one is called right, its neighbours likely are too. The first interval knows nothing "
        f"of that and counts {drawn:,} independent answers. More batches make it as narrow as one "
        "likes, without a single new image.",
    ]
    if honest.low is None:
        return [*sentences, f"There is no interval over groups ({honest.reason}): quote neither."]
    ratio = _width(honest) / _width(virtual.accuracy)
    width = f"; it is {ratio:.1f} times as wide" if ratio > 1 else ""
    sentences.append(
        f"The second draws whole groups ({examples.groups}, by {unit}) and says how much the "
        f"accuracy would change with others{width}. Quote the second. The first is for comparison "
        "with figures that were made the same way, such as those of the DeadNet paper."
    )
    return sentences


def on_ceiling(examples: Level, annotators: Concordance | None) -> list[str]:
    """How the accuracy compares with what the annotators' disagreement allows."""
    if annotators is None:
        return []
    accuracy = examples.metrics["accuracy"]
    ceiling, expected = annotators.implied["ceiling"], annotators.implied["expected_ceiling"]
    if accuracy.value is None or ceiling.value is None or expected.value is None:
        return annotation.summary(annotators)
    if _lowest(accuracy) > _highest(expected):
        verdict = (
            "That is more than such labels should allow, so they are better than the assumptions "
            "below say, or were made otherwise."
        )
    elif _highest(accuracy) >= _lowest(expected):
        verdict = (
            "The intervals of the model and of the expected ceiling overlap: on these labels it "
            "cannot be told from a perfect one."
        )
    elif _highest(accuracy) >= _lowest(ceiling):
        verdict = (
            "The intervals of the model and of the ceiling overlap, but a perfect model is "
            "expected to do better: there is room left."
        )
    else:
        verdict = "The labels allow more than the model reaches."
    return [
        f"The model is right on {annotation.percent(accuracy)}; the ceiling, computed as "
        f"published, is {annotation.percent(ceiling)}, the expected one "
        f"{annotation.percent(expected)}. {verdict}",
        *annotation.summary(annotators),
        "All this holds if the labels here were made from these responses, without the items that "
        "were Unsure or answered differently.",
        *annotation.assumptions(annotators),
    ]


def _lowest(estimate: Estimate) -> float:
    return (estimate.value if estimate.low is None else estimate.low) or 0.0


def _highest(estimate: Estimate) -> float:
    return (estimate.value if estimate.high is None else estimate.high) or 0.0


def _images(predictions: Predictions) -> str:
    if predictions.split == "test" and not predictions.metadata.get("seen_in_training"):
        return "unseen images"
    return f"images of split {predictions.split}" if predictions.split else "images"


def _unit(predictions: Predictions) -> str:
    return predictions.group_column or "row"


def _sample(predictions: Predictions) -> str:
    """What a group is, as far as the table tells: position, well, or the name of its column."""
    by = (predictions.metadata.get("split") or {}).get("by")
    if not by or predictions.group_column != "group":
        return _unit(predictions)
    nested = set(by) <= set(LEVELS)
    return max(by, key=LEVELS.index) if nested else " and ".join(by)


def _many(predictions: Predictions) -> str:
    if predictions.group_column is None:
        return "images, each taken as independent,"
    named = "" if predictions.group_column == "group" else f" ({predictions.group_column})"
    return f"independent groups{named}"


def _count(number: int, one: str, many: str) -> str:
    return f"{'one' if number == 1 else number} {one if number == 1 else many}"


def _hundred(estimate: Estimate) -> str:
    """A share as a count of 100; never 100 or 0 unless all or none."""
    value = 100 * (estimate.value or 0.0)
    digits = 1 if 0 < value < 1 or 99 < value < 100 else 0
    return f"{value:.{digits}f}"


def _interval(estimate: Estimate, resampling: Resampling) -> str:
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    return f"{100 * resampling.level:g}\u00a0% interval {'–'.join(_limits(estimate))}"


def _limits(estimate: Estimate) -> tuple[str, str]:
    """As counts of 100."""
    low, high = estimate.low or 0.0, estimate.high or 0.0
    digits = int(high - low < 0.03)
    return f"{100 * low:.{digits}f}", f"{100 * high:.{digits}f}"


def _width(estimate: Estimate) -> float:
    if estimate.low is None or estimate.high is None:
        return 0.0
    return estimate.high - estimate.low


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

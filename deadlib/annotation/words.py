"""The figures on annotators in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deadlib.annotation.adjudication import Standing
from deadlib.annotation.concordance import Concordance
from deadlib.annotation.confusion import Confusion, mixed_up
from deadlib.annotation.pace import FEWEST_IN_STRETCH, Drift
from deadlib.bootstrap import Estimate, limits, number
from tfrecords_tools.annotations import UNSURE

FEWEST_UNITS = 10
UNIT_NAMES = {"source_id": "image"}
# Landis & Koch 1977, table 2: what a kappa above each of these is called
STRENGTHS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"))


def percent(estimate: Estimate) -> str:
    """18.6 %, or a dash."""
    return "–" if estimate.value is None else f"{100 * estimate.value:.1f}\u00a0%"


def percent_interval(estimate: Estimate) -> str:
    """14.1 – 23.9 %, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:.1f} – {100 * estimate.high:.1f}\u00a0%"


@dataclass(frozen=True)
class Tile:
    """A figure for the top of a page."""

    name: str
    value: str
    note: str


def lead(found: Concordance) -> str:
    """What the figures are of."""
    people = len(found.annotators)
    doubted = any(bar.counts[UNSURE] for bar in found.by_annotator)
    given = found.answers if doubted else found.classes
    return (
        f"{found.responses:,} responses of {people} annotator{'' if people == 1 else 's'} to "
        f"{found.items:,} item{'' if found.items == 1 else 's'}, answers {', '.join(given)}"
    )


def tiles(found: Concordance) -> list[Tile]:
    """How many, how far they agree, what that allows; nothing where nobody can be compared."""
    if not found.overlapping:
        return []
    same, alpha = found.together.agreement, found.together.krippendorff
    ceiling = found.implied["expected_ceiling"]
    return [
        Tile(
            "items answered by several",
            f"{found.overlapping:,}",
            f"{found.disagreements:,} of them differently",
        ),
        Tile("answers that agree", percent(same), _limits(found, same)),
        Tile("beyond chance (alpha)", number(alpha), _limits_of(found, alpha)),
        Tile("expected ceiling for a model", percent(ceiling), _limits(found, ceiling)),
    ]


def summary(found: Concordance) -> list[str]:
    """What a reader needs to know, step by step from counts to the ceiling."""
    if not found.overlapping:
        return [
            "No item was answered by two annotators without Unsure, so nothing shows how far they "
            "agree: give some items to several annotators."
        ]
    implied = found.implied
    sentences = [_counted(found)]
    if found.most_annotators > 2:
        sentences.append(
            f"Of two annotators of such an item, {percent(found.disagreement)} answer differently "
            f"({_limits(found, found.disagreement)}); every item counts the same, however many "
            "answered it."
        )
    sentences += [
        "Suppose that on a clear item all give the same answer, and on an ambiguous one each "
        f"answers at random. {_doubled(found)} {percent(implied['ambiguous'])} of all items are "
        f"ambiguous ({_limits(found, implied['ambiguous'])}).",
        "Dropping the items with different answers leaves the ambiguous ones that agree by chance: "
        f"{percent(implied['left'])} of the rest ({_limits(found, implied['left'])}).",
        "A model on such labels, counted as wrong on each of those, can reach "
        f"{percent(implied['ceiling'])} ({_limits(found, implied['ceiling'])}). "
        "DeadNet's upper limit was computed so.",
        "It is too low as an expectation: on an ambiguous item a model agrees with the label as "
        "often as chance does. Counting that, a perfect model is expected to reach "
        f"{percent(implied['expected_ceiling'])} ({_limits(found, implied['expected_ceiling'])}).",
    ]
    return sentences


def assumptions(found: Concordance) -> list[str]:
    """When the ceiling is not to be believed."""
    sentences = [
        "The ceiling rests on three assumptions. Nobody errs on a clear item: real slips raise "
        "the disagreement and lower the ceiling. Ambiguous items are a pure toss-up: where one "
        "answer is likelier, fewer disagreements stand for as many ambiguous items, and the true "
        "ceiling lies elsewhere. And the labels come from several annotators.",
    ]
    if found.kept_alone:
        alone = found.implied_alone
        sentences.append(
            f"The last does not hold here for {found.kept_alone:,} of the {found.kept:,} items "
            "that pass the filter: one annotator alone answered them, so nothing could drop them, "
            f"and {percent(alone['ambiguous'])} of them are ambiguous. On these the ceiling is "
            f"{percent(alone['ceiling'])}, the expected one "
            f"{percent(alone['expected_ceiling'])}."
        )
    if found.overlapping and found.unit == "item":
        sentences.append(
            "The log does not tell positions or groups, so every item counts as independent, and "
            "where several come from one position the intervals are too narrow."
        )
    return sentences


def warnings(found: Concordance) -> list[str]:
    """What a reader should see before anything else."""
    unit = unit_name(found.unit)
    if not found.overlapping:
        return summary(found)
    if found.units == 1 and found.unit != "item":
        return [
            f"All items that several answered are of one {unit}: nothing shows how much the "
            f"figures would change with another. Annotate items of more {unit}s."
        ]
    if found.unit != "item" and found.units < FEWEST_UNITS:
        return [
            f"Only {found.units} independent {unit}s: the intervals rest on few draws and are "
            f"wide for it. More {unit}s help; more items of the same {unit}s do not."
        ]
    if found.unit == "item" and found.overlapping < FEWEST_UNITS:
        return [
            f"Only {found.overlapping} items were answered by several: the figures on agreement "
            "rest on next to nothing. Let more items be answered by two."
        ]
    return []


def unit_name(unit: str) -> str:
    """position, group, image, well or item."""
    return UNIT_NAMES.get(unit, unit)


def strength(found: Concordance) -> str:
    """How strong the agreement beyond chance is, by the usual words (Landis & Koch 1977)."""
    alpha = found.together.krippendorff
    if alpha.value is None:
        return f"Agreement beyond chance cannot be told: {alpha.reason}."
    called = next((name for above, name in STRENGTHS if alpha.value > above), "slight or none")
    return (
        f"Beyond what chance makes, their agreement is {alpha.value:.2f} on a scale where 1 is "
        f"perfect and 0 is guessing (Krippendorff's alpha, {_limits_of(found, alpha)}), which is "
        f"usually called {called}."
    )


def on_confusion(pairs: Sequence[Confusion]) -> str:
    """Which classes are taken for each other most. pairs: every two annotators."""
    most = mixed_up(pairs)
    if most is None:
        return "No two annotators named different classes for the same item."
    first, second, share = most
    return (
        f"{first} and {second} are mixed up most: of 100 items to which two annotators gave no "
        f"other answer than these, they disagreed on {100 * share:.0f}."
    )


def on_disputes(found: Standing) -> list[str]:
    """What is left to decide."""
    if not found.disputed:
        return ["No item is disputed: on each all answers are the same class."]
    share = 100 * found.disputed / found.items
    left = f"{found.open:,} wait for an adjudicator" if found.open else "all are adjudicated"
    return [
        f"{found.disputed:,} of {found.items:,} items ({share:.0f}\u00a0%) are disputed: "
        f"{found.disagreements:,} were given different classes, on {found.unsure:,} more somebody "
        f"was unsure; {left}.",
        "Without adjudication the concordance filter drops the disputed items, as published: what "
        "is left is easier than what was served.",
    ]


def on_drift(found: Sequence[Drift] | None) -> list[str]:
    """Whether annotators changed on the way, or why nothing can be said of it."""
    if found is None:
        return [
            "Items did not come in random order here, or labels were shown between them, so a "
            "trend says nothing of how steady the annotators are."
        ]
    if not found:
        return [
            f"Too few answers to tell: it takes {2 * FEWEST_IN_STRETCH} of one annotator, two "
            f"stretches of {FEWEST_IN_STRETCH}."
        ]
    proved = [drifted(one) for one in found if one.proved]
    how = (
        "Items come in random order, so answers should not depend on how far an annotator is. p "
        "says how often the same answers in any other order differ as much between the stretches, "
        "corrected for the number of annotators (Holm 1979)."
    )
    return [*(proved or ["No annotator's answers change by more than chance explains."]), how]


def drifted(found: Drift) -> str:
    """What changed most between the first stretch and the last."""
    first, last = found.stretches[0], found.stretches[-1]
    shares = [
        {name: count / sum(one.counts.values()) for name, count in one.counts.items()}
        for one in (first, last)
    ]
    most = max(shares[0], key=lambda name: abs(shares[1][name] - shares[0][name]))
    return (
        f"The answers of {found.annotator} changed on the way: {most} was "
        f"{100 * shares[0][most]:.0f}\u00a0% of the first {first.last:,} answers and "
        f"{100 * shares[1][most]:.0f}\u00a0% of the last {last.last - last.first + 1:,}."
    )


def _counted(found: Concordance) -> str:
    who = "two annotators" if found.most_annotators == 2 else "two annotators or more"
    text = (
        f"{found.overlapping:,} items were answered by {who}, none of them with Unsure; on "
        f"{found.disagreements:,} of them"
    )
    if found.most_annotators > 2:
        return f"{text} not all answers are the same."
    rate = found.disagreement
    return f"{text} the answers differ: {percent(rate)} ({_limits(found, rate)})."


def _doubled(found: Concordance) -> str:
    classes = max(2, len(found.classes))
    if classes == 2:
        return "Two random answers agree half the time, so the share of differing ones doubles:"
    return (
        f"Two random answers of {classes} classes agree one time in {classes}, so the share of "
        f"differing ones grows by {classes}/{classes - 1}:"
    )


def _limits_of(found: Concordance, estimate: Estimate) -> str:
    """Limits of what is no share."""
    level = f"{100 * found.resampling.level:g}\u00a0% interval"
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    return f"{level} {limits(estimate)}"


def _limits(found: Concordance, estimate: Estimate) -> str:
    level = f"{100 * found.resampling.level:g}\u00a0% interval"
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    return f"{level} {percent_interval(estimate)}"

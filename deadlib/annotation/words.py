"""The figures on annotators in plain words."""

from __future__ import annotations

from deadlib.annotation.concordance import Concordance
from deadlib.bootstrap import Estimate

FEWEST_UNITS = 10


def percent(estimate: Estimate) -> str:
    """18.6 %, or a dash."""
    return "–" if estimate.value is None else f"{100 * estimate.value:.1f}\u00a0%"


def percent_interval(estimate: Estimate) -> str:
    """14.1 – 23.9 %, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:.1f} – {100 * estimate.high:.1f}\u00a0%"


def summary(found: Concordance) -> list[str]:
    """What a reader needs to know, step by step from counts to the ceiling."""
    if not found.overlapping:
        return [
            "No item was answered by two annotators without Unsure, so nothing shows how far they "
            "agree: let each fifth item be one that another has answered before."
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
            "The log does not tell positions, so every item counts as independent, and where "
            "several come from one position the intervals are too narrow."
        )
    return sentences


def warnings(found: Concordance) -> list[str]:
    """What a reader should see before anything else."""
    if found.overlapping and found.unit == "position" and found.units < FEWEST_UNITS:
        return [
            f"Only {found.units} independent positions: the intervals rest on few draws and are "
            "wide for it. More positions help; more items of the same positions do not."
        ]
    return []


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


def _limits(found: Concordance, estimate: Estimate) -> str:
    level = f"{100 * found.resampling.level:g}\u00a0% interval"
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    return f"{level} {percent_interval(estimate)}"

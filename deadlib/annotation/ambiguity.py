"""From how often annotators disagree to how good a model on their labels can be.

The model behind it is DeadNet's: an item is clear, and everybody answers the same, or ambiguous,
and everybody answers at random. Two random answers of K classes differ with probability 1 - 1/K, so
the ambiguous share is the share of disagreement times K / (K - 1): twice with two classes. Dropping
the items with different answers leaves the ambiguous ones that agree by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from deadlib.bootstrap import Estimate


@dataclass(frozen=True)
class Implied:
    """What a share of disagreement implies, each in 0..1.

    ambiguous: of all items; left: of the items on which all agree; ceiling: the largest accuracy
    where every ambiguous item counts as wrong, as published; expected_ceiling: where a model, too,
    agrees with the label of an ambiguous item as often as chance does.
    """

    ambiguous: float
    left: float
    ceiling: float
    expected_ceiling: float


def implied(disagreement: float, *, classes: int = 2, passing: float | None = None) -> Implied:
    """What follows from the share of pairs of answers that differ, in 0..1.

    passing: share of the ambiguous items on which all annotators agree by chance, 1 / classes where
    each item has two (the default). More disagreement than chance makes counts as that of chance.
    """
    by_chance = 1 / classes if passing is None else passing
    ambiguous = min(1.0, disagreement * classes / (classes - 1))
    left = ambiguous * by_chance / (1 - ambiguous + ambiguous * by_chance)
    return Implied(
        ambiguous=ambiguous,
        left=left,
        ceiling=1 - left,
        expected_ceiling=1 - left * (1 - 1 / classes),
    )


def implied_estimates(
    disagreement: Estimate, *, classes: int, passing: float
) -> dict[str, Estimate]:
    """The same with intervals: every figure rises or falls with the disagreement alone."""
    names = tuple(Implied.__annotations__)
    if disagreement.value is None:
        return dict.fromkeys(names, disagreement)
    found = vars(implied(disagreement.value, classes=classes, passing=passing))
    if disagreement.low is None or disagreement.high is None:
        return {name: replace(disagreement, value=found[name]) for name in names}
    limits = [
        vars(implied(limit, classes=classes, passing=passing))
        for limit in (disagreement.low, disagreement.high)
    ]
    return {
        name: replace(
            disagreement,
            value=found[name],
            low=min(limit[name] for limit in limits),
            high=max(limit[name] for limit in limits),
        )
        for name in names
    }

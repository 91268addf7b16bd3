"""One part of a conversion that several independent jobs do together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tfrecords_tools.errors import PlanError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Part `number`, from 1, of `count`. Together the parts are the whole, none overlap."""

    number: int
    count: int

    @property
    def begin(self) -> float:
        """Where the part begins, from 0 up to 1 of the whole."""
        return (self.number - 1) / self.count

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items of this part: neighbours, and as many as in any other, or one more or less."""
        first, after = (
            len(items) * place // self.count for place in (self.number - 1, self.number)
        )
        return items[first:after]


WHOLE = Share(1, 1)


def parse_share(text: str) -> Share:
    """Read `i/N`. Raises PlanError where it is anything else, or i is not from 1 to N."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise PlanError(f"{text!r}: expected i/N with i from 1 to N, for example 3/16")
    return Share(int(number), int(count))

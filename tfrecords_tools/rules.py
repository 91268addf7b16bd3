"""Label rules: the class of an image by what is known of it, such as its dose and its fate.

A rule is `CLASS: condition and condition`, a condition `column OP value` with one of
== != < <= > >=. Rules stand in order; the first that holds gives the label.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfrecords_tools.errors import PlanError
from tfrecords_tools.table import as_number

_EQUAL: Mapping[str, Callable[[Any, Any], bool]] = {"==": operator.eq, "!=": operator.ne}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_AND = re.compile(r"\s+and(?:\s+|$)")
_EXAMPLE = "sick: dying_share >= 0.9 and time_index < 5"


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a value. Numbers are compared as numbers: 0, 0.0 and 00 are
    the same; anything else as text, and then only by == and !=."""

    column: str
    operator: str
    value: str

    def holds(self, values: Mapping[str, str | None]) -> bool:
        """Whether the values of an image meet it; an absent value meets no condition.

        Raises PlanError where an order is asked of a value that is no number.
        """
        found = values.get(self.column)
        if found is None:
            return False
        number, wanted = as_number(found), as_number(self.value)
        if number is not None and wanted is not None:
            return {**_EQUAL, **_ORDER}[self.operator](number, wanted)
        if self.operator in _EQUAL:
            return _EQUAL[self.operator](found, self.value)
        raise PlanError(
            f"{self}: {values.get('source_id', 'an image')} has {self.column} {found}, expected a "
            "number; correct it, or compare with == or !="
        )

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.value}"


@dataclass(frozen=True)
class LabelRule:
    """The label of images that meet all conditions."""

    label: str
    conditions: tuple[Condition, ...]

    def holds(self, values: Mapping[str, str | None]) -> bool:
        return all(condition.holds(values) for condition in self.conditions)

    def __str__(self) -> str:
        return f"{self.label}: {' and '.join(str(condition) for condition in self.conditions)}"


def parse_rule(text: str) -> LabelRule:
    """`CLASS: condition and condition`. Raises PlanError."""
    label, colon, rest = text.partition(":")
    if not colon or not label.strip() or not rest.strip():
        raise PlanError(
            f"label rule {text!r}: expected CLASS: conditions, for example {_EXAMPLE!r}"
        )
    return LabelRule(label.strip(), parse_conditions(rest, f"label rule {text!r}"))


def parse_conditions(text: str, where: str) -> tuple[Condition, ...]:
    """`column OP value and column OP value`; `where` begins the message. Raises PlanError."""
    return tuple(_parse_condition(part.strip(), where) for part in _AND.split(text.strip()))


def _parse_condition(text: str, where: str) -> Condition:
    found = _OPERATOR.findall(text)
    column, _, value = (part.strip() for part in text.partition(found[0] if found else " "))
    if len(found) != 1 or not column or not value or "=" in value[:1]:
        raise PlanError(
            f"{where}: {text!r} is no condition; expected column OP value with one of == != < <= > "
            "and >=, joined by `and`. What may hold instead is a rule of its own"
        )
    value = value[1:-1] if value[0] == value[-1] and value[0] in "'\"" and value[1:] else value
    if found[0] in _ORDER and as_number(value) is None:
        raise PlanError(f"{where}: {text!r} asks for an order, so {value!r} should be a number")
    return Condition(column, found[0], value)


def columns_of(rules: Sequence[str]) -> list[str]:
    """The columns that rules look at, each once."""
    conditions = [condition for rule in rules for condition in parse_rule(rule).conditions]
    return list(dict.fromkeys(condition.column for condition in conditions))

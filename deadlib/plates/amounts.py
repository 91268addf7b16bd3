"""Numbers as laboratories of all countries write them in tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Decimal = Literal["auto", "comma", "point"]

_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# 1,234 and 12,000 may be grouped thousands; 0,698 and 1,25 cannot
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def amount(text: str, decimal: Decimal = "auto") -> float | None:
    """The number that a text is, else None: 0,5 is 0.5 and 9,44e-05 is 0.0000944.

    decimal: with `point` commas group thousands (1,234.5), otherwise a comma is a decimal one.
    """
    text = text.strip()
    if decimal == "point":
        text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text) if _POINT.fullmatch(text) else None


def ambiguous(texts: Iterable[str]) -> str | None:
    """A text of which nobody can say whether it is 1.234 or 1234, if all with a comma are such."""
    with_comma = [text for text in texts if "," in text]
    if with_comma and all(_EITHER.fullmatch(text.strip()) for text in with_comma):
        return with_comma[0]
    return None

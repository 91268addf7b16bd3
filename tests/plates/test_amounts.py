"""Numbers in tables from everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.plates.amounts import ambiguous, amount


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_comma_is_a_decimal_point(number: float) -> None:
    assert amount(str(number)) == number
    assert amount(str(number).replace(".", ",")) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0,04748", 0.04748), ("9,44e-05", 9.44e-5), (" 12 ", 12.0), (",5", 0.5), ("-1", -1.0)],
)
def test_published_spellings(text: str, expected: float) -> None:
    assert amount(text) == expected


@pytest.mark.parametrize(
    "text", ["", "high", "1_000", "nan", "inf", "1.234,5", "1,234,5", "< 3", "5 uM", "0x10"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert amount(text) is None


def test_commas_group_thousands_where_that_is_said() -> None:
    assert amount("253,624", "point") == 253624.0
    assert amount("1,234,567.5", "point") == 1234567.5
    assert amount("0,5", "point") is None
    assert amount("253,624", "comma") == 253.624


def test_a_column_that_may_be_thousands_is_noticed() -> None:
    assert ambiguous(["12", "253,624", "98,120"]) == "253,624"
    assert ambiguous(["253,624", "0,698"]) is None
    assert ambiguous(["1,5", "1,250"]) is None
    assert ambiguous(["1.5", "2"]) is None

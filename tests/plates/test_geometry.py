"""Where wells lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.errors import InputError
from deadlib.plates.geometry import FORMATS, Place, format_for, parse_well, plate_format, row_number


@pytest.mark.parametrize("text", ["B03", "B3", "b3", " B 3 ", "B-03", "r02c03", "R2C3", "B003"])
def test_a_well_has_many_spellings(text: str) -> None:
    assert parse_well(text) == Place(2, 3)


@pytest.mark.parametrize("text", ["", "B", "3", "B0", "ABC1", "B3.5", None, "B300", "r0c3"])
def test_what_is_no_well_has_no_place(text: object) -> None:
    assert parse_well(text) is None


@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_names_and_places_are_one_to_one(wells: int, data: st.DataObject) -> None:
    plate = FORMATS[wells]
    row = data.draw(st.integers(1, plate.rows))
    column = data.draw(st.integers(1, plate.columns))
    place = Place(row, column)
    assert parse_well(place.well) == place
    assert plate.holds(place)
    assert format_for([place]).holds(place)


def test_rows_after_z_have_two_letters() -> None:
    assert row_number("AA") == 27
    assert row_number("af") == 32
    assert Place(32, 48).well == "AF48"
    assert [row_number(text) for text in ("0", "", "A1", "ABC", "-1")] == [None] * 5


@pytest.mark.parametrize(
    ("wells", "width", "expected"),
    [(96, 1, 36), (384, 1, 76), (1536, 1, 156), (384, 2, 144), (384, 0, 0), (96, 4, 96)],
)
def test_the_edge_is_so_many_wells(wells: int, width: int, expected: int) -> None:
    """By hand: 16 x 24 wells less 14 x 22 inside are 76."""
    plate = plate_format(wells)
    places = [Place(r, c) for r in range(1, plate.rows + 1) for c in range(1, plate.columns + 1)]
    assert sum(plate.is_edge(place, width) for place in places) == expected


def test_the_smallest_usual_plate_is_guessed() -> None:
    assert format_for([Place(1, 1)]).wells == 96
    assert format_for([Place(8, 12), Place(9, 1)]).wells == 384
    assert format_for([Place(1, 25)]).wells == 1536
    with pytest.raises(InputError, match="AG01: no plate has it"):
        format_for([Place(33, 1)])
    with pytest.raises(InputError, match=r"100 wells: no such plate; expected one of 6, 12"):
        plate_format(100)

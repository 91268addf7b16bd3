"""Where a well lies on its plate: its row, its column, and whether that is the edge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deadlib.errors import InputError
from tfrecords_tools.container import well_name

_NAMED = re.compile(r"([A-Za-z]{1,2})[ _-]?0*([1-9][0-9]?)")
_NUMBERED = re.compile(r"[Rr]0*([1-9][0-9]?)[ _-]?[Cc]0*([1-9][0-9]?)")


@dataclass(frozen=True, order=True)
class Place:
    """A well by its row and column, both from 1: B03 is row 2, column 3."""

    row: int
    column: int

    @property
    def well(self) -> str:
        return well_name(self.row - 1, self.column - 1)


@dataclass(frozen=True)
class PlateFormat:
    """How many rows and columns a plate has."""

    rows: int
    columns: int

    @property
    def wells(self) -> int:
        return self.rows * self.columns

    def holds(self, place: Place) -> bool:
        return place.row <= self.rows and place.column <= self.columns

    def is_edge(self, place: Place, width: int = 1) -> bool:
        """Whether a well is one of the `width` outermost on any side; 0 makes no well the edge."""
        down = min(place.row, self.rows + 1 - place.row)
        across = min(place.column, self.columns + 1 - place.column)
        return min(down, across) <= width


FORMATS = {
    plate.wells: plate
    for plate in (
        PlateFormat(2, 3),
        PlateFormat(3, 4),
        PlateFormat(4, 6),
        PlateFormat(6, 8),
        PlateFormat(8, 12),
        PlateFormat(16, 24),
        PlateFormat(32, 48),
    )
}
# Few wells of a large plate are commoner than a small plate, so those must be asked for.
GUESSED = (96, 384, 1536)


def parse_well(text: object) -> Place | None:
    """The place of a well written B3, B03, b-3, AA12 or r02c03; None where it is no well."""
    written = str(text).strip()
    numbered = _NUMBERED.fullmatch(written)
    if numbered:
        return Place(int(numbered[1]), int(numbered[2]))
    named = _NAMED.fullmatch(written)
    row = row_number(named[1]) if named else None
    return Place(row, int(named[2])) if named and row else None


def row_number(text: object) -> int | None:
    """The row, from 1, that letters or a number name: B, b and 02 are 2; None where they do not."""
    written = str(text).strip()
    if written.isascii() and written.isdecimal():
        return int(written) or None
    if not re.fullmatch("[A-Za-z]{1,2}", written):
        return None
    number = 0
    for letter in written.upper():
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def plate_format(wells: int) -> PlateFormat:
    """The format of a plate of so many wells. Raises InputError."""
    if wells not in FORMATS:
        raise InputError(
            f"{wells} wells: no such plate; expected one of {', '.join(map(str, FORMATS))}"
        )
    return FORMATS[wells]


def format_for(places: Iterable[Place]) -> PlateFormat:
    """The smallest of 96, 384 and 1536 wells that has all these places. Raises InputError."""
    places = list(places)
    for wells in GUESSED:
        if all(FORMATS[wells].holds(place) for place in places):
            return FORMATS[wells]
    last = next(place for place in places if not FORMATS[GUESSED[-1]].holds(place))
    raise InputError(f"well {last.well}: no plate has it; the largest, 1536 wells, ends at AF48")

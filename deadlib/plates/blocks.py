"""Plate layouts as people draw them: a block of rows A, B, C and columns 1, 2, 3."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from deadlib.errors import InputError
from deadlib.plates.geometry import FORMATS, Place, row_number

Block = dict[Place, str]
_FEWEST_COLUMNS = min(plate.columns for plate in FORMATS.values())


def blocks_as_rows(files: Mapping[str, Path], plate: str | None = None) -> pd.DataFrame:
    """One row per plate and well from blocks, one file for each column.

    files: the column's name and its CSV. A block begins with the numbers of the plate's columns;
    what stands left of them is the name of the plate, and a file may have a block for each. A block
    without such a name is for `plate`, or for all plates that other files name. Wells that are
    empty in every file are left out. Raises InputError.
    """
    found = {name: read_blocks(path) for name, path in files.items()}
    named = list(dict.fromkeys(key for blocks in found.values() for key in blocks if key))
    plates = named or ([plate] if plate else [])
    if not plates:
        raise InputError(
            f"{', '.join(map(str, files.values()))}: no block names its plate left of the column "
            "numbers; write it there, or give it with --plate"
        )
    rows = []
    for name in plates:
        chosen = {column: blocks.get(name, blocks.get("", {})) for column, blocks in found.items()}
        places = sorted({place for block in chosen.values() for place in block})
        for place in places:
            values = {column: block.get(place) for column, block in chosen.items()}
            rows.append({"plate": name, "well": place.well, **values})
    if not rows:
        raise InputError(f"{', '.join(map(str, files.values()))}: every well is empty")
    return pd.DataFrame(rows)


def read_blocks(path: Path) -> dict[str, Block]:
    """The blocks of a CSV file by the name of their plate, "" for one without name.

    Raises InputError where there is none, or a row is repeated or longer than the plate.
    """
    lines = _cells(path)
    blocks: dict[str, Block] = {}
    number = 0
    while number < len(lines):
        columns = _column_numbers(lines[number])
        if not columns:
            number += 1
            continue
        name = lines[number][0]
        if name in blocks:
            said = f"a second block of plate {name}" if name else "a second block without plate"
            raise InputError(f"{path}, line {number + 1}: {said}; name the plate of each")
        blocks[name], number = _block(lines, number + 1, columns, path)
    if not blocks:
        raise InputError(
            f"{path}: no block found; expected a line with the numbers 1, 2, 3 to 12 or 24, and "
            "below it lines that begin with A, B, C"
        )
    return blocks


def _block(
    lines: Sequence[Sequence[str]], number: int, columns: int, path: Path
) -> tuple[Block, int]:
    """The wells from this line on, and the number of the line after the last row."""
    block: Block = {}
    seen: set[int] = set()
    while number < len(lines) and lines[number] and not lines[number][0].isdecimal():
        row = row_number(lines[number][0])
        if row is None:
            break
        cells = lines[number][1:]
        if row in seen:
            raise InputError(f"{path}, line {number + 1}: row {lines[number][0]} stands twice")
        if any(cells[columns:]):
            raise InputError(
                f"{path}, line {number + 1}: {len(cells)} wells, but the plate has {columns} "
                "columns"
            )
        seen.add(row)
        block |= {Place(row, c): text for c, text in enumerate(cells[:columns], 1) if text}
        number += 1
    return block, number


def _column_numbers(cells: Sequence[str]) -> int:
    """How many columns a heading 1, 2, 3, … has; 0 where the line is none."""
    numbers = list(cells[1:])
    while numbers and not numbers[-1]:
        numbers.pop()
    expected = [str(column) for column in range(1, len(numbers) + 1)]
    return len(numbers) if len(numbers) >= _FEWEST_COLUMNS and numbers == expected else 0


def _cells(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a CSV file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save the block as CSV in UTF-8") from None
    separator = max(",;\t", key=text.count)
    return [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=separator)
    ]

"""The folder that maps are written to: nobody else's files, and nothing of an earlier call."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deadlib.errors import InputError
from deadlib.interpretation.maps import SUFFIXES
from deadlib.outputs import write_errors, written_whole

OVERVIEW = "overview.png"
TABLE = "maps.csv"
CONSISTENCY = "consistency.json"
SANITY = "sanity.json"
SANITY_FIGURE = "sanity.png"
REPORT = "report.html"
LONGEST_NAME = 60
FILE_COLUMNS = ("file", "map")

_NUMBERED = re.compile(r"\d{2,}-.*\.(png|tif)")
_OTHERS = (OVERVIEW, CONSISTENCY, SANITY, SANITY_FIGURE, REPORT)


def refuse_foreign(out: Path) -> None:
    """Raise InputError where `out` holds files, but nothing of an earlier call, even a broken one.

    Hidden files do not count.
    """
    if not out.is_dir():
        return
    with write_errors(out):
        names = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if TABLE not in names and not all(_NUMBERED.fullmatch(n) or n in _OTHERS for n in names):
        raise InputError(
            f"{out}: holds files that deadlib-explain did not write (no {TABLE} among them), "
            "expected a new or empty folder, or one of earlier maps; give another --out"
        )


def start(out: Path) -> None:
    """Make the folder, and take away what an earlier call left there."""
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in _OTHERS:
            (out / name).unlink(missing_ok=True)
        for name in _numbered(out):
            (out / name).unlink(missing_ok=True)
        (out / TABLE).unlink(missing_ok=True)


def write_table(out: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write maps.csv, which names the files; it comes last."""
    with (
        written_whole(out / TABLE) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def file_stem(number: int, example_id: str) -> str:
    """The name, without suffix, of the files of an example; `number` counts from 1."""
    return f"{number:02d}-{plain(example_id)[-LONGEST_NAME:]}"


def plain(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w-]+", "_", name)


def map_path(out: Path, stem: str, kind: str) -> Path:
    """Where the map of an example is written: `kind` is `tiff` or `ome-tiff`."""
    return out / f"{stem}{SUFFIXES[kind]}"


def _numbered(out: Path) -> list[str]:
    """The files of single examples: those that the table lists, without one all that look so."""
    if (out / TABLE).is_file():
        table = pd.read_csv(out / TABLE)
        columns = [table[name].dropna() for name in FILE_COLUMNS if name in table]
        names = [str(name) for column in columns for name in column]
    else:
        names = [path.name for path in out.iterdir()]
    return [name for name in names if _NUMBERED.fullmatch(name) and "/" not in name]

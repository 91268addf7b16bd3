"""Layouts drawn as the plate is."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from deadlib.cli.plates import main
from deadlib.errors import InputError
from deadlib.plates.blocks import blocks_as_rows, read_blocks
from deadlib.plates.geometry import Place
from deadlib.plates.settings import TableSettings
from deadlib.plates.table import plate_table

LAYOUT = "Layout of today,,,\n,1,2,3\nA,DMSO,IKE,IKE\nB,DMSO,,IKE\n"
DOSES = ';1;2;3\nA;;"0,5";1\nB;;;2\n'
READER = "P7,1,2,3\nA,100,50,30\nB,200,,20\n\nP8,1,2,3\nA,300,60,40\nB,300,10,\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"treatment": LAYOUT, "concentration_um": DOSES, "viability": READER}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return {name: tmp_path / f"{name}.csv" for name in texts}


def test_blocks_become_a_list_and_then_a_plate_table(files: dict[str, Path]) -> None:
    folder = files["viability"].parent
    raw, clean = folder / "raw.csv", folder / "clean.csv"
    words = [f"{name}={path}" for name, path in files.items()]
    done = CliRunner().invoke(main, ["list", str(raw), *words])
    assert done.exit_code == 0, done.output
    assert "11 wells (plate P7: 5, plate P8: 6)" in " ".join(done.output.split())
    assert CliRunner().invoke(main, ["list", str(raw), *words]).exit_code == 2
    done = CliRunner().invoke(main, ["table", str(raw), str(clean)])
    assert done.exit_code == 0, done.output
    found = plate_table(raw, TableSettings()).frame
    # B2 of plate P8 has a reading but no treatment, so nobody knows what it is
    assert list(found["well"]) == ["A01", "A02", "A03", "B01", "B03"] * 2
    assert list(found["concentration_um"]) == [0, 0.5, 1, 0, 2] * 2
    assert list(found["viability"][:3]) == pytest.approx([100 / 150, 50 / 150, 30 / 150])


def test_a_block_without_plate_needs_one(files: dict[str, Path]) -> None:
    layout = {"treatment": files["treatment"]}
    with pytest.raises(InputError, match="no block names its plate"):
        blocks_as_rows(layout)
    assert blocks_as_rows(layout, "3")["plate"].unique().tolist() == ["3"]


def test_a_384_well_block_is_read(tmp_path: Path) -> None:
    header = "," + ",".join(str(column) for column in range(1, 25))
    rows = [f"{letter}," + ",".join([letter] * 24) for letter in "ABCDEFGHIJKLMNOP"]
    (tmp_path / "block.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    (block,) = read_blocks(tmp_path / "block.csv").values()
    assert len(block) == 384
    assert block[Place(16, 24)] == "P"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plate,well\n1,B3\n", "no block found; expected a line with the numbers 1, 2, 3"),
        (",1,2,3\nA,1,2,3\nA,1,2,3\n", "line 3: row A stands twice"),
        (",1,2,3\nA,1,2,3,4\n", "line 2: 4 wells, but the plate has 3 columns"),
        (",1,2,3\nA,1,2,3\n,1,2,3\nA,1,2,3\n", "line 3: a second block without plate"),
        (",1,2,3\nA,,,\n", "every well is empty"),
    ],
)
def test_what_is_no_block_is_said(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "block.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        blocks_as_rows({"treatment": tmp_path / "block.csv"}, "1")

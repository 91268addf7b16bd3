"""deadlib-aggregate as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

COMMAND = "from deadlib.cli.aggregate import main; main(prog_name='deadlib-aggregate')"


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_calls_of_another_program_become_wells(run, tmp_path):
    calls = ["dead", "dead", "living", "living", "dead", "living", "living"]
    frame = pd.DataFrame(
        {"Plate": 1, "Well": ["B02"] * 3 + ["B03"] * 4, "Site": range(7), "call": calls}
    )
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    names = ["--column", "plate=Plate", "--column", "well=Well", "--column", "predicted=call"]
    done = run("theirs.csv", "wells.parquet", "--how", "vote", *names)
    assert done.returncode == 0, done.stderr
    assert "7 answers, 2 places (plate, well), 3 to 4 fields each" in done.stdout
    assert "tied votes: 0 of 2" in done.stdout
    assert "left out: Site" in done.stderr
    got = pd.read_parquet(tmp_path / "wells.parquet")
    assert got["predicted"].tolist() == ["dead", "living"]
    assert got["probability_dead"].tolist() == pytest.approx([2 / 3, 1 / 4])

    # what is refused is refused in one message, and leaves nothing behind
    before = set(tmp_path.iterdir())
    done = run("theirs.csv", "other.parquet", *names)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "--how vote" in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_a_column_without_equals_sign_is_a_mistake_of_usage(run):
    done = run("a.parquet", "b.parquet", "--column", "label")
    assert done.returncode == 2
    assert "expected NAME=COLUMN" in done.stderr

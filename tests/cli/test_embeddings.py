"""deadlib-embeddings as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from embedded_screen import screen

from deadlib.evaluation.table import read_predictions

COMMAND = "from deadlib.cli.embeddings import main; main(prog_name='deadlib-embeddings')"
QUICK = ("--map", "pca", "--permutations", 20, "--bootstrap", 100)


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    screen(plate_shift=3.0).to_parquet(tmp_path / "plain.parquet")
    return tmp_path


def test_the_finding_is_printed_and_what_neighbours_call_can_be_evaluated(folder):
    done = run("plain.parquet", *QUICK, "--query", "P3/A05", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING: plain: the embedding shows plate" in done.stderr
    assert "embeddings: plain-embeddings/embeddings.html" in done.stdout
    page = (folder / "plain-embeddings" / "embeddings.html").read_text()
    assert page.count('<li class="query">') == 1
    calls = folder / "plain-embeddings" / "plain_knn_10.parquet"
    assert len(read_predictions(calls, group_by="plate").frame) == 24


def test_a_table_without_embedding_gives_one_message_and_writes_nothing(folder):
    screen().drop(columns="embedding").to_csv(folder / "theirs.csv", index=False)
    done = run("theirs.csv", cwd=folder)
    assert done.returncode == 1
    assert "theirs.csv: no column embedding" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "theirs-embeddings").exists()

"""deadlib-evaluate as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

COMMAND = "from deadlib.cli.evaluate import main; main(prog_name='deadlib-evaluate')"


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
def predictions(tmp_path):
    rng = np.random.default_rng(0)
    dead = np.arange(60) % 2
    score = np.clip(0.25 + 0.5 * dead + rng.normal(0, 0.2, 60), 0, 1)
    frame = pd.DataFrame(
        {
            "label": np.where(dead, "dead", "living"),
            "probability_living": 1 - score,
            "probability_dead": score,
            "plate": [f"plate{i // 2 % 15}" for i in range(60)],
        }
    )
    path = tmp_path / "theirs.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_table_of_metrics_is_printed_and_the_report_written(predictions, tmp_path):
    done = run("theirs.csv", "--group-by", "plate", "--bootstrap", 200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "balanced accuracy" in done.stdout
    assert "95 % interval" in done.stdout
    assert "report: theirs-report/report.html" in done.stdout.splitlines()
    assert (tmp_path / "theirs-report" / "report.html").is_file()
    assert "Traceback" not in done.stderr


def test_warnings_go_to_stderr(predictions, tmp_path):
    done = run("theirs.csv", "--out", "here", "--bootstrap", 200, cwd=tmp_path)
    assert "WARNING: The table has no column group" in done.stderr
    assert "WARNING" not in done.stdout
    assert (tmp_path / "here" / "report.json").is_file()


def test_a_bad_table_gives_one_message_and_nothing_written(tmp_path):
    (tmp_path / "bad.csv").write_text("label,probability_dead,probability_living\ndead,2,-1\n")
    done = run("bad.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "bad.csv, row 1, column probability_dead" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bad-report").exists()


def test_virtual_batches_are_100_where_no_number_follows(predictions, tmp_path):
    options = ("--group-by", "plate", "--bootstrap", 100, "--virtual-batches")
    done = run("theirs.csv", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "over 2,000 classifications" in done.stdout
    assert "over 15 groups (quote this)" in done.stdout


def test_calls_of_another_program_are_evaluated_by_well(tmp_path):
    well = np.arange(60) // 3
    truth = np.where(well % 2, "dead", "living")
    call = np.where(np.arange(60) % 7 == 0, "dead", truth)
    frame = pd.DataFrame({"Plate": 1, "Well": [f"B{w:02d}" for w in well]})
    frame.assign(truth=truth, call=call).to_csv(tmp_path / "theirs.csv", index=False)
    names = ["label=truth", "predicted=call", "plate=Plate", "well=Well"]
    columns = [word for name in names for word in ("--column", name)]
    ties = ["--ties", "dead"]
    done = run("theirs.csv", *columns, *ties, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "expected each of the classes dead, living once" in done.stderr

    done = run("theirs.csv", *columns, "--group-by", "well", "--bootstrap", 100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Plates and wells: Of 100 wells 100 are called right by the majority" in done.stdout
    assert "ROC AUC" not in done.stdout
    assert "ROC AUC" in done.stderr, "that it is left out is told"

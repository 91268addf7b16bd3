"""deadlib-label-errors as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd

COMMAND = "from deadlib.cli.label_errors import main; main(prog_name='deadlib-label-errors')"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_list_is_written_beside_the_table(tmp_path):
    dead = np.arange(60) % 2
    frame = pd.DataFrame(
        {
            "label": np.where(dead, "dead", "living"),
            "probability_living": 0.9 - 0.8 * dead,
            "probability_dead": 0.1 + 0.8 * dead,
        }
    )
    frame.loc[7, "label"] = "living"
    frame.to_csv(tmp_path / "folds.csv", index=False)
    done = run("folds.csv", "--show", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 60 labels are likely wrong" in done.stdout
    assert "label errors: folds-label-errors/label_errors.html" in done.stdout
    assert "WARNING" not in done.stderr
    first = pd.read_csv(tmp_path / "folds-label-errors" / "label_errors.csv").iloc[0]
    assert (first["label"], first["suggested"], first["likely_wrong"]) == ("living", "dead", True)


def test_a_table_without_labels_gives_one_message(tmp_path):
    (tmp_path / "bad.csv").write_text("probability_dead,probability_living\n0.4,0.6\n")
    done = run("bad.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "no column label" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_guesses_is_no_judge_of_labels(tmp_path):
    rng = np.random.default_rng(0)
    dead = rng.random(200)
    label = np.where(rng.random(200) < 0.5, "dead", "living")
    frame = pd.DataFrame({"label": label, "probability_living": 1 - dead, "probability_dead": dead})
    frame.to_csv(tmp_path / "folds.csv", index=False)
    done = run("folds.csv", cwd=tmp_path)
    assert "the model is too weak to judge them" in " ".join(done.stderr.split())

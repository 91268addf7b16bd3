from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from finished_run import make_dataset

COMMAND = [sys.executable, "-m", "deadlib.cli.study"]


def deadlib_study(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two cells: the one trains for a moment, the other has a class too few."""
    folder = tmp_path_factory.mktemp("study")
    recipe = {
        "dataset": str(make_dataset(folder).folder),
        "model": {"width": 4, "blocks": 2},
        "input": {"size_px": [16, 16]},
        "training": {"epochs": 1, "batch": 4, "jit": "off", "deterministic": False},
    }
    one = {"split.where": ["label == dead"]}
    axes = [{"name": "images", "cells": {"some": {}, "dead ones": one}}]
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump({"recipe": recipe, "axes": axes, "repeats": 2}, sort_keys=False))
    return path


def test_list_says_what_would_be_trained_and_trains_nothing(study: Path) -> None:
    done = deadlib_study(study, "--list")
    assert done.returncode == 0
    assert "4 trainings" in done.stdout
    assert "label == dead" in done.stdout
    assert not (study.parent / "studies").exists()


def test_a_failed_cell_ends_with_exit_1_after_the_others(study: Path, tmp_path: Path) -> None:
    done = deadlib_study(study, "--out", tmp_path / "out", "--bootstrap", "200")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: 2 of the trainings failed, dead ones (seed 0), dead ones (seed 1)" in done.stderr
    told = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [row["repeats"] for row in told["rows"]] == [2, 0]
    assert "failed" in done.stdout
    assert (tmp_path / "out" / "cells" / "some-seed-1" / "run" / "model.keras").is_file()


def test_a_study_that_is_wrong_is_told_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("recipe: none.yaml\naxes: [{fold: 3}]\n")
    done = deadlib_study(path)
    assert done.returncode == 1
    assert "axes.0.fold: unknown key; did you mean folds?" in done.stderr
    path.write_text("recipe: none.yaml\n")
    assert "none.yaml: cannot read the recipe" in deadlib_study(path).stderr


def test_a_mistaken_option_is_a_usage_error(study: Path) -> None:
    assert deadlib_study(study, "--jobs", "0").returncode == 2

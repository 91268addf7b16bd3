"""deadlib-calibrate: a run in, how sure it may be out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_run import make_dataset, make_run

from deadlib.cli.calibrate import main
from deadlib.cli.predict import main as predict
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("calibrated")
    settings = ConversionSettings(fractions=(0.25, 0.5, 0.25))
    return make_run(folder / "run", make_dataset(folder, settings, count=16))


def test_a_run_is_calibrated_and_predicts_by_it(run: Run) -> None:
    done = CliRunner().invoke(main, [str(run.folder), "--coverage", "0.8"])
    assert done.exit_code == 0, done.output
    assert "in 80 of 100" in done.stdout
    assert "temperature" in done.stdout
    assert f"next: deadlib-predict {run.folder}" in done.stderr
    done = CliRunner().invoke(predict, [str(run.folder), run.dataset["path"]])
    assert done.exit_code == 0, done.output
    assert "sure of" in done.stdout
    assert "less like the training images" in done.stdout


def test_mistakes_are_one_message(run: Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert (done.exit_code, "no run directory" in done.stderr) == (1, True)
    done = CliRunner().invoke(main, [str(run.folder), "--coverage", "90"])
    assert done.exit_code == 2
    done = CliRunner().invoke(main, [str(run.folder), str(tmp_path)])
    assert done.exit_code == 1
    assert str(tmp_path) in done.stderr

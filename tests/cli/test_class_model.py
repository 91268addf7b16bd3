"""deadlib-class-model: a run in, pictures of its classes and a table of scores out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_run import make_dataset, make_run

from deadlib.cli.class_model import main
from deadlib.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("class-model")
    return make_run(folder / "run", make_dataset(folder, count=4))


def test_class_models_are_drawn_into_the_run(run: Run) -> None:
    arguments = [str(run.folder), "--iterations", "3", "--step", "0.1", "--literal-sign"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"look at {run.folder / 'class-models' / 'class_models.png'}" in done.stdout
    assert done.stdout.count("opposite") == 2
    assert (run.folder / "class-models" / "ascent.gif").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--jitter-px", "3"], 2, "--jitter-px does nothing with --method published"),
        (["--method", "jitter", "--literal-sign"], 2, "--literal-sign does nothing"),
        (["--class", "dying"], 1, "expected one of dead, living"),
        (["--step", "900"], 1, "every step overshoots"),
    ],
)
def test_mistakes_are_one_message(
    run: Run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = CliRunner().invoke(main, [str(run.folder), "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()

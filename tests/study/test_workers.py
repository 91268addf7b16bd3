from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import study_work

from deadlib.study.training import Task
from deadlib.study.workers import run_all

SHARED = Path(study_work.__file__).parent


def outcomes(folder: Path, names: list[str], jobs: int) -> dict[str, str | None]:
    """What run_all says of tasks of these names."""
    found: dict[str, str | None] = {}

    def on_end(task: Task, problem: str | None) -> None:
        assert task.name not in found
        found[task.name] = problem

    tasks = [study_work.task(folder, name) for name in names]
    run_all(tasks, jobs, folder / "log.txt", lambda *_: None, on_end, do=study_work.by_name)
    return found


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str | None]]:
    folder = tmp_path_factory.mktemp("mixed")
    names = ["refused", "sound 1", "killed", "broken", "sound 2", "sound 3"]
    return folder, outcomes(folder, names, jobs=1)


def test_a_task_that_fails_hinders_no_other(mixed: tuple[Path, dict[str, str | None]]) -> None:
    _, found = mixed
    assert list(found) == ["refused", "sound 1", "killed", "broken", "sound 2", "sound 3"]
    assert [name for name, problem in found.items() if problem is None] == [
        "sound 1",
        "sound 2",
        "sound 3",
    ]


def test_a_mistake_of_the_user_is_told_in_its_own_words(
    mixed: tuple[Path, dict[str, str | None]],
) -> None:
    assert mixed[1]["refused"] == "the recipe is wrong"


def test_a_mistake_of_the_program_leaves_its_traceback_in_the_log(
    mixed: tuple[Path, dict[str, str | None]],
) -> None:
    folder, found = mixed
    assert "ZeroDivisionError: by nought" in (found["broken"] or "")
    assert "Traceback" in (folder / "broken" / "log.txt").read_text()


def test_a_process_that_dies_is_replaced(mixed: tuple[Path, dict[str, str | None]]) -> None:
    folder, found = mixed
    assert "SIGKILL" in (found["killed"] or "")
    assert "memory" in (found["killed"] or "")
    before, *after = [(folder / f"sound {n}" / "pid").read_text() for n in (1, 2, 3)]
    assert before != after[0]
    assert after[0] == after[1], "a sound process does one task after another"


def test_each_task_prints_into_its_own_log(mixed: tuple[Path, dict[str, str | None]]) -> None:
    folder, _ = mixed
    for name in ("sound 1", "sound 2"):
        assert (folder / name / "log.txt").read_text() == f"this is {name}\n"


def test_two_jobs_are_two_processes(tmp_path: Path) -> None:
    assert outcomes(tmp_path, ["sound 1", "sound 2"], jobs=2) == {"sound 1": None, "sound 2": None}
    one, other = [(tmp_path / f"sound {n}" / "pid").read_text() for n in (1, 2)]
    assert len({one, other, str(os.getpid())}) == 3


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    assert outcomes(tmp_path, [], jobs=1) == {}
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_ends_asks_its_trainings_for_a_checkpoint(
    tmp_path: Path, ending: signal.Signals
) -> None:
    script = SHARED / "study_work.py"
    study = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "long one" / "began")
    study.send_signal(ending)
    study.wait(60)
    wait_for(tmp_path / "long one" / "stopped")
    assert (tmp_path / "long one" / "stopped").read_text() == "SIGTERM"
    assert not (tmp_path / "sound one").exists(), "nothing new is begun"


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists() and (path.name != "stopped" or path.read_text()):
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")

"""SIGKILL at any moment: the same command ends with the bytes of an undisturbed conversion."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from real_conversions import COMMAND, bytes_in, run, start, write_images

KILLS = {1: 5, 2: 20, 4: 5}
"""How often, with one, two and four workers."""

# Every change on the disk counted, and the process killed by itself before the one that is asked
# for. Forked from one process that has imported everything, as that takes longest.
KILLED_AT_EVERY_CHANGE = """
import contextlib, hashlib, importlib, json, os, shutil, signal, sys
from pathlib import Path
import tfrecords_tools.write
from deadlib.cli.convert import main

before, arguments = sys.argv[1], sys.argv[2:]


def bytes_in(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kill_before(change):
    changes = 0

    def mortal(function):
        def counted(*arguments, **keywords):
            nonlocal changes
            changes += 1
            if changes == change:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return counted

    for name in ("replace", "fsync", "unlink", "mkdir", "rmdir"):
        setattr(os, name, mortal(getattr(os, name)))


def convert(change=None):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    if change is not None:
        kill_before(change)
    sys.argv = ["deadlib-convert", *arguments]
    code = 0
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
    Path("modules").write_text(" ".join(sys.modules))
    os._exit(code)


def start_over():
    shutil.rmtree("out", ignore_errors=True)
    if before:
        shutil.copytree(before, "out")


def valid():
    from tfrecords_tools.dataset import open_dataset
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    open_dataset("out").verify_checksums()
    os._exit(0)


start_over()
assert convert() == 0, Path("log").read_text()
for name in Path("modules").read_text().split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
undisturbed, change, unlike, invalid = bytes_in(Path("out")), 0, [], []
while True:
    change += 1
    start_over()
    if not os.WIFSIGNALED(convert(change)):
        break
    if "--append" in arguments and not valid():
        invalid.append(change)
    convert()
    if bytes_in(Path("out")) != undisturbed:
        unlike.append(change)
print(json.dumps({"changes": change - 1, "unlike": unlike, "invalid": invalid}))
"""


def _arguments(workers: int) -> tuple[str, ...]:
    return "../images", "out", "--workers", str(workers), "--examples-per-shard", "2"


def _to_the_end(place: Path, workers: int) -> float:
    begin = time.monotonic()
    code, said = run(place, *_arguments(workers))
    assert code == 0, said
    return time.monotonic() - begin


def _moment(out: Path, whole_s: float, draws: random.Random, killed: int) -> Callable[[], bool]:
    """When to kill: twice early, then at any time, a little after another shard or at the end."""
    begin, later = time.monotonic(), draws.uniform(0, 0.01)
    kind = draws.choice(["time", "time", "shard", "shard", "end"])
    if kind == "time" or killed < 2:
        end = begin + draws.uniform(0, whole_s if killed >= 2 else whole_s / 3)
        return lambda: time.monotonic() >= end
    shards = len(list(out.glob("*.tfrecord-*"))) + draws.randint(1, 4)

    def come() -> bool:
        if kind == "end":
            return (out / "manifest.parquet").exists()
        return len(list(out.glob("*.tfrecord-*"))) >= shards

    def is_due() -> bool:
        if come():
            time.sleep(later)
            return True
        return False

    return is_due


def _state(out: Path) -> str:
    """How far a killed conversion had come."""
    if (out / "deadlib.json").exists():
        return "finished" if not (out / ".progress").exists() else "tidying"
    shards = len(list(out.glob("*.tfrecord-*")))
    return "writing" if shards else "planning"


@pytest.mark.parametrize("workers", KILLS)
def test_killed_many_times_it_ends_with_the_same_bytes(tmp_path: Path, workers: int) -> None:
    write_images(tmp_path / "images", 70)
    whole_s = _to_the_end(tmp_path / "undisturbed", workers)
    undisturbed = bytes_in(tmp_path / "undisturbed" / "out")
    assert len(undisturbed) > 30
    place, out = tmp_path / "killed", tmp_path / "killed" / "out"
    draws, killed = random.Random(workers), Counter[str]()
    while killed.total() < KILLS[workers]:
        process = start(place, *_arguments(workers))
        is_due = _moment(out, whole_s, draws, killed.total())
        while not is_due() and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        errors = process.communicate()[1]  # ends once all its processes have ended
        if process.returncode == -signal.SIGKILL:
            killed[_state(out)] += 1
            continue
        # It was quicker: what it left is compared, and the rest of the kills meet a new start.
        assert process.returncode == 0 or "already holds a dataset" in errors, errors
        assert bytes_in(out) == undisturbed
        shutil.rmtree(out)
    assert killed["planning"]
    assert killed["writing"] >= KILLS[workers] // 5
    if _state(out) != "finished":
        _to_the_end(place, workers)
    assert bytes_in(out) == undisturbed


def _killed_at_every_change(tmp_path: Path, before: str, *arguments: str) -> int:
    script = tmp_path / "killed_at_every_change.py"
    script.write_text(KILLED_AT_EVERY_CHANGE)
    done = subprocess.run(
        [sys.executable, str(script), before, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["unlike"] == []
    assert found["invalid"] == []
    return int(found["changes"])


@pytest.mark.parametrize("replaced", [False, True], ids=["new", "overwrite"])
def test_killed_before_any_change_on_the_disk_it_ends_with_the_same_bytes(
    tmp_path: Path, replaced: bool
) -> None:
    write_images(tmp_path / "images", 6)
    before, options = "", ["--workers", "1"]
    if replaced:
        write_images(tmp_path / "others", 7, first=50)
        subprocess.run([*COMMAND, "others", "before"], cwd=tmp_path, check=True)
        before, options = "before", [*options, "--overwrite"]
    assert _killed_at_every_change(tmp_path, before, "images", "out", *options) > 20


def test_an_addition_killed_before_any_change_leaves_a_dataset_and_goes_on(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 6)
    subprocess.run([*COMMAND, "images", "before"], cwd=tmp_path, check=True)
    write_images(tmp_path / "images", 4, first=6)
    options = ["--append", "--workers", "1"]
    assert _killed_at_every_change(tmp_path, "before", "images", "out", *options) > 20

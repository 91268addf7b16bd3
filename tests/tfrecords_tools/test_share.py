"""Shares: independent jobs on one folder end with the bytes of a single one, however they meet."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_tools import write
from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.plan import Plan
from tfrecords_tools.share import Share, parse_share
from tfrecords_tools.write import write_dataset, write_share

JOB = """
import os, pickle, sys, time
from pathlib import Path
from tfrecords_tools.share import parse_share
from tfrecords_tools.write import write_share

plan = pickle.loads(Path(sys.argv[1]).read_bytes())
go = Path(sys.argv[4])
Path(f"{go}.{os.getpid()}").touch()
while not go.exists():  # all begin at once, when the slowest has loaded its libraries
    time.sleep(0.001)
write_share(plan, sys.argv[2], parse_share(sys.argv[3]))
"""


@pytest.fixture
def plan(make_small_plan) -> Plan:
    return make_small_plan(images=30, shard_size=3)


@pytest.fixture
def whole(plan, tmp_path) -> dict[str, str]:
    return bytes_in(write_dataset(plan, tmp_path / "whole").folder)


def bytes_in(folder: Path) -> dict[str, str]:
    """Checksums of all files, and the folders, as one that is left behind counts."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        )
        for path in folder.rglob("*")
    }


@given(st.integers(0, 50), st.integers(1, 60))
def test_shares_are_the_whole_and_about_equal(items, count):
    parts = [list(Share(number + 1, count).of(range(items))) for number in range(count)]
    assert list(itertools.chain(*parts)) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/2", "a/b", "1/2/3", "1.5/2"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(PlanError, match=r"expected i/N with i from 1 to N"):
        parse_share(text)


def test_the_last_job_of_any_order_finishes_the_dataset(plan, whole, tmp_path):
    for order in itertools.permutations((1, 2, 3)):
        out = tmp_path / "".join(map(str, order))
        counts = [len(write_share(plan, out, Share(number, 3))) for number in order]
        assert counts[0] > counts[1] > counts[2] == 0
        assert bytes_in(out) == whole


def test_more_jobs_than_shards(plan, whole, tmp_path):
    for number in range(1, 41):
        write_share(plan, tmp_path / "out", Share(number, 40))
    assert bytes_in(tmp_path / "out") == whole


def test_a_job_started_again_changes_nothing(plan, whole, tmp_path):
    out = tmp_path / "out"
    missing = write_share(plan, out, Share(1, 2))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tfrecord-*")}
    assert write_share(plan, out, Share(1, 2)) == missing
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert write_share(plan, out, Share(2, 2)) == []
    assert write_share(plan, out, Share(1, 2)) == []
    assert bytes_in(out) == whole


def test_a_plain_run_completes_what_the_jobs_left(plan, whole, tmp_path):
    out = tmp_path / "out"
    write_share(plan, out, Share(2, 3))
    write_dataset(plan, out)
    assert bytes_in(out) == whole


def test_another_plan_or_dataset_or_folder_is_left_alone(make_small_plan, plan, tmp_path):
    out, other = tmp_path / "out", make_small_plan(seed=1)
    write_share(plan, out, Share(1, 2))
    before = bytes_in(out)
    with pytest.raises(DatasetError, match="interrupted conversion of other images"):
        write_share(other, out, Share(1, 2))
    assert bytes_in(out) == before
    write_share(plan, out, Share(2, 2))
    before = bytes_in(out)
    with pytest.raises(DatasetError, match="already holds a dataset"):
        write_share(other, out, Share(1, 2))
    assert bytes_in(out) == before
    with pytest.raises(DatasetError, match="holds other files"):
        write_share(plan, plan.source, Share(1, 2))


def test_another_job_may_come_between_at_any_change_on_the_disk(
    make_small_plan, tmp_path, monkeypatch
):
    """At each change that the second job makes, the first one starts and does all of its work.

    The first also finds its own share written, so that both may finish the dataset.
    """
    plan = make_small_plan()
    whole = bytes_in(write_dataset(plan, tmp_path / "whole").folder)
    changes = ("replace", "fsync", "unlink", "link", "mkdir", "rmdir")
    real = {name: getattr(os, name) for name in changes}
    for prepared in (False, True):
        for step in itertools.count(1):
            out = tmp_path / f"out{prepared}{step}"
            if prepared:
                write_share(plan, out, Share(1, 2))
            through = not _interleaved(plan, out, step, real, monkeypatch)
            assert bytes_in(out) == whole, f"before change {step}"
            if through:
                break
        assert step > 10


def _interleaved(plan, out, step, real, monkeypatch) -> bool:
    count = 0

    def before(name, *arguments, **keywords):
        nonlocal count
        count += 1
        if count == step:
            with monkeypatch.context() as patch:
                for other, function in real.items():
                    patch.setattr(os, other, function)
                write_share(plan, out, Share(1, 2))
        return real[name](*arguments, **keywords)

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, functools.partial(before, name))
        missing = write_share(plan, out, Share(2, 2))
    if missing:  # the first job came before the second one was through
        write_share(plan, out, Share(1, 2))
    return count >= step


def test_jobs_at_the_same_time_end_with_the_same_bytes(plan, whole, tmp_path):
    stored, script = tmp_path / "plan.pickle", tmp_path / "job.py"
    stored.write_bytes(pickle.dumps(plan))
    script.write_text(JOB)
    out, go = tmp_path / "out", tmp_path / "go"
    jobs = [
        subprocess.Popen(
            [sys.executable, str(script), str(stored), str(out), share, str(go)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in ("1/2", "2/2", "2/2")  # one of them twice, as after a mistaken requeue
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("go.*"))) < len(jobs):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    go.touch()
    for job in jobs:
        errors = job.communicate(timeout=120)[1]
        assert job.returncode == 0, errors
    assert bytes_in(out) == whole


def test_a_plan_that_lost_the_race_is_refused(make_small_plan, plan, tmp_path, monkeypatch):
    """Two jobs of different plans see an empty folder; only the first may go on."""
    out, other = tmp_path / "out", make_small_plan(seed=1)
    first = write.write_first

    def beaten(path, data, scratch):
        monkeypatch.setattr(write, "write_first", first)
        write_share(other, out, Share(1, 2))
        first(path, data, scratch)

    monkeypatch.setattr(write, "write_first", beaten)
    with pytest.raises(DatasetError, match="interrupted conversion of other images"):
        write_share(plan, out, Share(1, 2))
    write_share(other, out, Share(2, 2))
    assert bytes_in(out) == bytes_in(write_dataset(other, tmp_path / "alone").folder)

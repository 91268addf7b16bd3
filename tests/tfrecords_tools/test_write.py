"""Writing: the same bytes whatever happens on the way, and one clear message where it cannot."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfrecords_tools import shards
from tfrecords_tools.dataset import open_dataset
from tfrecords_tools.errors import DatasetError, PlanError, SourceError, WriteError
from tfrecords_tools.plan import Plan
from tfrecords_tools.write import write_dataset

CONVERT = """
import pickle, signal, sys
from pathlib import Path
from tfrecords_tools.write import write_dataset

if __name__ == "__main__":
    # A job in the background inherits an ignored SIGINT; one on a terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    write_dataset(plan, sys.argv[2], workers=int(sys.argv[3]))
"""


def _bytes_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _start(tmp_path: Path, plan: Plan, out: Path, workers: int) -> subprocess.Popen:
    script, stored = tmp_path / "convert_small.py", tmp_path / "plan.pickle"
    script.write_text(CONVERT)
    stored.write_bytes(pickle.dumps(plan))
    return subprocess.Popen(
        [sys.executable, str(script), str(stored), str(out), str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the conversion ended early: {process.communicate()[1]}")
        time.sleep(0.002)


def test_every_row_of_the_manifest_is_its_record(make_small_plan, tmp_path):
    plan = make_small_plan()
    dataset = write_dataset(plan, tmp_path / "out")
    for row, columns in plan.examples.iterrows():
        with Image.open(plan.source / columns["source_id"]) as source:
            pixels = np.asarray(source)[:, columns["left_px"] :][:, : columns["width_px"]]
        np.testing.assert_array_equal(dataset.read_example(row)[..., 0], pixels)


def test_the_manifest_keeps_absent_values_absent(make_small_plan, tmp_path):
    plan = make_small_plan()
    manifest = write_dataset(plan, tmp_path / "out").manifest
    assert "class_index" not in manifest
    assert list(manifest["example_id"]) == list(plan.examples["example_id"])
    assert manifest["treatment"].isna().sum() == 2
    assert manifest["time_hours"].isna().sum() == 2
    assert manifest["top_px"].dtype == np.int64
    assert list(manifest["source_paths"].iloc[0]) == plan.examples["source_paths"].iloc[0]


def test_whole_numbers_beside_an_absent_one_stay_whole(make_small_plan, tmp_path):
    plan = make_small_plan()
    plan.examples["column"] = pd.array([None, *range(len(plan.examples) - 1)], dtype="Int64")
    plan.examples["mixed"] = ["a", 1, *[None] * (len(plan.examples) - 2)]
    manifest = write_dataset(plan, tmp_path / "out").manifest
    assert manifest["column"].dtype == pd.Int64Dtype()
    assert list(manifest["column"][1:4]) == [0, 1, 2]
    assert list(manifest["mixed"][:2]) == ["a", "1"]


def test_the_number_of_workers_does_not_change_a_byte(make_small_plan, tmp_path):
    plan = make_small_plan()
    write_dataset(plan, tmp_path / "one", workers=1)
    write_dataset(plan, tmp_path / "two", workers=2)
    assert _bytes_in(tmp_path / "one") == _bytes_in(tmp_path / "two")


def test_killed_and_started_again_it_ends_with_the_same_bytes(make_small_plan, tmp_path):
    plan = make_small_plan(images=300, side_px=200, shard_size=2)
    write_dataset(plan, tmp_path / "undisturbed")
    out = tmp_path / "out"
    process = _start(tmp_path, plan, out, workers=2)
    _wait_for(lambda: len(list(out.glob("*.tfrecord-*"))) >= 5, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()  # ends once the workers, which hold the pipe too, have ended
    with pytest.raises(DatasetError, match="unfinished"):
        open_dataset(out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tfrecord-*")}
    assert 5 <= len(before) < 60
    write_dataset(plan, out)
    assert _bytes_in(out) == _bytes_in(tmp_path / "undisturbed")
    kept = sum(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())
    assert kept >= 5


def test_an_interrupt_stops_the_workers_and_leaves_no_partial_file(make_small_plan, tmp_path):
    plan = make_small_plan(images=300, side_px=200, shard_size=2)
    out = tmp_path / "out"
    process = _start(tmp_path, plan, out, workers=2)
    _wait_for(lambda: any(out.glob("*.tfrecord-*")), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    errors = process.communicate(timeout=60)[1]
    assert errors.count("Traceback") == 1, errors
    assert "KeyboardInterrupt" in errors
    assert not list(out.rglob("*.partial"))
    write_dataset(plan, out).verify_checksums()


def test_a_shard_changed_between_two_runs_is_written_again(make_small_plan, tmp_path, monkeypatch):
    plan = make_small_plan()
    whole = write_dataset(plan, tmp_path / "whole")
    out = tmp_path / "out"
    _stop_before_the_end(plan, out, monkeypatch)
    shard = next(out.glob("*.tfrecord-*"))
    data = bytearray(shard.read_bytes())
    data[50] ^= 1
    shard.write_bytes(data)
    write_dataset(plan, out)
    assert _bytes_in(out) == _bytes_in(whole.folder)


def _stop_before_the_end(plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an interrupted conversion: all shards, neither manifest nor deadlib.json."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tfrecords_tools.write.fingerprint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(plan, out)


def test_a_full_disk_says_what_is_missing_and_how_to_go_on(make_small_plan, tmp_path, monkeypatch):
    plan = make_small_plan()
    out = tmp_path / "out"
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "fsync", full)
        with pytest.raises(WriteError, match=r"disk is full: about .* MB still .* MB free") as told:
            write_dataset(plan, out)
    assert "start the same command again" in str(told.value)
    assert not list(out.rglob("*.partial"))
    assert not (out / "deadlib.json").exists()
    write_dataset(plan, out).verify_checksums()


def test_a_finished_dataset_is_not_overwritten_unasked(make_small_plan, tmp_path):
    plan, other = make_small_plan(), make_small_plan(seed=1, shard_size=2)
    out = tmp_path / "out"
    write_dataset(plan, out)
    before = _bytes_in(out)
    with pytest.raises(DatasetError, match="already holds a dataset"):
        write_dataset(plan, out)
    assert _bytes_in(out) == before
    write_dataset(other, out, overwrite=True)
    write_dataset(other, tmp_path / "fresh")
    assert _bytes_in(out) == _bytes_in(tmp_path / "fresh")


def test_another_plans_interrupted_conversion_is_not_mixed_in(
    make_small_plan, tmp_path, monkeypatch
):
    plan, other = make_small_plan(), make_small_plan(seed=1)
    out = tmp_path / "out"
    _stop_before_the_end(plan, out, monkeypatch)
    with pytest.raises(DatasetError, match="interrupted conversion of other images or settings"):
        write_dataset(other, out)
    write_dataset(other, out, overwrite=True)
    write_dataset(other, tmp_path / "fresh")
    assert _bytes_in(out) == _bytes_in(tmp_path / "fresh")


def test_killed_while_tidying_up_the_dataset_is_finished(make_small_plan, tmp_path):
    plan = make_small_plan()
    out = tmp_path / "out"
    write_dataset(plan, out)
    before = _bytes_in(out)
    (out / ".progress").mkdir()
    (out / ".progress" / "plan.json").write_text("{}")
    assert write_dataset(plan, out).fingerprint
    assert _bytes_in(out) == before


def test_a_folder_with_other_files_is_left_alone(make_small_plan, tmp_path):
    out = tmp_path / "holiday"
    out.mkdir()
    (out / "photo.png").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"other files \(such as photo.png\)"):
        write_dataset(make_small_plan(), out, overwrite=True)
    assert _bytes_in(out).keys() == {"photo.png"}


def test_a_place_that_cannot_be_written_is_named(make_small_plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        write_dataset(make_small_plan(), tmp_path / "file" / "out")


def test_an_image_that_vanished_after_planning_is_named(make_small_plan, tmp_path):
    plan = make_small_plan()
    (plan.source / "image3.png").unlink()
    with pytest.raises(SourceError, match=r"image3.png: cannot be read \(No such file"):
        write_dataset(plan, tmp_path / "out")


def test_an_image_that_changed_after_planning_is_named(make_small_plan, tmp_path):
    plan = make_small_plan()
    with Image.open(plan.source / "image2.png") as image:
        changed = np.asarray(image) + 1
    Image.fromarray(changed).save(plan.source / "image2.png")
    with pytest.raises(SourceError, match=r"image2.png: the pixels have changed"):
        write_dataset(plan, tmp_path / "out")


def test_rows_out_of_place_are_refused(make_small_plan, tmp_path):
    plan = make_small_plan()
    with pytest.raises(PlanError, match="must stand together"):
        write_dataset(replace(plan, examples=plan.examples.iloc[::-1]), tmp_path / "out")


def test_deadlib_json_tells_how_the_dataset_was_made(make_small_plan, tmp_path):
    plan = make_small_plan()
    seen = []
    dataset = write_dataset(
        plan, tmp_path / "out", command="deadlib-convert a b", progress=lambda *p: seen.append(p)
    )
    info = json.loads((dataset.folder / "deadlib.json").read_text())
    assert info["command"] == "deadlib-convert a b"
    assert info["settings"] == json.loads(json.dumps(plan.settings.to_json()))
    assert info["split"] == plan.split_info
    assert info["skipped"] == list(plan.skipped)
    assert sum(shard["examples"] for shard in info["shards"]) == len(plan.examples)
    assert info["versions"]["tensorflow"]
    assert ("writing", len(plan.examples), len(plan.examples)) in seen

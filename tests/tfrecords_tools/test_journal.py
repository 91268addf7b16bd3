"""The journal: what was seen before a kill is not looked at again, unless it has changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from picture_folder import write_pictures
from PIL import Image

from tfrecords_tools import (
    ConversionSettings,
    DatasetError,
    convert,
    make_plan,
    plan_addition,
    write_dataset,
)
from tfrecords_tools import examine as examine_module
from tfrecords_tools.errors import PlanError, SourceError
from tfrecords_tools.examine import examine_images
from tfrecords_tools.journal import Journal

IMAGES = 208


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as are worth a journal, of two classes."""
    return write_pictures(tmp_path_factory.mktemp("experiment") / "source", IMAGES)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from here on."""
    names: list[str] = []
    examine = examine_module.examine

    def noted(paths: list[Path], sketched: bool) -> object:
        names.extend(path.name for path in paths)
        return examine(paths, sketched)

    monkeypatch.setattr(examine_module, "examine", noted)
    return names


def all_images(source: Path) -> dict[str, tuple[str, ...]]:
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    return {name: (name,) for name in names}


def look(source: Path, folder: Path, begin: float = 0.0) -> dict:
    with Journal(folder, source, begin) as journal:
        facts, problems = examine_images(source, all_images(source), journal=journal)
    assert not problems
    return facts


def bytes_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_facts_are_the_same_from_the_journal_and_from_the_pixels(source, tmp_path, decoded):
    first = look(source, tmp_path)
    assert len(decoded) == IMAGES
    assert look(source, tmp_path) == first == examine_images(source, all_images(source))[0]
    assert len(decoded) == 2 * IMAGES, "only the look without a journal decodes again"


def test_a_torn_or_foreign_line_is_ignored(source, tmp_path, decoded):
    first = look(source, tmp_path)
    (journal,) = tmp_path.glob("*.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + IMAGES
    lines[3] = b'["not", "a note"]\n'
    lines[4] = b"\xff\x00 not JSON\n"
    journal.write_bytes(b"".join(lines)[:-5])
    decoded.clear()
    assert look(source, tmp_path) == first
    assert len(decoded) == 3


def test_a_changed_image_is_looked_at_again(source, tmp_path, decoded):
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    before = look(copy, tmp_path / "notes")
    touched, changed = copy / "dead" / "000.png", copy / "living" / "101.png"
    os.utime(touched, ns=(1, 1))
    Image.fromarray(np.full((9, 9), 7, np.uint16)).save(changed)
    decoded.clear()
    after = look(copy, tmp_path / "notes")
    assert decoded == ["000.png", "101.png"]
    assert {key for key in after if after[key] != before[key]} == {"living/101.png"}


def test_notes_on_another_source_do_not_count(source, tmp_path, decoded):
    copy = tmp_path / "source"
    shutil.copytree(source, copy)  # with the times of change
    look(source, tmp_path / "notes")
    decoded.clear()
    look(copy, tmp_path / "notes")
    assert len(decoded) == IMAGES


def test_two_that_look_at_once_share_the_work(source, tmp_path, decoded, monkeypatch):
    """The second begins in the middle, when the first is at the end of its first task."""
    task = examine_module._examine_task
    second: list[dict] = []

    def interrupted(*arguments):
        monkeypatch.setattr(examine_module, "_examine_task", task)
        second.append(look(source, tmp_path, begin=0.5))
        return task(*arguments)

    monkeypatch.setattr(examine_module, "_examine_task", interrupted)
    first = look(source, tmp_path)
    assert first == second[0]
    assert decoded[0] == list(all_images(source))[IMAGES // 2].split("/")[1]
    assert len(decoded) == IMAGES + 16, "only what was under way is seen twice"


def test_a_problem_is_looked_at_again(source, tmp_path):
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    broken = copy / "dead" / "000.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    images = all_images(copy)
    with Journal(tmp_path / "notes", copy) as journal:
        assert [p.path for p in examine_images(copy, images, journal=journal)[1]] == [
            "dead/000.png"
        ]
    broken.write_bytes(whole)
    assert len(look(copy, tmp_path / "notes")) == IMAGES


PLAN = """
import sys, time
from pathlib import Path
from tfrecords_tools import examine as module
from tfrecords_tools.conversion import convert

examine = module.examine
def slow(paths, sketched):
    time.sleep(0.01)
    return examine(paths, sketched)
module.examine = slow
convert(sys.argv[1], sys.argv[2])
"""


def test_killed_while_planning_it_goes_on_and_ends_with_the_same_bytes(source, tmp_path, decoded):
    plan = make_plan(source)
    whole = tmp_path / "whole"
    convert(source, whole)
    out = tmp_path / "out"
    for kept in (16, 80):
        process = subprocess.Popen([sys.executable, "-c", PLAN, str(source), str(out)])
        deadline = time.monotonic() + 60
        while _noted(out) < kept:
            assert process.poll() is None, "the conversion ended early"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not [path for path in out.iterdir() if path.name != ".progress"]
    decoded.clear()
    with Journal(out / ".progress", source) as journal:
        again = make_plan(source, journal=journal)
    assert len(decoded) <= IMAGES - 80
    pd.testing.assert_frame_equal(again.examples, plan.examples)
    assert again.facts == plan.facts
    decoded.clear()
    convert(source, out)
    assert not decoded
    assert bytes_in(out) == bytes_in(whole)
    assert not (out / ".progress").exists()


def _noted(out: Path) -> int:
    files = out.glob(".progress/*.journal")
    return sum(len(path.read_bytes().splitlines()) - 1 for path in files)


def test_notes_serve_another_plan_of_the_same_source(source, tmp_path, decoded):
    out = tmp_path / "out"
    with pytest.raises(PlanError, match="give one name for each channel"):
        convert(source, out, ConversionSettings(channels=("a", "b")))
    decoded.clear()
    convert(source, out)
    assert not decoded


def test_overwriting_keeps_the_notes_until_the_end(source, tmp_path, decoded, monkeypatch):
    out = tmp_path / "out"
    convert(source, out, ConversionSettings(seed=1))
    again = ConversionSettings(seed=2)
    with monkeypatch.context() as patch:
        patch.setattr("tfrecords_tools.write.fingerprint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert(source, out, again, overwrite=True)
    decoded.clear()
    convert(source, out, again, overwrite=True)
    assert not decoded
    convert(source, tmp_path / "fresh", again)
    assert bytes_in(out) == bytes_in(tmp_path / "fresh")


def write_tiffs(folder: Path, count: int, first: int) -> Path:
    for number in range(first, first + count):
        path = folder / ("dead", "living")[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 999, (9, 9), dtype=np.uint16)
        tifffile.imwrite(path, pixels)
    return folder


@pytest.mark.parametrize("append", [False, True])
def test_notes_that_were_wrong_are_not_believed_again(tmp_path, append):
    """As of an OME-TIFF in several files, of which only the first is looked at for changes."""
    source, out = write_tiffs(tmp_path / "source", IMAGES, first=1000), tmp_path / "out"
    onto = convert(write_tiffs(tmp_path / "first", 20, first=0), out) if append else None

    def plan():
        with Journal(out / ".progress", source) as journal:
            if onto is None:
                return make_plan(source, journal=journal)
            return plan_addition(onto, source, journal=journal)

    planned, image = plan(), source / "dead" / "1000.tif"
    before = image.stat()
    tifffile.imwrite(image, np.zeros((9, 9), np.uint16) + np.arange(9, dtype=np.uint16))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = "start the same command again" if append else "start again with --overwrite"
    with pytest.raises(SourceError, match=rf"1000.tif: the pixels have changed .*{again}"):
        write_dataset(planned, out)
    dataset = write_dataset(plan(), out, overwrite=not append)
    assert len(dataset.manifest) == IMAGES + 20 * append


def test_a_folder_with_other_files_gets_no_journal(source, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"other files \(such as photo.png\)"):
        convert(source, tmp_path, overwrite=True)
    assert bytes_in(tmp_path).keys() == {"photo.png"}

"""A split kept in memory or on the disk: the same batches, whole or not there at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deadlib.data import cache
from deadlib.data.cache import available_memory_bytes, cache_path, check_memory, hold, on_disk
from deadlib.data.order import Shuffled
from deadlib.data.pipeline import Source, open_source
from deadlib.errors import RecipeError
from deadlib.recipe import InputSection
from tfrecords_tools import Dataset
from tfrecords_tools.errors import WriteError

SECTION = InputSection(size_px=(8, 8))


def parts_of(source: Source) -> list[dict[str, Any]]:
    return list(source.batches(batch=5, order=Shuffled(1, 2), skip=1).as_numpy_iterator())


def assert_same(found: Source, expected: Source) -> None:
    for one, other in zip(parts_of(found), parts_of(expected), strict=True):
        for name in other:
            np.testing.assert_array_equal(one[name], other[name])
            assert one[name].dtype == other[name].dtype


@pytest.mark.parametrize("name", ["uniform", "mixed"])
def test_kept_images_are_those_of_the_shards(
    uniform_dataset: Dataset, mixed_dataset: Dataset, tmp_path: Path, name: str
) -> None:
    dataset = {"uniform": uniform_dataset, "mixed": mixed_dataset}[name]
    source = open_source(dataset, "train", SECTION)
    path = cache_path(tmp_path / "cache", dataset, "train", SECTION)
    assert_same(hold(source), source)
    assert_same(on_disk(source, path), source)
    assert path.stat().st_size == source.image_bytes
    assert os.listdir(path.parent) == [path.name]


def broken(source: Source) -> Source:
    """A source that cannot be read."""

    def read(chosen: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.Assert(tf.constant(False), ["not to be read"])]):
            return tf.zeros((tf.size(chosen), *source.shape), source.dtype)

    return replace(source, read=read)


def test_a_cache_that_is_there_is_not_made_again(uniform_dataset: Dataset, tmp_path: Path) -> None:
    source = open_source(uniform_dataset, "train", SECTION)
    on_disk(source, tmp_path / "images")
    assert_same(on_disk(broken(source), tmp_path / "images"), source)


def test_half_a_cache_is_never_taken(uniform_dataset: Dataset, tmp_path: Path) -> None:
    source = open_source(uniform_dataset, "train", SECTION)
    path = tmp_path / "images"
    with pytest.raises(tf.errors.InvalidArgumentError):
        on_disk(broken(source), path)
    assert not path.exists()
    path.write_bytes(b"cut")
    assert_same(on_disk(source, path), source)
    assert os.listdir(tmp_path) == ["images"]


def test_another_dataset_split_or_size_is_another_file(
    uniform_dataset: Dataset, tmp_path: Path
) -> None:
    changed = Dataset(uniform_dataset.folder, {**uniform_dataset.info, "fingerprint": "another"})
    others = [
        cache_path(tmp_path, changed, "train", SECTION),
        cache_path(tmp_path, uniform_dataset, "validation", SECTION),
        cache_path(tmp_path, uniform_dataset, "train", InputSection(size_px=(4, 8))),
        cache_path(tmp_path, uniform_dataset, "train", SECTION),
    ]
    assert len(set(others)) == 4
    same = InputSection(size_px=(8, 8), cache="disk", cache_folder="elsewhere")
    assert cache_path(tmp_path, uniform_dataset, "train", same) == others[3]


_WRITER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from deadlib.data.cache import on_disk
from deadlib.data.pipeline import open_source
from deadlib.recipe import InputSection
from tfrecords_tools import open_dataset

def slowly(stage, done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[3]))

source = open_source(open_dataset(sys.argv[1]), "train", InputSection(size_px=(8, 8)))
on_disk(source, Path(sys.argv[2]), slowly)
"""


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(
    uniform_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "images"
    command = [sys.executable, "-c", _WRITER, str(uniform_dataset.folder), str(path), "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        # Its data are written, but not its end.
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert len(os.listdir(tmp_path)) == 1
    source = open_source(uniform_dataset, "train", SECTION)
    assert_same(on_disk(source, path), source)
    assert os.listdir(tmp_path) == ["images"]


def test_of_two_that_want_a_cache_one_writes_it(uniform_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "images"
    command = [sys.executable, "-c", _WRITER, str(uniform_dataset.folder), str(path), "2"]
    source = open_source(uniform_dataset, "train", SECTION)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = on_disk(broken(source), path)
    assert process.returncode == 0
    assert_same(found, source)
    assert os.listdir(tmp_path) == ["images"]


def test_memory_that_would_not_suffice_is_told_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "available_memory_bytes", lambda: 3 * 2**30)
    check_memory(2 * 2**30, "train")
    with pytest.raises(RecipeError, match=r"the split train take 2\.9 GiB, and 3\.0 GiB of memory"):
        check_memory(int(2.9 * 2**30), "train")
    monkeypatch.setattr(cache, "available_memory_bytes", lambda: None)
    check_memory(2**60, "train")


def test_free_memory_is_what_another_library_finds() -> None:
    psutil = pytest.importorskip("psutil")
    found = available_memory_bytes()
    if found is not None:
        assert found == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_disk_without_room_is_told_before_it_is_filled(
    uniform_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(uniform_dataset, "train", SECTION)
    large = replace(source, shape=(2**20, 2**20, 1))
    with pytest.raises(RecipeError, match=r"input\.cache: disk: .* would take .* GiB are free"):
        on_disk(large, tmp_path / "images")


def test_a_folder_that_cannot_be_made_is_told(uniform_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = open_source(uniform_dataset, "train", SECTION)
    with pytest.raises(WriteError, match="cannot be written"):
        on_disk(source, tmp_path / "file" / "images")

"""A disk that is full, read-only or gone: one clear message, and the same command goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_conversions import bytes_in, run, start, write_images

from tfrecords_tools.dataset import open_dataset

ARGUMENTS = ("../images", "out", "--workers", "2", "--examples-per-shard", "4")
KILOBYTES = 100


class Disk:
    """A small file system of its own, in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """`tmp_path/place/out` on a disk of 100 kB."""
    disk = Disk(tmp_path / "place" / "out")
    disk.folder.mkdir(parents=True)
    if not disk.mount(f"size={KILOBYTES}k"):
        pytest.skip("FULL AND READ-ONLY DISKS NOT TESTED: mounting a tmpfs is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk.folder)], check=True)


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    write_images(tmp_path / "images", 60, side_px=40)
    code, said = run(tmp_path / "undisturbed", *ARGUMENTS)
    assert code == 0, said
    return bytes_in(tmp_path / "undisturbed" / "out")


def test_a_full_disk_says_what_is_missing_and_the_same_command_goes_on(
    disk: Disk, undisturbed: dict[str, bytes]
) -> None:
    code, said = run(disk.folder.parent, *ARGUMENTS)
    assert code == 1
    assert "out: the disk is full: about 0." in said
    assert "make room and start the same command again" in said
    assert "Traceback" not in said
    left = bytes_in(disk.folder)
    assert not any(name.endswith(".partial") for name in left)
    shards = {name: data for name, data in left.items() if ".tfrecord-" in name and "/" not in name}
    assert shards
    assert all(undisturbed[name] == data for name, data in shards.items())
    assert disk.mount("remount,size=4m")
    code, said = run(disk.folder.parent, *ARGUMENTS)
    assert code == 0, said
    assert bytes_in(disk.folder) == undisturbed


def test_an_addition_to_a_full_disk_leaves_the_dataset_as_it_was(
    disk: Disk, tmp_path: Path
) -> None:
    write_images(tmp_path / "images", 16, side_px=20)
    code, said = run(disk.folder.parent, *ARGUMENTS)
    assert code == 0, said
    before = bytes_in(disk.folder)
    write_images(tmp_path / "images", 60, first=16, side_px=40)
    add = (*ARGUMENTS, "--append", "--allow-mixed")
    code, said = run(disk.folder.parent, *add)
    assert code == 1
    assert "the disk is full" in said
    open_dataset(disk.folder).verify_checksums()
    after = bytes_in(disk.folder)
    assert {name: after[name] for name in before} == before
    assert disk.mount("remount,size=4m")
    code, said = run(disk.folder.parent, *add)
    assert code == 0, said
    assert len(open_dataset(disk.folder).manifest) == 76


def test_a_disk_that_turns_read_only_is_named_and_the_same_command_goes_on(
    disk: Disk, undisturbed: dict[str, bytes]
) -> None:
    assert disk.mount("remount,ro")
    code, said = run(disk.folder.parent, *ARGUMENTS)
    assert code == 1
    assert "cannot be written (Read-only file system); make the folder writable" in said
    assert "Traceback" not in said
    assert disk.mount("remount,rw,size=4m")
    code, said = run(disk.folder.parent, *ARGUMENTS)
    assert code == 0, said
    assert bytes_in(disk.folder) == undisturbed


def test_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 12)
    (tmp_path / "place").mkdir(mode=0o755)
    if os.geteuid() == 0:
        pytest.skip("FOLDERS WITHOUT PERMISSION NOT TESTED: nothing is forbidden to root")
    (tmp_path / "place").chmod(0o555)
    code, said = run(tmp_path / "place", *ARGUMENTS)
    (tmp_path / "place").chmod(0o755)
    assert code == 1
    assert "cannot be written (Permission denied); make the folder writable" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_source_that_vanishes_is_said_and_the_same_command_goes_on(
    tmp_path: Path, workers: str
) -> None:
    images = write_images(tmp_path / "images", 240, side_px=64)
    arguments = ("../images", "out", "--workers", workers, "--examples-per-shard", "1")
    code, said = run(tmp_path / "undisturbed", *arguments)
    assert code == 0, said
    out = tmp_path / "place" / "out"
    process = start(tmp_path / "place", *arguments)
    while len(list(out.glob("*.tfrecord-*"))) < 3 and process.poll() is None:
        time.sleep(0.001)
    images.rename(tmp_path / "unplugged")
    said = process.communicate()[1]
    assert process.returncode == 1, said
    assert "images: the source folder has vanished while it was converted" in said
    assert "Traceback" not in said
    (tmp_path / "unplugged").rename(images)
    code, said = run(tmp_path / "place", *arguments)
    assert code == 0, said
    assert bytes_in(out) == bytes_in(tmp_path / "undisturbed" / "out")

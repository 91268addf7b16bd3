"""`deadlib-slice` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from picture_folder import write_pictures


def sliced(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deadlib.cli.slice", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("slice") / "images", 10, side_px=20)


def test_a_share_of_whole_images_becomes_test(images: Path, tmp_path: Path) -> None:
    ended = sliced(images, tmp_path / "tiles", "--tiles", "8", "--share", "0.2", "--workers", "1")
    assert ended.returncode == 0, ended.stderr
    assert "80 tiles of 10 images" in ended.stdout
    assert "test: 16 tiles of 2 images in 2 groups" in ended.stdout
    assert len(list((tmp_path / "tiles" / "test").rglob("*.png"))) == 16


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--tiles", "5"], 2, "'5' is not one of"),
        (["--share", "0.2", "--hold-out", "plate=1"], 2, "choose one"),
        (["--hold-out", "plate=1"], 1, "hold out plate: no such column"),
    ],
)
def test_mistakes_are_said_in_one_message(
    images: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    ended = sliced(images, tmp_path / "tiles", *arguments, "--workers", "1")
    assert ended.returncode == code
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "tiles").exists()

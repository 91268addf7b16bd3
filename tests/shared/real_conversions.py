"""The real command on small images, and every byte that it leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COMMAND = (sys.executable, "-m", "deadlib.cli.convert")


def write_images(folder: Path, count: int, first: int = 0, side_px: int = 8) -> Path:
    """Images of two classes, each with pixels of its own; the same for the same numbers."""
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, (side_px,) * 2, dtype=np.uint8)
        path = folder / ("dead", "living")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a folder of its own, so that the same words name other files."""
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(place: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of the command, and what it said on stderr."""
    process = start(place, *arguments)
    said = process.communicate(timeout=300)[1]
    return process.returncode, said

"""What the measurements share: sources, clocks, the machine in words."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def machine() -> str:
    return f"{platform.platform()}, Python {platform.python_version()}, {cores()} cores"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def write_images(folder: Path, count: int, size_px: int = 256) -> None:
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / ("dying" if index % 2 else "healthy") / f"{index:06d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 4096, (size_px, size_px), dtype=np.uint16)
        image[: size_px // 2] += np.uint16(2000 * (index % 2))
        tifffile.imwrite(path, image)


def peers_python() -> str:
    """The Python of the libraries that deadlib is measured against; bin/bench makes it."""
    return os.environ["DEADLIB_PEERS_PYTHON"]


class Peer:
    """The other side, in its own environment: a script that does its work once for every line."""

    def __init__(self, script: str, *arguments: object) -> None:
        path = Path(__file__).with_name(script)
        self._process = subprocess.Popen(
            [peers_python(), str(path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asked: Any = self._process.stdin
        self._answered: Any = self._process.stdout

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.close()
        self._process.wait()

    def __call__(self) -> None:
        """The work, once; over when it is done."""
        self._asked.write("\n")
        self._asked.flush()
        if not self._answered.readline():
            raise click.ClickException("the libraries to compare with failed, see above")

"""What the measurements share: sources, clocks, the machine in words."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
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


def peak_of(command: str, arguments: list[str]) -> dict[str, float]:
    """Peak memory of a command with its children (`all_mib`, `largest_mib`), and its `seconds`."""
    script = _PEAK.format(command=command, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if done.returncode:
        told, _, _ = done.stderr.partition("Traceback")
        raise SystemExit(f"deadlib-{command} failed:\n{told[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


_PEAK = """
import json, sys, threading, time
from importlib import import_module
import psutil

peak = {{"all": 0, "largest": 0}}

def watch():
    me = psutil.Process()
    while True:
        sizes = []
        for process in [me, *me.children(recursive=True)]:
            try:
                sizes.append(process.memory_full_info().pss)
            except psutil.Error:
                pass
        peak["all"] = max(peak["all"], sum(sizes))
        peak["largest"] = max(peak["largest"], max(sizes))
        time.sleep(0.05)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    began = time.monotonic()
    try:
        import_module("deadlib.cli.{command}").main({arguments})
    except SystemExit as end:
        assert not end.code
    found = {{key + "_mib": round(value / 2**20) for key, value in peak.items()}}
    print(json.dumps(found | {{"seconds": time.monotonic() - began}}))
"""

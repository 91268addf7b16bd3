"""How much memory this process and its children use together."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.1
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Watch this process and its children; the value says the peak so far, in bytes.

    The peak is of the sum of their proportional set sizes (what is shared counts once), looked at
    ten times a second. It is 0 where the system does not tell, as other than Linux.
    """
    peak, stop = [memory_now()], threading.Event()

    def watch() -> None:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            peak[0] = max(peak[0], memory_now())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: peak[0]
    finally:
        stop.set()
        watcher.join()


def memory_now() -> int:
    """Proportional set size of this process and its children, in bytes; 0 where unknown."""
    return sum(_pss(number) for number in (os.getpid(), *_children()))


def _children() -> list[int]:
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found += [int(number) for number in path.read_text().split()]
        except OSError:  # a thread that has just ended
            continue
    return found


def _pss(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_bytes()
    except OSError:  # a process that has just ended, or a system without it
        return 0
    match = _PSS.search(text)
    return 1024 * int(match[1]) if match else 0

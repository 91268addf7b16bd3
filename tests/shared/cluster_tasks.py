"""Tasks for the workers of a cluster, which import them by the name of this module."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tfrecords_tools.errors import ImageError
from tfrecords_tools.pool import check_stop


def process_of(_: object) -> int:
    time.sleep(0.05)
    return os.getpid()


def count_or_fail(task: tuple[Path, int]) -> int:
    folder, number = task
    if number == 3:
        raise ImageError("number 3 is bad")
    for step in range(400):
        check_stop()
        (folder / f"{number}").write_text(str(step))
        time.sleep(0.02)
    return number

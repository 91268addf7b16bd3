"""The pool: results, errors and dead workers reach the caller."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfrecords_tools.errors import ImageError, WriteError
from tfrecords_tools.images import examine
from tfrecords_tools.pool import run_tasks


def _images(folder: Path, count: int) -> list[list[Path]]:
    for number in range(count):
        Image.fromarray(np.full((4, 5 + number), number, np.uint8)).save(folder / f"{number}.png")
    return [[folder / f"{number}.png"] for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gives_one_result(tmp_path, workers):
    widths = []
    run_tasks(
        examine,
        _images(tmp_path, 9),
        workers=workers,
        finished=lambda facts: widths.append(facts.width_px),
    )
    assert sorted(widths) == list(range(5, 14))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_all_tasks(tmp_path, workers):
    tasks = [*_images(tmp_path, 3), [tmp_path / "gone.png"], *_images(tmp_path, 3)]
    with pytest.raises(ImageError, match=r"gone.png: cannot be read"):
        run_tasks(examine, tasks, workers=workers, finished=lambda _: None)


def test_a_dead_worker_is_told_with_what_to_do():
    with pytest.raises(WriteError, match="start again with fewer workers"):
        run_tasks(os._exit, [3], workers=2, finished=lambda _: None)

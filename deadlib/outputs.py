"""Nothing half-written is left looking whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfrecords_tools.errors import WriteError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, for a file or a folder; the end of the block renames it.

    After an error nothing is left of it. Raises WriteError where the disk refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    with write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(partial)
            yield partial
            os.replace(partial, path)
        finally:
            _remove(partial)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into a WriteError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = (
            "make room and start the same command again"
            if error.errno == errno.ENOSPC
            else "make the folder writable, or give another place"
        )
        raise WriteError(f"{path}: cannot be written ({reason}); {advice}") from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

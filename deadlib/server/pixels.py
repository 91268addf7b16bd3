"""Where the bytes and pixels of dropped files lie: on disk, but under no name.

The operating system frees such a file when it is closed or when the process ends, however it ends.
"""

from __future__ import annotations

import math
import tempfile
import threading
from typing import BinaryIO

import numpy as np


def unnamed_file() -> BinaryIO:
    """An empty file that no other process finds."""
    return tempfile.TemporaryFile(prefix="deadlib-serve-")


class Pixels:
    """Images in a file without a name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._file = unnamed_file()
        self._places: list[tuple[int, tuple[int, ...], np.dtype]] = []
        self._lock = threading.Lock()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def append(self, image: np.ndarray) -> None:
        """Keep an image (H, W, C). Raises OSError where the disk is full."""
        with self._lock:
            self._file.seek(self.size_bytes)
            self._file.write(image.tobytes())
            self._places.append((self.size_bytes, image.shape, image.dtype))
            self.size_bytes += image.nbytes

    def image(self, number: int) -> np.ndarray:
        """The image (H, W, C) of that number, counted from 0, in its own type."""
        start, shape, dtype = self._places[number]
        with self._lock:
            self._file.seek(start)
            data = self._file.read(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)

    def shape(self, number: int) -> tuple[int, int]:
        """Rows and columns of an image."""
        rows, columns, _ = self._places[number][1]
        return rows, columns

    def close(self) -> None:
        self._file.close()

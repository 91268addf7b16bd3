"""Frames that are kept for the browser."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deadlib.panel.pixels import Pixels


class Reader:
    def __init__(self, kept_bytes: int = 10**6) -> None:
        self.asked: list[str] = []
        self._pixels = Pixels(kept_bytes)

    def frame(self, item: str) -> NDArray[np.generic]:
        return self._pixels.frame(item, lambda: self._read(item))

    def _read(self, item: str) -> NDArray[np.generic]:
        self.asked.append(item)
        if item == "broken":
            raise OSError("gone")
        return np.full((10, 10, 1), ord(item), np.uint8)


def test_a_frame_is_read_once() -> None:
    reader = Reader()
    assert [chr(int(reader.frame(item).max())) for item in "aba"] == ["a", "b", "a"]
    assert reader.asked == ["a", "b"]


def test_no_more_is_kept_than_was_allowed_and_the_oldest_goes() -> None:
    reader = Reader(kept_bytes=250)
    for item in "abacab":
        reader.frame(item)
    assert reader.asked == ["a", "b", "c", "b"]


def test_a_frame_larger_than_all_that_may_be_kept_is_still_given() -> None:
    assert Reader(kept_bytes=10).frame("a").shape == (10, 10, 1)


def test_what_cannot_be_read_is_not_kept() -> None:
    reader = Reader()
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            reader.frame("broken")
    assert len(reader.asked) == 2

"""What planning has seen, noted as it goes, so that no image is looked at twice.

Every process that plans appends to a file of its own in `.progress/` and reads those of all: of
earlier runs that were stopped, and of other jobs that plan the same conversion at this moment.
A note holds only for files of the size and the time of change that they had when it was made.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

from tfrecords_tools.errors import WriteError
from tfrecords_tools.images import ImageFacts
from tfrecords_tools.locator import Locator

JOURNAL_SUFFIX = ".journal"

_VERSION = 1

# Of each file: its size in bytes and when it was changed, in ns.
_Stamps = list[list[int]]
_Key = tuple[str, ...]
_Item = TypeVar("_Item")


class Journal:
    """The facts of images already decoded, by their locators below `source`.

    Args:
        folder: where the journals lie; it is made with the first note.
        source: the source folder; notes on another one do not count.
        begin: the share of all images, from 0 up to 1, after which this process begins to look,
            so that several processes meet each other's work as late as possible.
    """

    def __init__(self, folder: Path, source: Path, begin: float = 0.0) -> None:
        self._folder = folder
        self._source = source
        self._begin = begin
        self._header = {"version": _VERSION, "source": str(source.resolve())}
        self._known: dict[_Key, tuple[_Stamps, ImageFacts]] = {}
        self._seen: dict[_Key, _Stamps] = {}
        self._read_to: dict[Path, int] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def in_order(self, images: Sequence[_Item]) -> list[_Item]:
        """The images in the order in which this process looks at them."""
        begin = int(self._begin * len(images))
        return [*images[begin:], *images[:begin]]

    def recall(self, paths: Sequence[str]) -> ImageFacts | None:
        """The facts of an image, or None where it must be decoded (as are changed files)."""
        key = tuple(paths)
        stamps = self._stamps(key)
        if stamps is None:
            return None
        noted = self._known.pop(key, None)
        if noted is not None and noted[0] == stamps:
            return noted[1]
        self._seen[key] = stamps
        return None

    def note(self, facts: Sequence[tuple[Sequence[str], ImageFacts]]) -> None:
        """Keep the facts of images for which `recall` knew nothing.

        Raises WriteError where the disk refuses.
        """
        lines = b"".join(
            _line([list(paths), self._seen.pop(tuple(paths)), asdict(fact)])
            for paths, fact in facts
            if tuple(paths) in self._seen
        )
        if not lines:
            return
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._folder / f"images.{secrets.token_hex(8)}{JOURNAL_SUFFIX}"
                self._file = path.open("xb")
                self._read_to[path] = -1
                lines = _line(self._header) + lines
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            raise WriteError(
                f"{error.filename or self._folder}: cannot be written "
                f"({error.strerror or error}); make room or make the folder writable, and start "
                "the same command again"
            ) from None

    def read_news(self) -> None:
        """Read what has been noted since the last time, here or by another process."""
        for path in self._folder.glob(f"*{JOURNAL_SUFFIX}"):
            start = self._read_to.get(path, 0)
            if start < 0:
                continue
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read()
            except OSError:  # taken away as the dataset is finished
                continue
            whole = data[: data.rfind(b"\n") + 1]  # what follows is still being written, or torn
            lines = whole.splitlines()
            if start == 0 and lines and _parsed(lines.pop(0)) != self._header:
                self._read_to[path] = -1
                continue
            self._read_to[path] = start + len(whole)
            for line in lines:
                self._learn(_parsed(line))

    def _learn(self, note: Any) -> None:
        try:
            paths, stamps, fact = note
            fact = ImageFacts(**{**fact, "low": tuple(fact["low"]), "high": tuple(fact["high"])})
            self._known[tuple(paths)] = (stamps, fact)
        except (KeyError, TypeError, ValueError):
            return

    def _stamps(self, paths: _Key) -> _Stamps | None:
        """Size and time of change of every file; None for folders, whose own say nothing."""
        files = dict.fromkeys(file for path in paths for file in Locator.parse(path).files)
        try:
            found = [os.stat(self._source / file) for file in files]
        except OSError:
            return None
        if any(stat.S_ISDIR(status.st_mode) for status in found):
            return None
        return [[status.st_size, status.st_mtime_ns] for status in found]


def _line(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None

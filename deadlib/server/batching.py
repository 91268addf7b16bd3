"""One queue before the model: rows that arrive together are answered together.

A row is the input of one image. Rows of equal keys (model, version, signature, sizes) may share a
batch. The queue is bounded in rows and bytes, so that a server that cannot keep up says so at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from deadlib.errors import WebError
from deadlib.server.settings import Settings


class Row(NamedTuple):
    """The input of one image; rows of equal keys may share a batch."""

    key: Hashable
    value: Any
    nbytes: int


Run = Callable[[Any, list[Any]], list[Any]]
"""(key, rows) to one answer for each row; blocks; raises where one of the rows is bad."""
OnBatch = Callable[[Any, int, float], None]
"""Told of every batch: key, rows, seconds."""


class OverloadedError(WebError):
    """More is waiting than the queue holds. `retry_after_seconds`: when there may be room."""

    def __init__(self, waiting: int, retry_after_seconds: int) -> None:
        super().__init__(
            "The batch scheduling queue to which this task was submitted is full: "
            f"{waiting} images wait; try again in {retry_after_seconds} s"
        )
        self.retry_after_seconds = retry_after_seconds


class TooManyImagesError(WebError):
    """A request that is larger than the whole queue."""


@dataclass
class _Waiting:
    row: Row
    arrived: float
    answer: asyncio.Future[Any]


class Batcher:
    """Collects rows into batches and runs them one after another in a thread of its own.

    Belongs to one event loop: `start` and everything after it is called there.
    """

    def __init__(self, run: Run, settings: Settings, on_batch: OnBatch | None = None) -> None:
        self._run = run
        self._settings = settings
        self._on_batch = on_batch
        self._waiting: dict[Hashable, deque[_Waiting]] = {}
        self._rows = self._bytes = self._reading = self._reading_bytes = 0
        self._seconds_per_row = 0.0
        self._thread = ThreadPoolExecutor(1, "model")
        self._work: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def waiting(self) -> int:
        """Rows that no batch has taken yet."""
        return self._rows

    def start(self) -> None:
        self._arrived = asyncio.Event()
        self._room = asyncio.Condition()
        self._work = asyncio.create_task(self._batches())

    async def close(self) -> None:
        """Answer what waits, then end."""
        self._closing = True
        if self._work is not None:
            self._arrived.set()
            await self._work
        self._thread.shutdown()

    async def ask(self, rows: Sequence[Row], *, patient: bool = False) -> list[Any]:
        """The answer for each of `rows`, or the exception that it met.

        patient: wait for room, for work that nobody stands and waits for. Otherwise raises
        OverloadedError where the queue is full. Raises TooManyImagesError where it never could
        hold the rows.
        """
        nbytes = sum(row.nbytes for row in rows)
        self._refuse_too_many(len(rows), nbytes)
        if patient:
            async with self._room:
                await self._room.wait_for(lambda: self._fits(len(rows), nbytes))
        elif not self._fits(len(rows), nbytes):
            raise OverloadedError(self._rows, self._retry_after_seconds())
        loop, now = asyncio.get_running_loop(), time.monotonic()
        entered = [_Waiting(row, now, loop.create_future()) for row in rows]
        for waiting in entered:
            self._waiting.setdefault(waiting.row.key, deque()).append(waiting)
        self._rows += len(rows)
        self._bytes += nbytes
        self._arrived.set()
        try:
            return await asyncio.gather(*(w.answer for w in entered), return_exceptions=True)
        finally:
            # Of a request that was given up no row needs an answer any more.
            for waiting in entered:
                waiting.answer.cancel()

    @contextmanager
    def admitted(self, nbytes: int) -> Iterator[None]:
        """While a request of so many bytes is read, before it is known what it asks: it counts as
        one row. Raises OverloadedError where there is no room for that.
        """
        waiting = self._rows + self._reading
        full = self._bytes + self._reading_bytes + nbytes > self._settings.queue_bytes
        if waiting >= self._settings.queue_images or (waiting and full):
            raise OverloadedError(waiting, self._retry_after_seconds())
        self._reading += 1
        self._reading_bytes += nbytes
        try:
            yield
        finally:
            self._reading -= 1
            self._reading_bytes -= nbytes

    def _refuse_too_many(self, rows: int, nbytes: int) -> None:
        limits = self._settings
        if rows > limits.queue_images or nbytes > limits.queue_bytes:
            raise TooManyImagesError(
                f"{rows} images ({nbytes / 2**20:.0f} MiB as floats) in one request, expected at "
                f"most {limits.queue_images} ({limits.queue_bytes / 2**20:.0f} MiB); send several"
            )

    def _fits(self, rows: int, nbytes: int) -> bool:
        limits = self._settings
        return (
            self._rows + rows <= limits.queue_images and self._bytes + nbytes <= limits.queue_bytes
        )

    def _retry_after_seconds(self) -> int:
        return max(1, math.ceil(self._rows * self._seconds_per_row))

    async def _batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key, due = self._next()
            if key is None:
                if self._closing and not self._waiting:
                    return
                self._arrived.clear()
                timeout = None if due is None else max(0.0, due - time.monotonic())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), timeout)
                continue
            rows = await self._taken(key)
            if not rows:
                continue
            started = time.monotonic()
            values = [waiting.row.value for waiting in rows]
            answers = await loop.run_in_executor(self._thread, run_whole, self._run, key, values)
            seconds = time.monotonic() - started
            self._seconds_per_row = seconds / len(rows)
            if self._on_batch is not None:
                self._on_batch(key, len(rows), seconds)
            for waiting, answer in zip(rows, answers, strict=True):
                _settle(waiting.answer, answer)

    def _next(self) -> tuple[Hashable | None, float | None]:
        """The key to be run now; else None, and when one will be due."""
        if not self._waiting:
            return None, None
        oldest = min(self._waiting, key=lambda key: self._waiting[key][0].arrived)
        due = self._waiting[oldest][0].arrived + self._settings.delay_seconds
        if self._closing or due <= time.monotonic():
            return oldest, None
        for key, rows in self._waiting.items():
            if len(rows) >= self._settings.largest_batch:
                return key, None
        return None, due

    async def _taken(self, key: Hashable) -> list[_Waiting]:
        """The rows of the next batch of `key`, out of the queue."""
        waiting, nbytes = self._waiting[key], 0
        taken: list[_Waiting] = []
        while waiting and len(taken) < self._settings.largest_batch:
            if taken and nbytes + waiting[0].row.nbytes > self._settings.largest_batch_bytes:
                break
            first = waiting.popleft()
            self._rows -= 1
            self._bytes -= first.row.nbytes
            if not first.answer.done():
                taken.append(first)
                nbytes += first.row.nbytes
        if not waiting:
            del self._waiting[key]
        async with self._room:
            self._room.notify_all()
        return taken


def run_whole(run: Run, key: Any, rows: list[Any]) -> list[Any]:
    """One answer or exception for each row: a bad row fails alone, found by halving the batch."""
    try:
        return run(key, rows)
    except Exception as error:  # whatever the model says of a bad row
        if len(rows) == 1:
            return [error]
        half = len(rows) // 2
        return run_whole(run, key, rows[:half]) + run_whole(run, key, rows[half:])


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)

"""What people drop on the page, from upload to answers, and gone when they leave.

A job holds the files of one visit and is known by a random name. Files are decoded one after
another; their images, or the windows of larger ones, go to the model in pieces, so that a lapse
shows its first frames while its last ones arrive. A job ends when the page is left, or when nobody
has asked for it for a while; then everything of it is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from deadlib.errors import WebError
from deadlib.server.heat import Look, corners, heat
from deadlib.server.images import sent_images
from deadlib.server.models import Answer, Models, Refused
from deadlib.server.pixels import Pixels, unnamed_file
from deadlib.server.rows import File, Row, answered, probabilities, refusal
from deadlib.windows import Grid
from tfrecords_tools.errors import ToolsError

PIECE, PIECE_VALUES = 32, 2**25
"""Images that are put to the model at once, and pixels x channels of them, after which no more are
added."""
MAPS_KEPT = 4
_ENOUGH_OPEN_FILES = 2**16

_log = logging.getLogger(__name__)


class JobGoneError(WebError):
    """A job, or a part of one, that is not there (any more)."""


class ServerFullError(WebError):
    """No room for another job."""


@dataclass(frozen=True)
class JobLimits:
    """What one server keeps for all who have its page open."""

    jobs: int = 16
    files: int = 5000
    """Of one job."""
    open_files: int = field(default_factory=lambda: _most_open_files() // 2)
    """Of all jobs together, as each is an open file without a name, and connections are others."""
    file_bytes: int = 4 * 2**30
    kept_bytes: int = 16 * 2**30
    """Of uploads and decoded pixels of all jobs together, on disk."""
    frames: int = 5000
    """Of one file."""
    windows: int = 40_000
    """Of one heat map."""
    idle_seconds: float = 900.0
    """A job that nobody asked for so long is deleted."""


@dataclass
class Map:
    """Heat or evidence of one image, while it is made and after."""

    row: int
    kind: str
    total: int
    began: float
    classes: list[str]
    done: int = 0
    error: str | None = None
    picture: np.ndarray | None = None
    """(h, w, K) float32."""
    task: asyncio.Task[None] | None = None


class Jobs:
    """All jobs of a server. Belongs to one event loop.

    Uploads and pixels lie in files without a name, in the system's folder for temporary files
    (TMPDIR). clock: seconds, for estimates and for how long a job was left alone.
    """

    def __init__(
        self,
        models: Models,
        limits: JobLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models
        self.limits = limits or JobLimits()
        self.clock = clock
        self._jobs: dict[str, Job] = {}
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def kept_bytes(self) -> int:
        """What all jobs together hold on disk."""
        return sum(job.kept_bytes for job in tuple(self._jobs.values()))

    @property
    def open_files(self) -> int:
        """Files of all jobs together."""
        return sum(len(job.files) for job in self._jobs.values())

    def start(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End all jobs and delete what they hold."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for name in list(self._jobs):
            await self.end(name)

    def create(self, model: str) -> Job:
        """A new job for a served model. Raises ServerFullError where there are too many."""
        self.models.bundle(model)
        if len(self._jobs) >= self.limits.jobs:
            raise ServerFullError(
                f"{len(self._jobs)} people have images open here, which is all that this server "
                "holds; try again when one of them has closed the page"
            )
        job = Job(secrets.token_urlsafe(24), model, self)
        self._jobs[job.name] = job
        return job

    def of(self, name: str) -> Job:
        """The job of that name, which lives on because it was asked for. Raises JobGoneError."""
        job = self._jobs.get(name)
        if job is None:
            raise JobGoneError("these images are not here any more; drop them again")
        job.asked = self.clock()
        return job

    async def end(self, name: str) -> None:
        """Stop a job and delete all that it holds; nothing happens where there is none."""
        job = self._jobs.pop(name, None)
        if job is not None:
            await job.close()

    async def end_idle(self) -> None:
        """End the jobs that nobody asked for in a while."""
        oldest = self.clock() - self.limits.idle_seconds
        for name in [name for name, job in self._jobs.items() if job.asked < oldest]:
            await self.end(name)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.limits.idle_seconds))
            await self.end_idle()


@dataclass(frozen=True)
class _Window:
    """One image for the model: a whole one, or a window of it."""

    row: Row
    image: np.ndarray


class Job:
    """The files of one visit, and the answers for them. Made by `Jobs.create`."""

    def __init__(self, name: str, model: str, jobs: Jobs) -> None:
        self.name = name
        self.model = model
        self.files: list[File] = []
        self.rows: list[Row] = []
        self.finished: list[Row] = []
        """In the order in which they were answered."""
        self.maps: dict[int, Map] = {}
        self.asked = jobs.clock()
        self._jobs = jobs
        self._waiting: asyncio.Queue[File] = asyncio.Queue()
        self._unread = 0
        self._stopped_files = 0
        """Files before this one are not answered any further."""
        self._windows = self._windows_done = self._files_read = 0
        self._began: float | None = None
        self._done_before = 0
        served = jobs.models.bundle(model)
        self.classes = served.classes
        self._channels = len(served.channels)
        self._look = Look.of(served.description)
        self._work = asyncio.create_task(self._answer_all())

    @property
    def kept_bytes(self) -> int:
        return sum(file.kept_bytes for file in tuple(self.files))

    async def close(self) -> None:
        tasks = [self._work, *(each.task for each in self.maps.values() if each.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for file in self.files:
            file.close()

    # Uploads

    def announce(self, name: str, size_bytes: int) -> int:
        """Make room for a file that is about to be sent. Returns its number.

        Raises ServerFullError where there is no room.
        """
        limits = self._jobs.limits
        if len(self.files) >= limits.files:
            raise ServerFullError(
                f"{limits.files} files are open already, which is all that are taken"
            )
        if size_bytes > limits.file_bytes:
            raise ServerFullError(
                f"{size_bytes / 1e6:,.0f} MB, at most {limits.file_bytes / 1e6:,.0f} MB are taken"
            )
        full = self._jobs.open_files >= limits.open_files
        if full or self._jobs.kept_bytes + size_bytes > limits.kept_bytes:
            raise ServerFullError("the server has no room left for it; remove other images first")
        number = len(self.files)
        self.files.append(File(number, name, size_bytes, unnamed_file()))
        return number

    async def receive(self, number: int, start: int, data: bytes) -> None:
        """Take a piece of a file that begins at byte `start`; the last one puts it to work.

        The same piece sent again is acknowledged. Raises JobGoneError where there is no such file,
        and WebError where a piece is missing before it.
        """
        file = self._file(number)
        if file.complete or (data and start + len(data) <= file.received_bytes):
            return
        if file.receiving or start != file.received_bytes:
            raise WebError(f"expected the piece from byte {file.received_bytes} on, got {start}")
        if start + len(data) > file.size_bytes:
            raise WebError(f"more bytes than the {file.size_bytes} that were announced")
        file.receiving = True
        try:
            await asyncio.to_thread(_append, file.upload, data)
            file.received_bytes += len(data)
        finally:
            file.receiving = False
        if file.received_bytes == file.size_bytes:
            file.complete = True
            self._unread += 1
            self._waiting.put_nowait(file)

    def _file(self, number: int) -> File:
        if not 0 <= number < len(self.files):
            raise JobGoneError("no such file")
        return self.files[number]

    # Answers

    def stop(self) -> None:
        """Answer none of what waits; what is answered stays."""
        self._stopped_files = len(self.files)

    def state(self, rows_from: int) -> dict[str, Any]:
        """How far it is, and the answers from the given one on, in the order they came."""
        left = self._windows - self._windows_done
        return {
            "files": len(self.files),
            "files_waiting": self._unread,
            "frames": len(self.rows),
            "windows": self._windows,
            "windows_done": self._windows_done,
            "working": bool(left or self._unread),
            "seconds_left": self._seconds_left(),
            "rows": [row.told() for row in self.finished[max(0, rows_from) :]],
        }

    def _seconds_left(self) -> float | None:
        done = self._windows_done - self._done_before
        if self._began is None or not done:
            return None
        left = float(self._windows - self._windows_done)
        if self._files_read:
            left += self._unread * self._windows / self._files_read
        return left * (self._jobs.clock() - self._began) / done

    def row(self, number: int) -> Row:
        """Raises JobGoneError where there is none."""
        if not 0 <= number < len(self.rows):
            raise JobGoneError("no such image")
        return self.rows[number]

    def image(self, row: Row) -> np.ndarray:
        """(H, W, C) in its own type. Raises JobGoneError where it could not be read."""
        if row.file.pixels is None or row.shape is None:
            raise JobGoneError("this image could not be read")
        return row.file.pixels.image(row.frame)

    async def _answer_all(self) -> None:
        piece: list[_Window] = []
        values = 0
        async for window in self._all_windows():
            if window is not None:
                piece.append(window)
                values += window.image.size
            if piece and (window is None or len(piece) >= PIECE or values >= PIECE_VALUES):
                await self._answer(piece)
                piece, values = [], 0

    async def _all_windows(self) -> AsyncIterator[_Window | None]:
        """What is to be answered, in order; None where nothing follows for now."""
        while True:
            if self._waiting.empty():
                yield None
                self._began = None
            file = await self._waiting.get()
            if self._began is None:
                self._began, self._done_before = self._jobs.clock(), self._windows_done
            rows = await self._rows_of(file)
            self._unread -= 1
            self._files_read += 1
            for row in rows:
                async for window in self._windows_of(row):
                    yield window

    async def _rows_of(self, file: File) -> list[Row]:
        """Decode a file and enter a row for each of its images, or one that says why not."""
        try:
            if self._stopped(file):
                self._fail(file, "stopped before it was read")
                return []
            file.pixels = Pixels()
            await asyncio.to_thread(self._decode, file, file.pixels)
        except ToolsError as error:
            self._fail(file, str(error))
            return []
        except OSError as error:
            self._fail(file, f"the server could not keep it ({error.strerror or error})")
            return []
        except Exception:  # one file must not end the job
            _log.exception("a dropped file could not be read")
            self._fail(file, "the server failed at this file; its log says why")
            return []
        finally:
            file.upload.close()
        count = len(file.pixels)
        rows = []
        for frame in range(count):
            shape = file.pixels.shape(frame)
            grid = self._look.grid(shape) if self._look else None
            rows.append(Row(len(self.rows) + frame, file, frame, count, shape, grid))
        self.rows += rows
        self._windows += sum(row.windows for row in rows)
        return rows

    def _decode(self, file: File, pixels: Pixels) -> None:
        """Runs in a thread."""
        limits = self._jobs.limits
        file.upload.seek(0)
        for image in sent_images(
            file.upload,
            channels=self._channels,
            largest_px=self._jobs.models.settings.largest_image_px,
            most_frames=limits.frames,
        ):
            if self._stopped(file):
                break
            pixels.append(image)
            if self._jobs.kept_bytes > limits.kept_bytes:
                raise ServerFullError("the server has no room left for its pixels")

    def _fail(self, file: File, reason: str) -> None:
        if file.pixels is not None:
            file.pixels.close()
            file.pixels = None
        row = Row(len(self.rows), file, error=reason)
        self.rows.append(row)
        self.finished.append(row)

    def _stopped(self, file: File) -> bool:
        return file.number < self._stopped_files

    async def _windows_of(self, row: Row) -> AsyncIterator[_Window]:
        image = await asyncio.to_thread(self.image, row)
        for done, seen in enumerate(self._seen(image, row.grid)):
            if self._stopped(row.file):
                self._windows_done += row.windows - done
                self._finish(row, "stopped before it was answered")
                return
            yield _Window(row, seen)

    def _seen(self, image: np.ndarray, grid: Grid | None) -> Iterator[np.ndarray]:
        """What the model is asked about: the whole image, or each window of a grid."""
        if grid is None or self._look is None:
            yield image
            return
        for top_px, left_px in corners(grid):
            yield self._look.window(image, top_px, left_px)

    async def _answer(self, piece: Sequence[_Window]) -> None:
        answers = await self._predict([window.image for window in piece])
        for window, answer in zip(piece, answers, strict=True):
            row = window.row
            if row.error is None:
                row.answers.append(answer)
                self._windows_done += 1
                if len(row.answers) == row.windows:
                    self._finish(row, refusal(row.answers))

    def _finish(self, row: Row, error: str | None) -> None:
        row.error = error
        self.finished.append(row)

    async def _predict(self, images: Sequence[np.ndarray]) -> Sequence[Answer | Refused]:
        try:
            answers = await self._jobs.models.predict(self.model, images, patient=True)
            if any(list(each.probability) != self.classes for each in answered(answers)):
                raise WebError("the model was replaced by one of other classes; drop it again")
            return answers
        except ToolsError as error:
            return [Refused(str(error))] * len(images)
        except Exception:  # as above
            _log.exception("dropped images could not be answered")
            return [Refused("the server failed at this image; its log says why")] * len(images)

    # Heat and evidence

    def start_map(
        self, row: Row, kind: str, stride_px: int | None = None, class_index: int | None = None
    ) -> int:
        """Begin a map of an answered image. Returns its number.

        kind: `heat`, the probability of each class around each place of an image larger than the
        window, from windows `stride_px` apart; `evidence`, where in an image something speaks for
        a class, by default the one that it was answered. Raises WebError where there is no such
        map.
        """
        grid = self._map_grid(row, kind, stride_px)
        classes = self.classes
        if grid is None:
            own = classes.index(answered(row.answers)[0].class_name)
            index = own if class_index is None else class_index
            if index >= len(classes):
                raise WebError(f"class {index}: expected 0 to {len(classes) - 1}")
            classes, class_index = [classes[index]], None if index == own else index
        number = max(self.maps, default=-1) + 1
        for old in list(self.maps)[: max(0, len(self.maps) + 1 - MAPS_KEPT)]:
            self.end_map(old)
        total = grid.rows * grid.columns if grid else 1
        made = Map(row.number, kind, total, self._jobs.clock(), classes)
        made.task = asyncio.create_task(self._make(made, row, grid, class_index))
        self.maps[number] = made
        return number

    def _map_grid(self, row: Row, kind: str, stride_px: int | None) -> Grid | None:
        if row.error is not None or not row.answers or row.shape is None:
            raise WebError("no map of an image without an answer")
        if kind == "evidence" and row.grid is None:
            return None
        if kind != "heat" or row.grid is None or self._look is None:
            raise WebError(
                "heat is for images into which several windows fit, evidence for all others"
            )
        grid = self._look.grid(row.shape, stride_px)
        most = self._jobs.limits.windows
        if grid is None or grid.rows * grid.columns > most:
            raise WebError(f"more than {most} windows; take a coarser map")
        return grid

    async def _make(self, made: Map, row: Row, grid: Grid | None, class_index: int | None) -> None:
        try:
            if grid is None:
                made.picture = await self._evidence(row, class_index)
            else:
                values = await self._values(made, row, grid)
                shape = self.image(row).shape[:2]
                made.picture = await asyncio.to_thread(heat, values, grid, shape)
            made.done = made.total
        except ToolsError as error:
            made.error = str(error)

    async def _evidence(self, row: Row, class_index: int | None) -> np.ndarray:
        image = self.image(row)
        [answer] = await self._jobs.models.predict(
            self.model, [image], explain=True, class_index=class_index, patient=True
        )
        if isinstance(answer, Refused):
            raise WebError(answer.error)
        if answer.evidence is None:
            raise WebError("; ".join(answer.warnings) or "the model gave no evidence")
        evidence = answer.evidence
        if self._look is not None and row.shape is not None:
            evidence = self._look.placed(evidence, row.shape)
        return np.asarray(evidence, np.float32)[..., None]

    async def _values(self, made: Map, row: Row, grid: Grid) -> np.ndarray:
        """(windows, K) probabilities: those of the row's own answer where the grid is the same."""
        if grid == row.grid:
            return probabilities(answered(row.answers))
        image = await asyncio.to_thread(self.image, row)
        found: list[Answer] = []
        for piece in _pieces(self._seen(image, grid)):
            answers = await self._predict(piece)
            refused = refusal(answers)
            if refused is not None:
                raise WebError(refused)
            found += answered(answers)
            made.done = len(found)
        return probabilities(found)

    def map(self, number: int) -> Map:
        """Raises JobGoneError where there is none (any more)."""
        if number not in self.maps:
            raise JobGoneError("no such map")
        return self.maps[number]

    def map_state(self, number: int) -> dict[str, Any]:
        made = self.map(number)
        seconds = self._jobs.clock() - made.began
        left = seconds * (made.total - made.done) / made.done if made.done else None
        return {
            "kind": made.kind,
            "row": made.row,
            "done": made.done,
            "total": made.total,
            "seconds_left": left,
            "ready": made.picture is not None,
            "error": made.error,
            "classes": made.classes,
        }

    def end_map(self, number: int) -> None:
        made = self.maps.pop(number, None)
        if made is not None and made.task is not None:
            made.task.cancel()


def _most_open_files() -> int:
    """How many files this process may have open at once, which is made all that it may ask for."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return _ENOUGH_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def _append(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _pieces(images: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while piece := list(itertools.islice(images, PIECE)):
        yield piece

"""Trainings side by side: processes of their own, so that one that dies takes none with it.

A worker imports TensorFlow once and then does one training after another. It leaves the process
group of the terminal, so that Ctrl-C reaches only the study, which then asks each worker to stop.
It stops by itself, with a checkpoint, when the study is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from deadlib.outputs import write_errors
from deadlib.study.training import LOG, Task, work
from deadlib.training.stop import StoppedError
from tfrecords_tools.errors import ToolsError

SPAWN = get_context("spawn")
SECONDS_TO_STOP = 120.0

OnShare = Callable[[Task, float], None]
OnEnd = Callable[[Task, str | None], None]
Work = Callable[[Task, Callable[[float], None]], None]


class Place(NamedTuple):
    """Which of how many workers one is."""

    number: int
    workers: int


def run_all(
    tasks: Sequence[Task],
    jobs: int | None,
    log: Path,
    on_share: OnShare,
    on_end: OnEnd,
    do: Work = work,
) -> None:
    """Do all tasks, `jobs` at a time (None: one for each GPU, else one).

    log: where workers print what belongs to no task. on_share: told how much of a task is done;
    on_end: told that it ended, with what went wrong or None. No task is in the way of another one.
    After KeyboardInterrupt the workers are asked to stop, and waited for.
    """
    waiting = list(tasks)
    workers: list[_Worker] = []
    if not waiting:
        return
    try:
        workers.append(_Worker(do, log))
        jobs = min(jobs or max(1, workers[0].gpus()), len(waiting))
        workers += [_Worker(do, log) for _ in range(jobs - 1)]
        for number, worker in enumerate(workers):
            worker.begin(Place(number, jobs), waiting.pop(0))
        while busy := [worker for worker in workers if worker.task is not None]:
            for worker in _heard(busy):
                _listen(worker, on_share, on_end)
                if worker.task is None and waiting:
                    number = workers.index(worker)
                    if worker.dead:
                        workers[number] = worker = _Worker(do, log)
                    worker.begin(Place(number, jobs), waiting.pop(0))
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.wait()


def _listen(worker: _Worker, on_share: OnShare, on_end: OnEnd) -> None:
    """Pass on what a worker says; at the end of its task it has none."""
    for task, message in worker.messages():
        if isinstance(message, float):
            on_share(task, message)
        else:
            worker.task = None
            on_end(task, message)


class _Worker:
    """One process, seen from the study."""

    def __init__(self, do: Work, log: Path) -> None:
        self.task: Task | None = None
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs, do, log))
        self.process.start()
        theirs.close()
        self._placed = False

    @property
    def dead(self) -> bool:
        return not self.process.is_alive()

    def gpus(self) -> int:
        """How many GPUs it sees; 0 where it died."""
        self.connection.send("gpus")
        try:
            return int(self.connection.recv())
        except EOFError:
            return 0

    def begin(self, place: Place, task: Task) -> None:
        self.task = task
        try:
            if not self._placed:
                self.connection.send(place)
                self._placed = True
            self.connection.send(task)
        except OSError:
            pass  # it died; `messages` says so

    def messages(self) -> Iterator[tuple[Task, float | str | None]]:
        """The task, with shares of it, and at its end None or what went wrong."""
        while (task := self.task) is not None and (self.connection.poll() or self.dead):
            try:
                yield task, self.connection.recv()
            except (EOFError, OSError):
                self.process.join()
                yield task, _last_words(self.process.exitcode)

    def ask_to_stop(self) -> None:
        if self.process.is_alive() and self.process.pid is not None:
            self.process.terminate()

    def wait(self) -> None:
        self.process.join(SECONDS_TO_STOP)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _heard(workers: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have something to say, or died; waits for the first."""
    signs: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
    signs |= {worker.process.sentinel: worker for worker in workers}
    return list(dict.fromkeys(signs[sign] for sign in wait(list(signs))))


def _last_words(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = "; most likely the memory was full" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{memory}; {LOG} may tell more"
    return f"the process ended with exit code {code}; {LOG} may tell more"


def _serve(connection: Connection, do: Work, log: Path) -> None:
    """The life of a worker."""
    os.setpgrp()
    threading.Thread(target=_stop_with_the_study, daemon=True).start()
    with _output_to(log):
        _obey(connection, do)


def _obey(connection: Connection, do: Work) -> None:
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        if asked == "gpus":
            connection.send(_gpus())
        elif isinstance(asked, Place):
            _settle(asked)
        else:
            connection.send(_outcome(asked, connection.send, do))


def _stop_with_the_study() -> None:
    """Where the study was killed, ask the training for a checkpoint and an end."""
    study = parent_process()
    if study is not None:
        wait([study.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _gpus() -> int:
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def _settle(place: Place) -> None:
    """Take a GPU, or a share of the processors; a worker alone takes everything."""
    if place.workers == 1:
        return
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if found:
        own = found[place.number % len(found)]
        tf.config.set_visible_devices([own], "GPU")
        # two may share it
        tf.config.experimental.set_memory_growth(own, True)
    threads = max(1, (os.cpu_count() or 1) // place.workers)
    tf.config.threading.set_intra_op_parallelism_threads(threads)


def _outcome(task: Task, share: Callable[[float], None], do: Work) -> str | None:
    """Do a task; what went wrong, in words, or None."""
    try:
        with _output_to(task.folder / LOG):
            try:
                do(task, share)
            except StoppedError as stop:
                # the checkpoint is written, and TensorFlow would take its time to end
                os._exit(stop.exit_code)
            except ToolsError:
                raise
            except Exception:
                traceback.print_exc()
                raise
    except ToolsError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}; {LOG} has all of it"
    finally:
        _forget()
    return None


def _forget() -> None:
    """Names and graphs of the training that has ended."""
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.backend.clear_session()


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what is printed, also from C++, into a file."""
    with write_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, former in zip((1, 2), saved, strict=True):
            os.dup2(former, number)
            os.close(former)
        os.close(descriptor)

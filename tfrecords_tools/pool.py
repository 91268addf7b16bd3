"""Independent tasks where there is room for them, in a way that ends cleanly.

`workers` is a number of processes on this machine, or any other Executor. Processes are spawned,
never forked. They end with their parent, however that dies, and leave an interrupt (Ctrl-C) to it:
it asks them to stop and waits until they have tidied up.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from tfrecords_tools.errors import WriteError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Waiting tasks hold their arguments in memory, so only a few wait.
TASKS_PER_WORKER = 2


class StoppedError(Exception):
    """Raised inside a task that has been asked to stop."""


class Flag(Protocol):
    """Tells a task whether it is to stop."""

    def is_set(self) -> bool: ...


class Executor(Protocol):
    """A place where tasks run."""

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        finished: Callable[[Result], None],
    ) -> None:
        """Do what `run_tasks` says."""


Workers = int | Executor

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

_stop: ContextVar[Flag | None] = ContextVar("stop", default=None)


def check_stop() -> None:
    """For use inside a task, between steps. Raises StoppedError where the tasks are to end."""
    flag = _stop.get()
    if flag is not None and flag.is_set():
        raise StoppedError


def stop_when(flag: Flag) -> None:
    """From now on the tasks of this thread end where the flag is set."""
    _stop.set(flag)


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: Workers,
    finished: Callable[[Result], None],
) -> None:
    """Run `function` on every task and hand each result to `finished`, in order of completion.

    With one worker everything runs in this process. The first error ends all tasks and is raised;
    a worker that dies raises WriteError. `function` must be importable by its module's name.
    """
    executor = LocalPool(workers) if isinstance(workers, int) else workers
    executor.run(function, tasks, finished)


class LocalPool:
    """Processes on this machine, started for each run."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        finished: Callable[[Result], None],
    ) -> None:
        if self._workers <= 1:
            for task in tasks:
                finished(function(task))
            return
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        with ProcessPoolExecutor(
            self._workers, mp_context=context, initializer=_prepare_worker, initargs=(stop,)
        ) as pool:

            def submit(task: Task) -> Future[Result]:
                with _interrupts_deferred():
                    return pool.submit(function, task)

            try:
                keep_busy(submit, tasks, lambda: TASKS_PER_WORKER * self._workers, finished)
            except BrokenProcessPool:
                raise WriteError(
                    "a worker process died, probably for lack of memory; start again with fewer "
                    "workers, what is finished is kept"
                ) from None
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise


def keep_busy(
    submit: Callable[[Task], Future[Result]],
    tasks: Iterable[Task],
    at_once: Callable[[], int],
    finished: Callable[[Result], None],
) -> None:
    """Submit the tasks, at most `at_once()` of them ahead of their results."""
    waiting: set[Future[Result]] = set()
    for task in tasks:
        waiting.add(submit(task))
        while len(waiting) >= at_once():
            waiting = _hand_over(waiting, finished)
    while waiting:
        waiting = _hand_over(waiting, finished)


def _hand_over(waiting: set[Future[Any]], finished: Callable[[Any], None]) -> set[Future[Any]]:
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        finished(future.result())
    return rest


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """A process started in here never sees Ctrl-C; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _prepare_worker(stop: Flag) -> None:
    stop_when(stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

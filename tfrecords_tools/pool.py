"""Independent tasks on several processes, in a way that ends cleanly.

Processes are spawned, never forked. They end with their parent, however that dies, and leave an
interrupt (Ctrl-C) to it: it asks them to stop and waits until they have tidied up.
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
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from tfrecords_tools.errors import WriteError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Waiting tasks hold their arguments in memory, so only a few wait.
_TASKS_PER_WORKER = 2

_stop: Event | None = None


class StoppedError(Exception):
    """Raised inside a task that has been asked to stop."""


def check_stop() -> None:
    """For use inside a task, between steps. Raises StoppedError where the tasks are to end."""
    if _stop is not None and _stop.is_set():
        raise StoppedError


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    finished: Callable[[Result], None],
) -> None:
    """Run `function` on every task and hand each result to `finished`, in order of completion.

    With one worker everything runs in this process. The first error ends all tasks and is raised;
    a worker that dies raises WriteError. `function` must be importable by its module's name.
    """
    if workers <= 1:
        for task in tasks:
            finished(function(task))
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare_worker, initargs=(stop,)
    ) as pool:
        waiting: set[Future[Result]] = set()
        try:
            for task in tasks:
                with _interrupts_deferred():
                    waiting.add(pool.submit(function, task))
                if len(waiting) >= _TASKS_PER_WORKER * workers:
                    waiting = _hand_over(waiting, finished)
            while waiting:
                waiting = _hand_over(waiting, finished)
        except BrokenProcessPool:
            raise WriteError(
                "a worker process died, probably for lack of memory; start again with fewer "
                "workers, what is finished is kept"
            ) from None
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


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


def _prepare_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

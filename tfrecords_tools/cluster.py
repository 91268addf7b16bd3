"""Tasks on a Dask cluster: an Executor for `run_tasks`, given the address of a scheduler.

The workers read SOURCE and write OUT themselves, under the paths that they have here, so all need
one shared file system. A task that a dying worker leaves is done again by another one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from tfrecords_tools.errors import ClusterError
from tfrecords_tools.pool import TASKS_PER_WORKER, StoppedError, keep_busy, stop_when
from tfrecords_tools.shards import PROGRESS_FOLDER

Task = TypeVar("Task")
Result = TypeVar("Result")

# A cluster that is still starting gets this much work, so that an adaptive one grows.
_TASKS_AT_LEAST = 16
# Tasks that are asked to stop do so between two records.
_SECONDS_TO_STOP = 30.0

_SHARED = (
    "the workers read and write the files themselves: give paths on a file system that they share "
    "with this machine"
)


@dataclass(frozen=True)
class _Session:
    """One run of tasks, as a worker knows it; set once the tasks are to stop."""

    token: str
    source: Path
    listing: str

    def is_set(self) -> bool:
        return self.token in _ended


# In a worker: the runs that were ended, and the source folders that are the same here and there.
_ended: set[str] = set()
_checked: set[tuple[Path, str]] = set()


class DaskCluster:
    """The workers of a Dask scheduler, to be given as `workers`; a context manager.

    Args:
        address: of the scheduler, such as tcp://node7:8786.
        source: the folder of the images that the tasks read.
        timeout_s: how long the scheduler may take to answer, in seconds.

    Raises ClusterError where dask is not installed or the scheduler does not answer.
    """

    def __init__(self, address: str, source: str | Path, *, timeout_s: float = 30.0) -> None:
        source = Path(source)
        try:
            from distributed import Client
        except ImportError:
            raise ClusterError(
                "a Dask scheduler needs dask, which is not installed; pip install 'deadlib[dask]'"
            ) from None
        try:
            self._client = Client(address, timeout=timeout_s, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"{address}: no Dask scheduler answers within {timeout_s:.0f} s "
                f"({_first_line(error)}); start one with dask scheduler, and give the address that "
                "it prints"
            ) from None
        self._address = address
        self._made: list[Path] = []
        self._session = _Session(secrets.token_hex(8), source.absolute(), _listing(source))

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        for folder in self._made:
            with suppress(OSError):  # where something was written
                folder.rmdir()

    def check(self, out: str | Path | None = None) -> None:
        """Wait for the first worker; have all look at the source folder and write to `out`.

        Raises ClusterError where one runs another version of deadlib or sees other folders.
        """
        self._client.wait_for_workers(1)
        sign = None
        if out is not None:
            sign = Path(out).absolute() / PROGRESS_FOLDER / f"{self._session.token}.partial"
            self._made = [path for path in sign.parents[:2] if not path.exists()]
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()
        try:
            found = self._client.run(_look, self._session, sign, on_error="return")
        finally:
            if sign is not None:
                sign.unlink(missing_ok=True)
        here = metadata.version("deadlib")
        for worker, answer in found.items():
            if isinstance(answer, ClusterError):
                raise ClusterError(f"worker {worker}: {answer}")
            if isinstance(answer, BaseException):
                raise ClusterError(
                    f"worker {worker}: cannot run deadlib ({_first_line(answer)}); install deadlib "
                    f"{here} there, in an environment like the one here"
                )
            if answer != here:
                raise ClusterError(
                    f"worker {worker}: has deadlib {answer}, expected {here} as here; install the "
                    "same version, as another one may write other bytes"
                )

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        finished: Callable[[Result], None],
    ) -> None:
        executor = self._client.get_executor(pure=False)
        session = replace(self._session, token=secrets.token_hex(8))
        pending: set[Future[Result]] = set()

        def submit(task: Task) -> Future[Result]:
            future: Future[Result] = executor.submit(_on_worker, session, function, task)
            pending.add(future)
            future.add_done_callback(pending.discard)
            return future

        try:
            keep_busy(submit, tasks, self._at_once, finished)
        except BaseException as error:
            self._stop(session, pending)
            executor.shutdown(wait=False)
            lost = self._lost(error)
            if lost is not None:
                raise lost from None
            raise

    def _at_once(self) -> int:
        threads = sum(self._client.nthreads().values())
        return max(_TASKS_AT_LEAST, TASKS_PER_WORKER * threads)

    def _stop(self, session: _Session, pending: set[Future[Any]]) -> None:
        """End the tasks that run; none of this run starts any more."""
        if self._client.status != "running":
            return
        with suppress(OSError):
            self._client.run(_end, session.token, on_error="ignore")
            wait(set(pending), timeout=_SECONDS_TO_STOP)

    def _lost(self, error: BaseException) -> ClusterError | None:
        """What happened to the cluster, in words; None where a task or the caller failed."""
        from distributed.scheduler import KilledWorker

        again = "start the same command again: what is finished is kept"
        if isinstance(error, KilledWorker):
            return ClusterError(
                f"{self._address}: several workers died at the same task, probably for lack of "
                f"memory; give each more of it, or fewer threads, and {again}"
            )
        if isinstance(error, CancelledError) or self._client.status != "running":
            return ClusterError(f"{self._address}: the scheduler was lost; {again}")
        return None


def _on_worker(session: _Session, function: Callable[[Task], Result], task: Task) -> Result:
    if session.is_set():
        raise StoppedError
    _look(session, None)
    stop_when(session)
    return function(task)


def _look(session: _Session, sign: Path | None) -> str:
    """Look whether source and `sign` are here what they are there; the version of deadlib here."""
    seen = (session.source, session.listing)
    if seen not in _checked:
        if _listing(session.source) != session.listing:
            raise ClusterError(f"{session.source}: holds other files than there; {_SHARED}")
        _checked.add(seen)
    if sign is not None:
        if not sign.is_file():
            raise ClusterError(f"{sign.parent.parent}: another folder than there; {_SHARED}")
        try:
            os.utime(sign)
            mine = sign.with_name(f"{secrets.token_hex(8)}.partial")
            mine.touch()
            mine.unlink()
        except OSError as error:
            raise ClusterError(
                f"{sign.parent.parent}: cannot be written ({error.strerror}); let the account of "
                "the workers write there"
            ) from None
    return metadata.version("deadlib")


def _end(token: str) -> None:
    _ended.add(token)


def _listing(folder: Path) -> str:
    """A checksum of the names in a folder. Raises ClusterError where it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ClusterError(f"{folder}: cannot be read ({error.strerror}); {_SHARED}") from None
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

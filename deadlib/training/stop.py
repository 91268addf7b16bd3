"""Stopping by Ctrl-C or SIGTERM: the step at hand is finished and a checkpoint written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from deadlib.errors import DeadlibError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(DeadlibError):
    """Training was stopped by a signal; a checkpoint to resume from has been written.

    `exit_code` is what a shell expects of a process ended by that signal: 130 or 143.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """While active, the first signal is noted in `number`; a second one acts as it used to.

    Outside the main thread Python cannot take signals, and none is taken.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

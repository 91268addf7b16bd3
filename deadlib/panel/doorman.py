"""Who may come in: a right token always, a guess only now and then.

A token has 256 bits, so nobody guesses one; but nobody should be able to try millions either, or
to keep the database busy with trying.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from deadlib.errors import DeadlibError

TRIES = 20
SECONDS_FOR_A_TRY = 6.0
"""After TRIES wrong tokens an address has one more every so many seconds."""

_REMEMBERED = 10_000
_LONGEST_TOKEN = 200

Who = TypeVar("Who")


class TooManyTriesError(DeadlibError):
    """An address that has shown too many wrong tokens."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds))
        super().__init__(
            f"too many wrong links from this address; try again in {self.seconds} seconds"
        )


class Doorman(Generic[Who]):
    """Asks `known` whose a token is, and counts wrong ones by the address they come from.

    known: who has this token, or None. clock: seconds that never run backwards. Tokens that were
    right before are always looked up, so that guesses from an address do not lock out those who
    share it. Safe with threads.
    """

    def __init__(
        self, known: Callable[[str], Who | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._known = known
        self._clock = clock
        self._lock = Lock()
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, token: str | None, address: str) -> Who | None:
        """Whose token it is, or None. Raises TooManyTriesError for one who guesses, unlooked."""
        if not token:
            return None
        mark = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if mark not in self._right:
                left = self._tries_left(address)
                if left < 1:
                    raise TooManyTriesError((1 - left) * SECONDS_FOR_A_TRY)
        who = self._known(token) if len(token) <= _LONGEST_TOKEN else None
        with self._lock:
            if who is None:
                self._right.pop(mark, None)
                self._remember(self._wrong, address, (self._tries_left(address) - 1, self._clock()))
            else:
                self._remember(self._right, mark, None)
        return who

    def _tries_left(self, address: str) -> float:
        left, since = self._wrong.get(address, (float(TRIES), self._clock()))
        return min(float(TRIES), left + (self._clock() - since) / SECONDS_FOR_A_TRY)

    @staticmethod
    def _remember(place: OrderedDict, key: object, value: object) -> None:
        place[key] = value
        place.move_to_end(key)
        while len(place) > _REMEMBERED:
            place.popitem(last=False)

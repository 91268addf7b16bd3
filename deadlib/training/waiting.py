"""How long training waits for its input, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from deadlib.recipe import InputSection

MUCH = 0.1
"""A share of the time above which it is worth doing something."""


class Clock:
    """Time since the last reading, and the part of it that the device had nothing to do.

    A GPU works on while the host asks for the next batch, and waits only once it is done. So it is
    brought to its end before a wait is measured: at the first batch, and then at one of `every`,
    which stands for those before it, because to do so always would cost speed.

    finish: returns when the device has done what it was given. every: 1 where a step is over when
    it returns, as on CPUs.
    """

    def __init__(
        self,
        finish: Callable[[], Any],
        every: int,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._finish, self._every, self._now = finish, every, now
        self._started, self._waited, self._asked = now(), 0.0, 0

    def waiting(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives; the time until then is waiting."""
        number, self._asked = self._asked, self._asked + 1
        if number % self._every:
            return ask()
        self._finish()
        before = self._now()
        found = ask()
        self._waited += (self._now() - before) * (self._every if number else 1)
        return found

    def read(self) -> tuple[float, float]:
        """(seconds, waited seconds) since the last reading."""
        now = self._now()
        seconds, waited = now - self._started, self._waited
        self._started, self._waited = now, 0.0
        return seconds, min(waited, seconds)


def advice(share: float, section: InputSection) -> str | None:
    """A sentence where `share` of the time is spent waiting for input; None where that is little.

    It names what the recipe's input section does not do yet.
    """
    if share <= MUCH:
        return None
    if section.cache in ("auto", "off"):
        what = (
            "input.cache: memory keeps the images decoded and resized, or disk where memory does "
            "not suffice"
        )
        if section.cache == "auto":
            what += "; where they are in memory already, a larger training.batch spares some of it"
    elif section.cache == "disk":
        what = "input.cache: memory is faster, and so is an input.cache_folder on a local SSD"
    else:
        what = "a larger model costs nothing more, and a larger training.batch spares some of it"
    return f"{share:.0%} of the time the training waits for its input; {what}"

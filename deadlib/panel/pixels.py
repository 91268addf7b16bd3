"""Pixels on their way to the browser: read once, and kept while they are likely to be asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

KEPT_BYTES = 256_000_000

Key = Hashable


class Pixels:
    """Frames by any key; the latest are kept, up to `kept_bytes`.

    An item is read whole before it is shown, to know that it can be, so each frame is asked for
    twice. Safe with threads.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._lock = Lock()
        self._frames: OrderedDict[Key, NDArray[np.generic]] = OrderedDict()
        self._bytes = 0

    def frame(self, key: Key, read: Callable[[], NDArray[np.generic]]) -> NDArray[np.generic]:
        """What `read` gives for this key, or gave before; its errors are passed on."""
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        image = read()
        with self._lock:
            if key not in self._frames:
                self._frames[key] = image
                self._bytes += image.nbytes
            while self._bytes > self._kept_bytes and len(self._frames) > 1:
                _, old = self._frames.popitem(last=False)
                self._bytes -= old.nbytes
        return image

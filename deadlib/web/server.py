"""Run an application until it is stopped."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from deadlib.errors import WebError

LOCAL = "127.0.0.1"
GRACE_SECONDS = 30


def serve(
    app: FastAPI,
    host: str = LOCAL,
    port: int = 8000,
    *,
    ready: Callable[[str], None] | None = None,
    stopping: Callable[[], None] | None = None,
    notice_seconds: float = 0.0,
    grace_seconds: int = GRACE_SECONDS,
) -> None:
    """Answer on host and port (0: any free one) until SIGINT or SIGTERM, then return.

    ready: called with the address to open once requests are answered. stopping: called from the
    signal's handler, `notice_seconds` before connections are refused (a second signal ends the
    notice); requests under way then have `grace_seconds`.
    Raises WebError where the address cannot be had.
    """
    listener = _listener(host, port)
    address = _address(host, listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        # uvicorn raises the signal that ended it once more
        with suppress(KeyboardInterrupt):
            _Server(config, address, ready, stopping, notice_seconds).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        address: str,
        ready: Callable[[str], None] | None,
        stopping: Callable[[], None] | None,
        notice_seconds: float,
    ) -> None:
        super().__init__(config)
        self._notice_seconds = notice_seconds
        self._ends_at: float | None = None
        self._address = address
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = self._ends_at is None
        if first:
            self._ends_at = time.monotonic() + self._notice_seconds
            if self._stopping is not None:
                self._stopping()
        if not (first and self._notice_seconds):
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self.should_exit = True
        return await super().on_tick(counter)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except OverflowError:
        raise WebError(f"port {port}: expected 0 to 65535") from None
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "another program answers there; stop it, or give another --port",
            errno.EACCES: "ports below 1024 need more rights; give a --port from 1024 on",
            errno.EADDRNOTAVAIL: "that is no address of this machine; give one that is as --host",
        }.get(error.errno or 0, error.strerror or str(error))
        raise WebError(f"{host}:{port}: cannot be served: {reason}") from None


def _address(host: str, port: int) -> str:
    """Where a browser finds it; all addresses of a machine are shown as its name."""
    name = host
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            name = socket.gethostname()
        elif address.version == 6:
            name = f"[{host}]"
    return f"http://{name}:{port}"

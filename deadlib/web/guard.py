"""What every request passes before anything else, and every answer after.

A page on the lab's network is attacked through the browsers of those who use it: by other sites
that send requests from there, by names that point at this machine, by files whose names are
scripts. None of that needs to be thought of where a page is written.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""For the self-contained pages of deadlib.pages, which bring their style inside."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send forms without their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not set them itself."""

_READING = {"GET", "HEAD", "OPTIONS"}
_log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware; see `application` for what it refuses."""

    def __init__(
        self,
        app: ASGI,
        *,
        largest_request_bytes: int,
        larger_requests: Mapping[str, int],
        hosts: Collection[str],
    ) -> None:
        self._app = app
        self._largest = largest_request_bytes
        self._larger = larger_requests
        self._hosts = {"localhost", socket.gethostname().lower(), *(h.lower() for h in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def guarded_send(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        largest = self._largest_of(scope["path"])
        refused = self._refused(scope["method"], headers, largest)
        if refused is not None:
            await refused(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, _counted(receive, largest), guarded_send)
        except Exception:
            _log.exception("%s %a failed", scope["method"], scope["path"])
            if begun:
                raise
            failed = _error(500, "the server failed at this request; its log says why")
            await failed(scope, receive, guarded_send)

    def _largest_of(self, path: str) -> int:
        larger = (most for start, most in self._larger.items() if path.startswith(start))
        return next(larger, self._largest)

    def _refused(self, method: str, headers: Headers, largest: int) -> JSONResponse | None:
        host = headers.get("host", "")
        if not _known(host, self._hosts):
            return _error(
                421,
                f"this server does not go by the name {host!r}; open it by its address, or start "
                "it with --name, followed by that name",
            )
        if method not in _READING and not _same_origin(headers, host):
            return _error(403, "requests that change something are taken from its own pages only")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return _error(400, "Content-Length is not a number")
        if int(length) > largest:
            return _error(413, _too_large(largest))
        return None


def _counted(receive: Receive, largest: int) -> Receive:
    """Refuse a body that grows too large, whatever its header promised."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > largest:
            raise HTTPException(413, _too_large(largest))
        return message

    return counted


def _too_large(largest: int) -> str:
    return f"the request is too large: at most {largest / 1e6:,.0f} MB are taken"


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _known(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is an address, or a name of this machine.

    Any other name may belong to a stranger who let it point here; then their page and this
    server would be of one origin.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a browser sent it from this server's own page, or it was no browser.

    All browsers send Origin with requests that change something.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()

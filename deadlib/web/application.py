"""An application of deadlib: its folders, its guard, and errors in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from deadlib.web.guard import Guard
from deadlib.web.pages import page, templates
from tfrecords_tools.errors import ToolsError

LARGEST_REQUEST_BYTES = 1_000_000

_UNSAID = {
    404: "There is nothing at this address. Was the link copied as a whole?",
    405: "This address does not take that kind of request.",
}
"""What is said in place of the bare names of statuses."""


def application(
    package: str,
    *,
    title: str,
    largest_request_bytes: int = LARGEST_REQUEST_BYTES,
    larger_requests: Mapping[str, int] | None = None,
    hosts: Collection[str] = (),
    statuses: Mapping[type[Exception], int] | None = None,
    lifespan: Any = None,
) -> FastAPI:
    """A FastAPI application for the pages of `package`.

    package: where `templates/` and, served below /page, `static/` lie; /static serves what all
    pages share. larger_requests: how many bytes paths that begin so take instead. hosts: names,
    beside addresses and the machine's own, that it may be opened by. statuses: HTTP status of
    error classes (400 for any other ToolsError). lifespan: as FastAPI takes it.

    Every answer has headers that forbid scripts and styles of other origins or inside the page,
    framing, sniffing and caching. Refused are requests under foreign names (421), changes that come
    from other sites' pages (403), and bodies that are too large (413), while they arrive. An error
    answers {"error": text}, or to a browser that wants a page, a page.
    """
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.templates = templates(package, title)
    app.add_middleware(
        Guard,
        largest_request_bytes=largest_request_bytes,
        larger_requests=larger_requests or {},
        hosts=hosts,
    )
    app.mount("/static", _Files("deadlib.web"))
    app.mount("/page", _Files(package))

    # the nearest class wins, as Starlette goes along the error's own line of classes
    known: dict[type[Exception], int] = {ToolsError: 400, **(statuses or {})}
    for kind, status in known.items():
        app.add_exception_handler(kind, _words(status))
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _misfit)
    return app


class _Files(StaticFiles):
    """The `static` folder of a package; browsers ask each time whether a file is still the same."""

    def __init__(self, package: str) -> None:
        super().__init__(directory=Path(str(files(package))) / "static", check_dir=False)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _words(status: int) -> Any:
    def answer(request: Request, error: Exception) -> Response:
        return _error(request, status, str(error))

    return answer


def _refusal(request: Request, error: Any) -> Response:
    unsaid = error.detail == HTTPStatus(error.status_code).phrase
    message = _UNSAID.get(error.status_code, error.detail) if unsaid else error.detail
    answer = _error(request, error.status_code, str(message))
    answer.headers.update(error.headers or {})
    return answer


def _misfit(request: Request, error: Any) -> Response:
    found = [
        f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return _error(request, 400, "; ".join(found))


def _error(request: Request, status: int, message: str) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return page(request, "error.html", status=status, message=message)
    return JSONResponse({"error": message}, status)

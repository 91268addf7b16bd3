"""The application: models behind TensorFlow Serving's REST API, plain files, and a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import MutableHeaders

from deadlib.server import predict, rest
from deadlib.server.batching import OverloadedError, TooManyImagesError
from deadlib.server.jobs import Jobs
from deadlib.server.models import Models, NotServedError, SlowRequestError
from deadlib.server.pages import PIECE_BYTES, STATUSES, pages
from deadlib.server.settings import Settings
from deadlib.web import application

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    models: Mapping[str, Path | str],
    settings: Settings | None = None,
    *,
    hosts: Collection[str] = (),
) -> FastAPI:
    """An application that answers for exported models, given by name as their folders.

    The models are loaded before it returns. `app.state.models` is the `Models`, and
    `app.state.stopping` whether the server is to end. hosts: as `deadlib.web.application` takes
    them. Raises WebError where a folder holds no model that can be loaded.
    """
    settings = settings or Settings()
    loaded = Models(models, settings)
    loaded.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await loaded.start()
        try:
            yield
        finally:
            await loaded.stop()

    app = application(
        "deadlib.server",
        title="deadlib",
        largest_request_bytes=PIECE_BYTES,
        larger_requests=dict.fromkeys(("/predict", "/v1/"), settings.largest_request_bytes),
        hosts=hosts,
        statuses={NotServedError: 404, SlowRequestError: 408, TooManyImagesError: 413, **STATUSES},
        lifespan=lifespan,
    )
    app.add_middleware(LastAnswers, stopping=lambda: app.state.stopping)
    app.state.models = loaded
    app.state.stopping = False
    app.add_exception_handler(OverloadedError, _overloaded)
    app.include_router(rest.router)
    app.include_router(predict.router)
    app.include_router(pages(Jobs(loaded)))

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        if app.state.stopping:
            return JSONResponse({"status": "stopping"}, 503)
        served = {name: [v.number for v in loaded.served(name)] for name in loaded.names}
        status = "ready" if all(served.values()) else "loading"
        return JSONResponse(
            {"status": status, "versions": served}, 200 if status == "ready" else 503
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(loaded.metrics.text(), media_type=METRICS_TYPE)

    return app


class LastAnswers:
    """ASGI middleware: a server that is to stop closes each connection with its answer, so that
    nobody sends the next request into one that is about to go."""

    def __init__(self, app: Any, stopping: Callable[[], bool]) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def closing_send(message: Any) -> None:
            if message["type"] == "http.response.start" and self._stopping():
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing_send if scope["type"] == "http" else send)


async def _overloaded(request: Request, error: Any) -> Response:
    headers = {"Retry-After": str(error.retry_after_seconds)}
    return JSONResponse({"error": str(error)}, 503, headers)

"""The page: drop images, see what the model says of them and how sure it is."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

from deadlib.server.jobs import Job, JobGoneError, Jobs, ServerFullError
from deadlib.server.rows import Row, thumbnail
from deadlib.web import page, raster_response, report_page
from tfrecords_tools.sources import natural_key

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""What the page offers for choice; what a file is, its content tells."""

PIECE_BYTES = 2**22
"""Of a file, sent in one request."""

STATUSES: dict[type[Exception], int] = {JobGoneError: 404, ServerFullError: 503}
"""HTTP status of what the page's requests may be refused with."""

_FORMULA = ("=", "+", "-", "@", "|", "%")


class NewJob(BaseModel):
    model: str


class NewFile(BaseModel):
    name: str = Field(min_length=1, max_length=1000)
    size_bytes: int = Field(ge=0)


class NewMap(BaseModel):
    kind: str
    stride_px: int | None = Field(None, ge=1)
    class_index: int | None = Field(None, ge=0)


def pages(jobs: Jobs) -> APIRouter:
    """The routes of the page; `jobs` begins and ends with the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        try:
            yield
        finally:
            await jobs.close()

    router = APIRouter(lifespan=lifespan)

    @router.get("/")
    async def index(request: Request) -> Response:
        models = [described(name, jobs) for name in jobs.models.names]
        return page(
            request,
            "index.html",
            models=models,
            suffixes=SUFFIXES,
            minutes=round(jobs.limits.idle_seconds / 60),
        )

    @router.get("/models/{name}/card")
    async def card(name: str) -> Response:
        path = jobs.models.bundle(name).card_page
        if not path.is_file():
            raise JobGoneError("this model was exported without a card; export it again")
        return report_page(path.read_text(encoding="utf-8"))

    @router.post("/jobs", status_code=201)
    async def create(wanted: NewJob) -> dict[str, Any]:
        job = jobs.create(wanted.model)
        return {"job": job.name, "piece_bytes": PIECE_BYTES, **described(job.model, jobs)}

    @router.get("/jobs/{job}")
    async def state(job: str, rows_from: int = 0) -> dict[str, Any]:
        return jobs.of(job).state(rows_from)

    @router.delete("/jobs/{job}", status_code=204)
    async def end(job: str) -> None:
        await jobs.end(job)

    @router.post("/jobs/{job}/stop", status_code=204)
    async def stop(job: str) -> None:
        jobs.of(job).stop()

    @router.post("/jobs/{job}/files", status_code=201)
    async def announce(job: str, file: NewFile) -> dict[str, int]:
        return {"file": jobs.of(job).announce(file.name, file.size_bytes)}

    @router.put("/jobs/{job}/files/{file}", status_code=204)
    async def receive(job: str, file: int, start: int, request: Request) -> None:
        await jobs.of(job).receive(file, start, await request.body())

    @router.get("/jobs/{job}/answers.csv")
    async def answers(job: str) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="answers.csv"'}
        return Response(answers_csv(jobs.of(job)), media_type="text/csv", headers=headers)

    @router.get("/jobs/{job}/rows/{row}/thumbnail")
    def small(job: str, row: int) -> Response:
        found = jobs.of(job)
        return Response(thumbnail(found.image(found.row(row))), media_type="image/png")

    @router.get("/jobs/{job}/rows/{row}/image")
    def image(job: str, row: int) -> Response:
        found = jobs.of(job)
        return raster_response(found.image(found.row(row)))

    @router.post("/jobs/{job}/rows/{row}/maps", status_code=201)
    async def start_map(job: str, row: int, wanted: NewMap) -> dict[str, int]:
        found = jobs.of(job)
        asked = (wanted.kind, wanted.stride_px, wanted.class_index)
        return {"map": found.start_map(found.row(row), *asked)}

    @router.get("/jobs/{job}/maps/{number}")
    async def map_state(job: str, number: int) -> dict[str, Any]:
        return jobs.of(job).map_state(number)

    @router.delete("/jobs/{job}/maps/{number}", status_code=204)
    async def end_map(job: str, number: int) -> None:
        jobs.of(job).end_map(number)

    @router.get("/jobs/{job}/maps/{number}/values")
    def values(job: str, number: int, class_index: int = 0) -> Response:
        picture = jobs.of(job).map(number).picture
        if picture is None or not 0 <= class_index < picture.shape[-1]:
            raise JobGoneError("no such map")
        return raster_response(picture[..., class_index : class_index + 1])

    return router


def described(name: str, jobs: Jobs) -> dict[str, Any]:
    """What the page says of a model."""
    version = jobs.models.version(name)
    bundle = jobs.models.bundle(name)
    return {
        "name": name,
        "version": version.number,
        "classes": bundle.classes,
        "channels": bundle.channels,
        "calibrated": bundle.calibrated,
        "window_px": bundle.window_px,
        "warnings": list(version.warnings),
    }


def answers_csv(job: Job) -> str:
    """One line for each image and frame, by name.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    columns = [
        *("file", "frame", "class", *(f"probability_{name}" for name in job.classes)),
        *("prediction_set", "unsure_share", "out_of_distribution", "unlike_share"),
        *("windows", "height_px", "width_px", "model_version", "warnings", "error"),
    ]
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow([_cell(column) for column in columns])
    for row in sorted(job.finished, key=_by_name):
        told = row.told()
        sets = told.get("prediction_set")
        table.writerow(
            _cell(value)
            for value in (
                told["name"],
                told["frame"] + 1 if told["frames"] > 1 else None,
                told.get("class_name"),
                *(told.get("probability") or [None] * len(job.classes)),
                None if sets is None else " ".join(sets),
                told.get("unsure"),
                told.get("out_of_distribution"),
                told.get("unlike"),
                told["windows"],
                told["height_px"],
                told["width_px"],
                told.get("version"),
                "; ".join(told.get("warnings", [])),
                told["error"],
            )
        )
    return out.getvalue()


def _by_name(row: Row) -> Any:
    return (natural_key(row.file.name), row.number)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
        return f"'{value}"
    return value

"""`POST /predict`: plain image files in, an answer or an error for each of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from deadlib.server.images import sent_images
from deadlib.server.models import Answer, Models, Refused, Version
from tfrecords_tools.errors import ImageError

router = APIRouter()


@router.post("/predict")
async def predict(request: Request, model: str | None = None) -> JSONResponse:
    """Every file of a multipart form, in order; a lapse gives a result for each frame.

    200 where at least one file was answered, 400 where none was.
    """
    models: Models = request.app.state.models
    name = model or models.names[0]
    settings = models.settings
    if request.headers.get("content-type", "").split(";")[0] != "multipart/form-data":
        raise HTTPException(415, "expected multipart/form-data: curl -F file=@cell.png ...")
    models.version(name)
    started = time.perf_counter()
    async with models.reading(name, request.headers.get("content-length")):
        form = await request.form(max_files=settings.most_files, max_fields=settings.most_files)
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise HTTPException(400, "the form holds no file: curl -F file=@cell.png ...")
        with models.using(name) as version:
            results = await _results(models, name, version, files)
            number = version.number
    finally:
        await form.close()
    answered = any("error" not in result for result in results)
    status = 200 if answered else 400
    models.metrics.requests.labels("files", name, str(status)).inc()
    models.metrics.seconds.labels("files").observe(time.perf_counter() - started)
    body: dict[str, Any] = {"model": name, "version": number, "results": results}
    if not answered:
        body["error"] = "; ".join(f"{result['file']}: {result['error']}" for result in results)
    return JSONResponse(body, status)


def as_json(answer: Answer | Refused) -> dict[str, Any]:
    """An answer as plain values, without its evidence; what the model does not tell is null."""
    if isinstance(answer, Refused):
        return {"error": answer.error}
    told = {field.name: getattr(answer, field.name) for field in fields(answer)}
    return {name: value for name, value in told.items() if name not in ("evidence", "version")}


async def _results(
    models: Models, name: str, version: Version, files: list[UploadFile]
) -> list[dict[str, Any]]:
    """What is said of each file; read and asked in parts, so that memory stays bounded."""
    settings = models.settings
    results: list[dict[str, Any]] = []
    part: list[tuple[dict[str, Any], np.ndarray]] = []

    async def ask() -> None:
        # Only the first part can be refused: what was begun is finished.
        patient = len(results) > len(part)
        images = [image for _, image in part]
        answers = await models.predict(name, images, version=version.number, patient=patient)
        for (result, _), answer in zip(part, answers, strict=True):
            result.update(as_json(answer))
        part.clear()

    for file in files:
        images = sent_images(
            file.file,
            channels=len(version.opened.channels),
            largest_px=settings.largest_image_px,
            most_frames=settings.most_files,
        )
        frames: list[dict[str, Any]] = []
        try:
            while (image := await asyncio.to_thread(next, images, None)) is not None:
                frames.append({"file": file.filename, "frame": len(frames) + 1})
                results.append(frames[-1])
                part.append((frames[-1], image))
                size_bytes = sum(4 * image.size for _, image in part)
                full = len(part) == settings.largest_batch
                if full or size_bytes >= settings.largest_batch_bytes:
                    await ask()
        except ImageError as error:
            results.append({"file": file.filename, "error": str(error)})
        if len(frames) == 1:
            del frames[0]["frame"]
    if part:
        await ask()
    return results

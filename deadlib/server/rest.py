"""TensorFlow Serving's REST API: status, metadata and `:predict`, with its codes and sentences.

Nothing here knows images: whatever signature an exported model has can be asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
from fastapi import APIRouter, Request, Response

from deadlib.server.batching import OverloadedError, TooManyImagesError
from deadlib.server.models import Models, NotServedError, SlowRequestError, Version, graph_message
from deadlib.server.tensors import (
    DEFAULT_SIGNATURE,
    BadRequestError,
    Inputs,
    PredictRequest,
    read_json,
    read_request,
    write_answer,
)

router = APIRouter()

SMALL_BYTES = 2**18
_large_work = ThreadPoolExecutor(1, "json")
T = TypeVar("T")

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<verb>classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.IGNORECASE
)
_LARGEST_VERSION = 2**63 - 1

_VERBS = {"classify": "classification", "regress": "regression"}


@router.api_route("/v1/{rest:path}", methods=["GET", "POST"])
async def answer(request: Request) -> Response:
    """Any request of the API; what is not one of it is malformed, as TensorFlow Serving says."""
    models: Models = request.app.state.models
    started = time.perf_counter()
    path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
    pattern = _PREDICTION if request.method == "POST" else _STATUS
    asked = pattern.fullmatch(path)
    name = unquote(asked["name"] or "") if asked else ""
    route = (asked["verb"].lower() if request.method == "POST" else "status") if asked else "none"
    status, body, headers = 200, b"", {}
    try:
        if asked is None:
            raise BadRequestError(f"Malformed request: {request.method} {path}")
        if request.method == "GET":
            body = _told(models, name, _number(asked), bool(asked["metadata"]))
        elif route == "predict":
            body = await _predicted(models, name, _number(asked), request)
        else:
            async with _arrived(models, name, request) as sent:
                _refuse_verb(models, name, _number(asked), route, sent)
    except BadRequestError as error:
        status, body = 400, _error(str(error))
    except NotServedError as error:
        status, body = 404, _error(str(error))
    except TooManyImagesError as error:
        status, body = 413, _error(str(error))
    except SlowRequestError as error:
        status, body = 408, _error(str(error))
    except OverloadedError as error:
        status, body = 503, _error(str(error))
        headers = {"Retry-After": str(error.retry_after_seconds)}
    known = name if models.model(name) else ""
    models.metrics.requests.labels(route, known, str(status)).inc()
    models.metrics.seconds.labels(route).observe(time.perf_counter() - started)
    return Response(body, status, headers, media_type="application/json")


def _number(asked: re.Match[str]) -> int | None:
    if asked["label"]:
        raise BadRequestError(f"Unrecognized servable version label: {unquote(asked['label'])}")
    if asked["version"] is None:
        return None
    number = int(asked["version"]) if len(asked["version"]) < 20 else _LARGEST_VERSION + 1
    if number > _LARGEST_VERSION:
        raise BadRequestError(f"Failed to convert version: {asked['version']} to numeric.")
    return number


def _told(models: Models, name: str, number: int | None, metadata: bool) -> bytes:
    if not name:
        raise BadRequestError("Missing model name in request.")
    if metadata:
        return _json(_metadata(name, models.version(name, number)))
    model = models.model(name)
    if model is None or not model.versions:
        raise NotServedError(f"Could not find any versions of model {name}")
    if number is not None and number not in model.versions:
        raise NotServedError(f"Could not find version {number} of model {name}")
    asked = sorted(model.versions, reverse=True) if number is None else [number]
    return _json({"model_version_status": [_status(model.versions[n]) for n in asked]})


def _status(version: Version) -> dict[str, Any]:
    code = "UNKNOWN" if version.error else "OK"
    return {
        "version": str(version.number),
        "state": version.state,
        "status": {"error_code": code, "error_message": version.error},
    }


def _metadata(name: str, version: Version) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    signatures = {
        key: MessageToDict(
            signature,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for key, signature in version.signature_defs.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _refuse_verb(models: Models, name: str, number: int | None, verb: str, body: bytes) -> None:
    """deadlib's signatures are none for `tf.Example`s; say so as TensorFlow Serving does."""
    document = read_json(body)
    if "examples" not in document:
        raise BadRequestError(
            f"When method is {verb}, key 'examples' is expected and was not found"
        )
    version = models.version(name, number)
    signature = str(document.get("signature_name") or DEFAULT_SIGNATURE)
    if signature not in version.signature_defs:
        raise BadRequestError(f"No signature was found with the name: {signature}")
    raise BadRequestError(
        f"Expected {_VERBS[verb]} signature method_name to be tensorflow/serving/{verb}. Was: "
        f"{version.signature_defs[signature].method_name}"
    )


async def _predicted(models: Models, name: str, number: int | None, request: Request) -> bytes:
    def inputs_of(signature: str) -> Inputs:
        inputs = models.version(name, number).inputs(signature)
        if inputs is None:
            raise BadRequestError(
                f'Serving signature name: "{signature}" not found in signature def'
            )
        return inputs

    async with _arrived(models, name, request) as body:
        asked = await _aside(len(body), read_request, body, inputs_of)
    version = models.version(name, number)
    inputs = inputs_of(asked.signature)
    rows = [(asked.signature, row) for row in _rows(asked, inputs)]
    answers = []
    for found in await models.ask(name, version, rows):
        if isinstance(found, BaseException):
            raise BadRequestError(graph_message(found))
        answers.append(found)
    outputs = {key: np.stack([row[key] for row in answers]) for key in answers[0]}
    size = sum(array.nbytes for array in outputs.values())
    return await _aside(size, partial(write_answer, by_row=asked.by_row), outputs)


@asynccontextmanager
async def _arrived(models: Models, name: str, request: Request) -> AsyncIterator[bytes]:
    """The body of a request, which takes up room in the queue while it comes and is worked on."""
    length = request.headers.get("content-length")
    async with models.reading(name if models.model(name) else "", length):
        yield await request.body()


async def _aside(size_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
    """Large work in a thread, so that others are answered meanwhile; small work at once.

    One large work after the other: as Python lists numbers are ten times as large, and side by
    side nothing of it would be faster.
    """
    if size_bytes < SMALL_BYTES:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_large_work, work, *arguments)


def _rows(asked: PredictRequest, inputs: Inputs) -> list[dict[str, np.ndarray]]:
    """One by one, what the tensors hold along their first axis. Raises BadRequestError."""
    if set(asked.tensors) != set(inputs):  # read for the version before this one
        raise BadRequestError(
            f"inputs {', '.join(asked.tensors)}, expected {', '.join(inputs)}, as a new version is "
            "served now"
        )
    for name, array in asked.tensors.items():
        shape = inputs[name].shape
        fits = len(shape) == array.ndim and all(
            size in (-1, found) for size, found in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise BadRequestError(
                f"input {name} has the shape {list(array.shape)}, expected {list(shape)}"
            )
    sizes = {name: len(array) for name, array in asked.tensors.items()}
    count = next(iter(sizes.values()))
    if set(sizes.values()) != {count} or not count:
        raise BadRequestError(f"inputs of different or no size along the first axis: {sizes}")
    return [
        {name: np.asarray(array[i], array.dtype) for name, array in asked.tensors.items()}
        for i in range(count)
    ]


def _error(message: str) -> bytes:
    return _json({"error": message})


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()

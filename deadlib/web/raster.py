"""Images to the browser as the microscope wrote them: no PNG, no clipping, no rounding."""

from __future__ import annotations

import numpy as np
from fastapi import Response

from deadlib.errors import WebError

SENT = {"uint8": "<u1", "uint16": "<u2", "float32": "<f4"}


def raster_response(image: np.ndarray) -> Response:
    """An image (H, W, C) or (H, W) as raw little-endian planes, one channel after the other.

    uint8, uint16 and float32 are sent as they are; bool as uint8; other whole numbers of at most
    16 bits and other floats as float32. Header X-Shape is "C,H,W", X-Dtype the type that is sent.
    viewer.js reads it. Raises WebError for an image of another shape or type.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise WebError(f"an image of shape {image.shape} cannot be shown; expected (H, W, C)")
    planes = image[np.newaxis] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    dtype = _sent_as(image.dtype)
    return Response(
        planes.astype(SENT[dtype], order="C").tobytes(),
        media_type="application/octet-stream",
        headers={"X-Shape": ",".join(map(str, planes.shape)), "X-Dtype": dtype},
    )


def _sent_as(dtype: np.dtype) -> str:
    if dtype.name in SENT:
        return dtype.name
    if dtype.kind == "b":
        return "uint8"
    if dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize <= 2):
        return "float32"
    raise WebError(
        f"an image of type {dtype.name} cannot be shown; expected {', '.join(SENT)}, or a type "
        "that float32 holds"
    )

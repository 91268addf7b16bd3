"""A page with nothing on it but the viewer, and images that a test chooses."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse

from deadlib.web import application, raster_response

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Viewer</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/site.css"><script type="module" src="/start.js"></script>
</head><body><main><h1>Viewer</h1><div id="viewer"></div></main></body></html>"""
SCRIPT = """import { Viewer } from "/static/viewer.js";
window.viewer = new Viewer(document.getElementById("viewer"), {
  label: "Item 1", help: [["1", "Healthy"]], remember: "test" });
"""


def viewer_app(images: dict[str, Callable[[int], np.ndarray | Response]]) -> FastAPI:
    """`/image/NAME/N` answers what `images[NAME](N)` gives."""
    app = application("deadlib.web", title="Viewer")

    @app.get("/")
    def start() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/start.js")
    def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    @app.get("/image/{name}/{frame}")
    def image(name: str, frame: int) -> Response:
        if name not in images:
            raise HTTPException(404, f"the image {name} is gone")
        found = images[name](frame)
        return found if isinstance(found, Response) else raster_response(found)

    return app


SHOW = """async ([name, frames, channels, more]) => viewer.show({
  frames, channels: channels ?? undefined, url: (frame) => `/image/${name}/${frame}`, ...more })"""


def show(page: Any, name: str, frames: int = 1, channels: Any = None, **more: Any) -> bool:
    """Whether the viewer drew it."""
    return bool(page.evaluate(SHOW, [name, frames, channels, more]))


def drawn(page: Any) -> np.ndarray:
    """The canvas as it is, (H, W, 4) uint8, in screen pixels."""
    width, height, values = page.evaluate("""async () => {
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        const canvas = document.querySelector(".viewer-stage canvas");
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        let text = "";
        for (let i = 0; i < data.length; i += 8192) {
            text += String.fromCharCode(...data.subarray(i, i + 8192));
        }
        return [width, height, btoa(text)];
    }""")
    return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)

"""How fast an image is on the screen."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys

import click
from common import rounded

SERVER = """
import sys
import numpy as np
from fastapi.responses import HTMLResponse
from deadlib.web import application, raster_response, serve

side, channels, dtype = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(0)
image = (rng.random((side, side, channels)) ** 4 * (65535 if dtype == "uint16" else 255))
image = image.astype(dtype)
app = application("deadlib.web", title="viewer")

@app.get("/empty")
def empty() -> HTMLResponse:
    return HTMLResponse(
        '<!doctype html><link rel="stylesheet" href="/static/site.css"><div id="viewer"></div>'
    )

@app.get("/image/{number}")
def shown(number: int) -> object:
    return raster_response(image)

serve(app, port=0, ready=lambda url: print(url, flush=True))
"""
MEASURE = """async (repeats) => {
  const { Viewer } = await import("/static/viewer.js");
  const viewer = new Viewer(document.getElementById("viewer"), { label: "Item" });
  const timed = async (work) => {
    const began = performance.now();
    await work();
    // what was drawn is on the screen when the next frame but one begins
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return (performance.now() - began) / 1000;
  };
  const item = (number) => ({ frames: 1, url: () => `/image/${number}` });
  const found = { alone: [], prepared: [], contrast: [] };
  for (let number = 0; number < repeats; number++) {
    found.alone.push(await timed(() => viewer.show(item(number))));
    found.contrast.push(await timed(() => viewer.gamma(0.5 + number / 100)));
    viewer.prepare(item(-1 - number));
    await new Promise((done) => setTimeout(done, 1000));
    found.prepared.push(await timed(() => viewer.show(item(-1 - number))));
  }
  return found;
}"""


@click.command()
@click.option("--side-px", default=1024)
@click.option("--channels", default=4)
@click.option("--dtype", type=click.Choice(["uint8", "uint16", "float32"]), default="uint16")
@click.option("--repeats", default=15)
def viewer(side_px: int, channels: int, dtype: str, repeats: int) -> None:
    """From asking for an image to seeing it in Chromium, on this machine; the limit is 0.3 s."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-c", SERVER, str(side_px), str(channels), dtype]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().strip()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--no-sandbox", "--disable-gpu"],
                )
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"{url}/empty")
                found = page.evaluate(MEASURE, repeats)
                browser.close()
        finally:
            server.terminate()
    print(f"{side_px} x {side_px} x {channels}, {dtype}: seconds until it is on the screen")
    words = {
        "alone": "asked for, first in the session",
        "prepared": "loaded while the one before was looked at",
        "contrast": "after a change of contrast",
    }
    first = found["alone"].pop(0)
    print(f"  {words['alone']}: {first:.3f}")
    words["alone"] = "asked for"
    for kind, times in found.items():
        low, high = rounded([min(times), max(times)])
        print(f"  {words[kind]}: median {statistics.median(times):.3f} ({low} to {high})")

"""Chromium for the tests of the web pages: one for each session, pages of their own for each test.

Skips, loudly, where there is no browser. DEADLIB_SCREENSHOTS=FOLDER keeps the pictures.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE = (1280, 900)
PHONE = (390, 844)
WAIT_MS = 60_000
"""For what should come at once: a loaded machine is slow, not wrong."""

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A playwright Browser; use `open_page` rather than this."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="BROWSER NOT TESTED: playwright is not installed"
    )
    with sync_api.sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            browser = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
        except sync_api.Error as error:
            pytest.skip(f"BROWSER NOT TESTED: no Chromium starts: {error.message.splitlines()[0]}")
        with _no_loop():
            yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens an address as another person would: `open_page(url, phone=True, dark=True)`.

    Each call is a browser of its own (cookies, stored settings); `page.context.new_page()` is
    another tab of the same one. Keywords: `width`, `height`, `phone`, `dark`, `scale` (device
    pixels for each of the page's), `reduced_motion`, `url` "" opens nothing yet. At the end of the
    test no page may have had an uncaught error or have broken the content security policy. That
    policy holds for a test, too: `page.wait_for_function` takes "() => ...", no bare expression.
    """
    with people(chromium) as opened:
        yield opened


@contextmanager
def people(chromium: Any) -> Iterator[Open]:
    """As the fixture `open_page`, for fixtures of wider scope: to open one takes longest."""
    with _loop_of(chromium), ExitStack() as contexts:
        faults: list[str] = []

        def opened(
            url: str,
            *,
            phone: bool = False,
            dark: bool = False,
            width: int | None = None,
            height: int | None = None,
            scale: float = 1,
            reduced_motion: bool = False,
        ) -> Any:
            size = PHONE if phone else WIDE
            context = chromium.new_context(
                viewport={"width": width or size[0], "height": height or size[1]},
                color_scheme="dark" if dark else "light",
                device_scale_factor=scale,
                has_touch=phone,
                reduced_motion="reduce" if reduced_motion else "no-preference",
                accept_downloads=True,
            )
            contexts.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            context.on("weberror", lambda fault: faults.append(str(fault.error)))
            context.on("console", lambda message: _note_breach(message, faults))
            page = context.new_page()
            if url:
                page.goto(url)
            return page

        yield opened
        assert not faults, f"the page failed: {faults}"


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of an application that answers from a thread of this process, until the end."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5)
    )
    started = threading.Event()
    startup = server.startup

    async def startup_told(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = startup_told  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        assert started.wait(60)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


def serious_faults(page: Any) -> list[str]:
    """What axe-core finds of serious or critical impact: the rule, and what breaks it."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="BROWSER NOT TESTED: axe-playwright-python is not installed",
    )
    # preload is for a rule about turned phones, and breaks the page's policy on styles
    options = {"resultTypes": ["violations"], "preload": False}
    found = axe.Axe().run(page, options=options).response["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'] for node in fault['nodes']]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def screenshot(page: Any, name: str, *, whole: bool = True) -> None:
    """Keep a picture of the page, all of its length, where DEADLIB_SCREENSHOTS says."""
    folder = os.environ.get("DEADLIB_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def _note_breach(message: Any, faults: list[str]) -> None:
    """What the page itself did against its policy; scripts that a test brings have no address."""
    if "Content Security Policy" in message.text and message.location["url"]:
        faults.append(message.text)


@contextmanager
def _no_loop() -> Iterator[None]:
    """Playwright leaves its event loop marked as running in this thread; tests run their own."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@contextmanager
def _loop_of(browser: Any) -> Iterator[None]:
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(browser._loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)

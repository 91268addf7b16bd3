"""The browser that the tests of all pages share finds what it is there to find."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from browser import Open, running, serious_faults
from fastapi.responses import HTMLResponse

from deadlib.web import application

BLANK = "<!doctype html><html lang='en'><title>t</title><main><h1>t</h1>{}</main></html>"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = application("deadlib.web", title="test")

    @app.get("/unlabelled")
    def unlabelled() -> object:
        return HTMLResponse(BLANK.format("<input><button></button>"))

    with running(app) as url:
        yield url


def test_each_page_is_another_person(open_page: Open, address: str) -> None:
    first, second = open_page(f"{address}/unlabelled"), open_page(f"{address}/unlabelled")
    first.evaluate("localStorage.setItem('name', 'first')")
    assert second.evaluate("localStorage.getItem('name')") is None
    tab = first.context.new_page()
    tab.goto(f"{address}/unlabelled")
    assert tab.evaluate("localStorage.getItem('name')") == "first"


def test_faults_of_access_are_found(open_page: Open, address: str) -> None:
    found = serious_faults(open_page(f"{address}/unlabelled"))
    assert {fault.partition(":")[0] for fault in found} == {"button-name", "label"}


@pytest.mark.parametrize("dark", [False, True])
def test_the_error_page_has_none(open_page: Open, address: str, dark: bool) -> None:
    assert serious_faults(open_page(f"{address}/nothing", dark=dark)) == []


def test_a_test_beside_it_may_run_a_loop_of_its_own(chromium: object) -> None:
    async def answer() -> int:
        return 3

    assert asyncio.run(answer()) == 3

"""A panel on small images, and its site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from picture_folder import write_pictures
from starlette.testclient import TestClient

from deadlib.panel import Panel, create
from deadlib.panel.site import create_site

HERE = "http://127.0.0.1:8000"

Make = Callable[..., Panel]


@pytest.fixture
def make_panel(tmp_path: Path) -> Iterator[Make]:
    """A panel on so many images; keywords as `deadlib.panel.create` takes them."""
    opened: list[Panel] = []

    def made(items: int = 12, **settings: Any) -> Panel:
        images = write_pictures(tmp_path / "images", items)
        opened.append(Panel(create(tmp_path / "panel", images, **settings)))
        return opened[-1]

    yield made
    for panel in opened:
        panel.close()


@pytest.fixture
def panel(make_panel: Make) -> Panel:
    return make_panel()


class Visitor(TestClient):
    """Somebody's browser, without the page."""

    def task(self) -> Any:
        response = self.get("/task")
        assert response.status_code == 200, response.text
        return response.json()

    def answer(self, response: str = "healthy", serving: str | None = None) -> Any:
        serving = serving or self.task()["serving"]["id"]
        said = {"serving": serving, "response": response, "seconds": 1.5}
        return self.post("/answer", json=said)


@pytest.fixture
def visit() -> Callable[..., Visitor]:
    """`visit(panel, "/a/TOKEN")`: a browser of one's own that has opened a link."""
    apps: dict[int, Any] = {}

    def visitor(panel: Panel, path: str | None = None) -> Visitor:
        app = apps.setdefault(id(panel), create_site(panel))
        found = Visitor(app, base_url=HERE)
        if path is not None:
            assert found.get(path).status_code == 200
        return found

    return visitor


@pytest.fixture
def ana(panel: Panel, visit: Callable[..., Visitor]) -> Visitor:
    return visit(panel, f"/a/{panel.add_annotator('Ana')}")


@pytest.fixture
def administrator(panel: Panel, visit: Callable[..., Visitor]) -> Visitor:
    return visit(panel, f"/admin/{panel.admin_token()}")

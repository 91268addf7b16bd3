"""Pages from templates, and finished pages as they are."""

from __future__ import annotations

from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from deadlib._version import __version__
from deadlib.web.guard import REPORT_POLICY


def templates(package: str, title: str) -> jinja2.Environment:
    """The templates of a package, which may extend `base.html` and use what stands there."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("deadlib.web")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(application=title, version=__version__)
    return environment


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template of the application's package, filled in; it knows `request` and `status`."""
    template = request.app.state.templates.get_template(name)
    return HTMLResponse(template.render(request=request, status=status, **values), status)


def report_page(html: str) -> HTMLResponse:
    """A self-contained page of deadlib.pages: its style is inside, scripts do not run."""
    return HTMLResponse(html, headers={"Content-Security-Policy": REPORT_POLICY})

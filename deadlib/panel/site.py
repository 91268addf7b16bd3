"""The panel's web site: a page for annotators, and those of the administrator."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from deadlib.errors import PanelConflict, PanelOutage
from deadlib.panel import administration, annotators
from deadlib.panel.desk import Desk
from deadlib.panel.doorman import TooManyTriesError
from deadlib.panel.panel import Panel
from deadlib.web import application

LARGEST_REQUEST_BYTES = 500_000


def create_site(panel: Panel, *, hosts: Collection[str] = ()) -> FastAPI:
    """The site of a panel, for `deadlib.web.serve` or any ASGI server; several may serve one panel.

    hosts: names that it may be opened by, beside addresses and those of this machine.
    """

    app = application(
        "deadlib.panel",
        title=panel.project.settings.title,
        hosts=hosts,
        largest_request_bytes=LARGEST_REQUEST_BYTES,
        statuses={PanelConflict: 409, PanelOutage: 503, TooManyTriesError: 429},
    )
    app.state.desk = Desk.of(panel)
    app.include_router(annotators.router)
    app.include_router(administration.router)
    return app

"""What the pages of a panel share: who is asking, what they are shown, and the pixels of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from numpy.typing import NDArray

from deadlib.errors import PanelOutage
from deadlib.panel.doorman import Doorman
from deadlib.panel.panel import Panel, Serving
from deadlib.panel.pixels import Pixels
from deadlib.panel.project import Project
from deadlib.panel.settings import Channel
from deadlib.web import page
from deadlib.web.raster import raster_response
from tfrecords_tools.errors import ToolsError

COOKIE_SECONDS = 90 * 24 * 3600
SKIPPED_AT_ONCE = 5
"""So many items in a row that cannot be read are no single damaged files any more."""

_log = logging.getLogger(__name__)


@dataclass
class Desk:
    """A project that is being served."""

    panel: Panel
    pixels: Pixels
    annotators: Doorman[str]
    administrators: Doorman[bool]

    @classmethod
    def of(cls, panel: Panel) -> Desk:
        return cls(
            panel=panel,
            pixels=Pixels(),
            annotators=Doorman(panel.annotator_of),
            administrators=Doorman(lambda token: panel.is_admin(token) or None),
        )

    @property
    def project(self) -> Project:
        return self.panel.project

    def cookie(self, role: str) -> str:
        """The name of a cookie; browsers hand the cookies of one port to all others as well."""
        place = f"{self.project.fingerprint}/{self.project.folder.resolve()}"
        return f"deadlib_{role}_{hashlib.sha256(place.encode()).hexdigest()[:12]}"

    @property
    def in_trial(self) -> bool:
        return self.project.settings.mode == "trial"

    @property
    def choices(self) -> list[dict[str, str]]:
        """The answers that can be given, as buttons."""
        keys = self.project.settings.keys
        return [
            {"name": name, "key": key, "text": name[:1].upper() + name[1:]}
            for name, key in keys.items()
        ]

    def frame(self, annotator: str, serving: str, number: int) -> NDArray[np.generic]:
        """A frame of what an annotator was given. Raises as `Panel.image`."""
        return self.pixels.frame(
            (annotator, serving, number), lambda: self.panel.image(annotator, serving, number)
        )

    def current(self, annotator: str) -> Serving | None:
        """What an annotator is to answer now; what cannot be read is skipped, and noted.

        Raises HTTPException where so much cannot be read that the items are not to blame.
        """
        for _ in range(SKIPPED_AT_ONCE):
            serving = self.panel.current(annotator)
            if serving is None:
                return None
            try:
                for number in range(serving.frames):
                    self.frame(annotator, serving.id, number)
            except (ToolsError, OSError, ValueError) as error:
                self._check_source()
                _log.warning("an item is left out: %s", error)
                self.panel.skip(annotator, serving.id, str(error))
            else:
                return serving
        raise HTTPException(503, "Many images cannot be read. Please tell the administrator.")

    def mark(self, item: str) -> str:
        """What the administrator's browser calls an item that is to be decided."""
        return hashlib.sha256(f"{self.project.fingerprint}/{item}".encode()).hexdigest()[:32]

    def number_of(self, mark: str) -> int:
        """The item of a mark. Raises HTTPException where there is none."""
        number = self._marks.get(mark)
        if number is None:
            raise HTTPException(404, "there is no such item")
        return number

    @cached_property
    def _marks(self) -> dict[str, int]:
        return {self.mark(item): number for number, item in enumerate(self.project.names)}

    def _check_source(self) -> None:
        """A folder that is away for a while must not cost the project its items."""
        if not self.project.source.exists():
            _log.error("%s is not there", self.project.source)
            raise HTTPException(
                503, "The images cannot be reached at the moment. Please tell the administrator."
            )


def desk_of(request: Request) -> Desk:
    """The desk of the site that is asked."""
    found: Desk = request.app.state.desk
    return found


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def entered(
    request: Request, who: object, *, token: str, cookie: str, to: str, invalid: str
) -> Response:
    """The cookie that stands for a link from now on, and the page that it opens.

    invalid: what whoever has a wrong link should do.
    """
    if who is None:
        message = f"This link is not valid, or not any more. {invalid}"
        return page(request, "door.html", status=404, message=message)
    response = RedirectResponse(to, 303)
    response.set_cookie(
        cookie,
        token,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def raster(read: Callable[[], NDArray[np.generic]]) -> Response:
    """The pixels that `read` gives. Why there are none is told to the log alone, as it names files.

    Raises HTTPException, and PanelOutage where the database does not answer.
    """
    try:
        image = read()
    except PanelOutage:
        raise
    except (ToolsError, OSError, ValueError) as error:
        _log.warning("a frame cannot be shown: %s", error)
        raise HTTPException(404, "There is none, or its file cannot be read.") from None
    return raster_response(image)


def picture(frames: int, channels: Sequence[Channel], interval_ms: int) -> dict[str, Any]:
    """What the viewer must know of an item before its pixels come."""
    return {
        "frames": frames,
        "channels": [{"name": each.name, "colour": each.colour} for each in channels],
        "interval_ms": interval_ms,
    }

"""An annotator's page: the next item, an answer, and that answer taken back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deadlib.panel.desk import Desk, address_of, desk_of, entered, picture, raster
from deadlib.panel.panel import Progress, Serving
from deadlib.panel.protocol import AFTER, BEFORE, SHOWN
from deadlib.panel.settings import SEEN
from deadlib.web import page

ROLE = "annotator"
LOST = "This page opens by your own link. Please open it again, or ask the administrator for one."
RENEWED = "Please ask for a new one."

_PHASES = {
    BEFORE: "Part 1 of 3: say what you think. Nobody expects you to know yet.",
    SHOWN: "Part 2 of 3: look and learn. Each image is shown with what it is.",
    AFTER: "Part 3 of 3: new images. Say what you think now.",
}


class Said(BaseModel):
    """An answer. seconds: for which the item was in view."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    serving: str = Field(max_length=100)
    response: str = Field(max_length=200)
    seconds: float = Field(ge=0, le=1e7)


class Undo(BaseModel):
    """serving: what the browser shows now, so that the request sent twice takes back one answer."""

    model_config = ConfigDict(extra="forbid")

    serving: str | None = Field(max_length=100)


router = APIRouter()

Here = Annotated[Desk, Depends(desk_of)]


def admitted(request: Request, desk: Here) -> str | None:
    """Who asks; None for somebody without a link of their own."""
    return desk.annotators.admit(request.cookies.get(desk.cookie(ROLE)), address_of(request))


def known(annotator: Annotated[str | None, Depends(admitted)]) -> str:
    """Who asks. Raises HTTPException for anybody else."""
    if annotator is None:
        raise HTTPException(401, LOST)
    return annotator


Annotator = Annotated[str, Depends(known)]


@router.get("/a/{token}")
def enter(token: str, request: Request, desk: Here) -> Response:
    who = desk.annotators.admit(token, address_of(request))
    return entered(request, who, token=token, cookie=desk.cookie(ROLE), to="/", invalid=RENEWED)


@router.get("/")
def start(
    request: Request, desk: Here, annotator: Annotated[str | None, Depends(admitted)]
) -> Response:
    if annotator is None:
        return page(request, "door.html", status=401, message=LOST)
    return page(
        request, "annotate.html", annotator=annotator, choices=desk.choices, trial=desk.in_trial,
        seen=SEEN,
    )  # fmt: skip


@router.get("/task")
def task(desk: Here, annotator: Annotator) -> dict[str, Any]:
    return _task(desk, annotator)


@router.post("/answer")
def answer(said: Said, desk: Here, annotator: Annotator) -> dict[str, Any]:
    desk.panel.answer(annotator, said.serving, said.response, said.seconds)
    return _task(desk, annotator)


@router.post("/undo")
def undo(wanted: Undo, desk: Here, annotator: Annotator) -> dict[str, Any]:
    now = desk.panel.current(annotator)
    if (now.id if now else None) == wanted.serving:
        desk.panel.undo(annotator)
    return _task(desk, annotator)


@router.get("/serving/{serving}/frame/{number}")
def frame(serving: str, number: int, desk: Here, annotator: Annotator) -> Response:
    return raster(lambda: desk.frame(annotator, serving, number))


def _task(desk: Desk, annotator: str) -> dict[str, Any]:
    """All that the page shows; the id is the only thing in it that stands for an item."""
    serving = desk.current(annotator)
    ahead = desk.panel.ahead(annotator) if serving else None
    progress = desk.panel.progress(annotator)
    return {
        "serving": _serving(desk, serving) if serving else None,
        "ahead": {"id": ahead.id, "frames": ahead.frames} if ahead else None,
        "progress": _progress(progress),
        "phase": _PHASES.get(serving.phase) if serving else None,
        "can_undo": progress.can_undo,
    }


def _serving(desk: Desk, serving: Serving) -> dict[str, Any]:
    settings = desk.project.settings
    return {
        "id": serving.id,
        "number": serving.number,
        "shown": [
            [name, "–" if value is None else str(value)] for name, value in serving.shown.items()
        ],
        "label": serving.label,
        "answers": serving.answers,
        **picture(serving.frames, serving.channels, settings.interval_ms),
    }


def _progress(progress: Progress) -> dict[str, Any]:
    """How far an annotator is; in a shared panel nobody knows yet how many will be theirs.

    What all have answered is told in tenths: exact numbers would tell, after each answer, whether
    another annotator had answered the item before.
    """
    past = progress.answered + progress.skipped
    if progress.to_answer is None:
        tenths = 10 * progress.items_answered // progress.items
        return {
            "value": tenths,
            "all": 10,
            "words": f"{progress.answered:,} answered by you, {10 * tenths} % of the panel by all",
        }
    words = f"{past:,} of {progress.to_answer:,}"
    if progress.phase_items is not None and progress.phase_items != progress.to_answer:
        words = f"{progress.phase_answered:,} of {progress.phase_items:,}"
    return {"value": past, "all": progress.to_answer, "words": words}

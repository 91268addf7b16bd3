"""The administrator's pages: annotators and their links, results, decisions, exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deadlib.errors import PanelError
from deadlib.panel.desk import Desk, address_of, desk_of, entered, picture, raster
from deadlib.panel.export import csv_text, export_table
from deadlib.panel.panel import LONGEST_NAME
from deadlib.web import page, report_page

if TYPE_CHECKING:
    import pandas as pd

ROLE = "administrator"
LOST = (
    "This page opens by the administrator's link, which deadlib-annotate serve prints when it "
    "starts."
)
RENEWED = "deadlib-annotate serve prints a new one each time it starts: use the last of them."
_WARNINGS_SHOWN = 5


EXPORT = "annotations.csv"


class Decision(BaseModel):
    """item, label, by: all three, or none. left: items to be shown later, in this window."""

    model_config = ConfigDict(extra="forbid")

    item: str | None = Field(None, max_length=64)
    label: str | None = Field(None, max_length=200)
    by: str = Field("", max_length=LONGEST_NAME)
    left: list[Annotated[str, Field(max_length=64)]] = Field([], max_length=10_000)


Here = Annotated[Desk, Depends(desk_of)]


def known(request: Request, desk: Here) -> None:
    """Raises HTTPException for anybody but the administrator."""
    token = request.cookies.get(desk.cookie(ROLE))
    if desk.administrators.admit(token, address_of(request)) is None:
        raise HTTPException(401, LOST)


async def name_in_form(request: Request) -> str:
    """The one field of the page's forms."""
    try:
        fields = parse_qs((await request.body()).decode(), errors="strict", max_num_fields=5)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
    return fields.get("name", [""])[0]


Name = Annotated[str, Depends(name_in_form)]

inside = APIRouter(prefix="/admin", dependencies=[Depends(known)])


@inside.get("")
def start(request: Request, desk: Here) -> Response:
    return _overview(request, desk)


@inside.post("/annotators")
def add(request: Request, desk: Here, name: Name) -> Response:
    return _linked(request, desk, name.strip(), desk.panel.add_annotator)


@inside.post("/link")
def renew(request: Request, desk: Here, name: Name) -> Response:
    return _linked(request, desk, name, desk.panel.new_token)


@inside.post("/removal")
def remove(request: Request, desk: Here, name: Name) -> Response:
    try:
        desk.panel.remove_access(name)
    except PanelError as error:
        return _overview(request, desk, 400, error=str(error))
    return _overview(request, desk)


@inside.get("/results")
def results(request: Request, desk: Here) -> Response:
    # figures take a second to import, and most servers never draw one
    from deadlib.panel.results import panel_page

    found = panel_page(desk.panel)
    if found is None:
        return page(request, "door.html", message="Nobody has answered yet.")
    return report_page(found.html())


@inside.get(f"/{EXPORT}")
def export(desk: Here) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{EXPORT}"'}
    return Response(csv_text(export_table(desk.panel)), media_type="text/csv", headers=headers)


@inside.get("/adjudication")
def adjudication(request: Request, desk: Here) -> Response:
    return page(request, "adjudication.html", choices=desk.choices, longest_name=LONGEST_NAME)


@inside.post("/adjudication/next")
def decide(decision: Decision, desk: Here) -> dict[str, Any]:
    by = decision.by.strip()
    if decision.item is not None:
        if decision.label is None or not by:
            raise HTTPException(400, "a decision needs a label, and the name of who made it")
        item = desk.project.names[desk.number_of(decision.item)]
        _check_impartial(desk, item, by)
        desk.panel.adjudicate(item, decision.label, by)
    waiting = _waiting(desk, by or None)
    left = set(decision.left)
    following = next((item for item in waiting if desk.mark(item) not in left), None)
    return {
        "item": None if following is None else _item(desk, following),
        "waiting": len(waiting),
    }


@inside.get("/adjudication/{mark}/frame/{frame}")
def frame(mark: str, frame: int, desk: Here) -> Response:
    number = desk.number_of(mark)
    return raster(
        lambda: desk.pixels.frame((number, frame), lambda: desk.project.image(number, frame))
    )


router = APIRouter()
router.include_router(inside)


# behind all others, as a token may be any word
@router.get("/admin/{token}")
def enter(token: str, request: Request, desk: Here) -> Response:
    who = desk.administrators.admit(token, address_of(request))
    return entered(
        request, who, token=token, cookie=desk.cookie(ROLE), to="/admin", invalid=RENEWED
    )


def _linked(request: Request, desk: Desk, name: str, token: Callable[[str], str]) -> Response:
    """The page with a link that `token` makes; the one time that it is shown."""
    try:
        url = f"{request.base_url}a/{token(name)}"
    except PanelError as error:
        return _overview(request, desk, 400, error=str(error))
    return _overview(request, desk, link={"annotator": name, "url": url})


def _overview(request: Request, desk: Desk, status: int = 200, **values: Any) -> Response:
    shown = {"error": None, "link": None, **_facts(desk), **values}
    return page(request, "administration.html", status=status, **shown)


def _facts(desk: Desk) -> dict[str, Any]:
    panel = desk.panel
    log = panel.log()
    log = log[~log["withdrawn"]]
    return {
        "items": len(desk.project.items),
        "answers": len(log),
        "annotators": [_annotator(desk, row, log) for row in panel.annotators().itertuples()],
        "open_disputes": 0 if desk.in_trial else len(_waiting(desk)),
        "trial": desk.in_trial,
        "warnings": _warnings(desk),
        "export": EXPORT,
        "longest_name": LONGEST_NAME,
    }


def _annotator(desk: Desk, row: Any, log: pd.DataFrame) -> dict[str, Any]:
    own = log[log["annotator"] == row.name]
    progress = desk.panel.progress(row.name)
    return {
        "name": row.name,
        "access": bool(row.access),
        "answered": progress.answered,
        "to_answer": progress.to_answer,
        "done": progress.done and progress.answered > 0,
        "median_seconds": f"{own['seconds'].median():.1f} s" if len(own) else "",
        "last": _minute(own["timestamp"].iloc[-1]) if len(own) else "",
    }


def _minute(timestamp: str) -> str:
    """A time of the log, as read by a person."""
    return f"{timestamp[:16].replace('T', ' ')} UTC"


def _warnings(desk: Desk) -> list[str]:
    found = []
    if not desk.project.source.exists():
        found.append(
            f"{desk.project.source} is not there, so nothing can be shown. Mount it again; nobody "
            "has lost an answer."
        )
    skipped = desk.panel.skipped()
    for row in skipped.head(_WARNINGS_SHOWN).itertuples():
        found.append(f"{row.item} was left out, as it cannot be read: {row.reason}")
    if len(skipped) > _WARNINGS_SHOWN:
        found.append(f"{len(skipped) - _WARNINGS_SHOWN:,} more items were left out.")
    return found


def _waiting(desk: Desk, by: str | None = None) -> list[str]:
    """The items that wait for a decision by this person, in an order that tells nothing."""
    from deadlib.annotation.adjudication import disputed

    decided = desk.panel.adjudications()["item"]
    seed = desk.project.settings.seed
    found = disputed(desk.panel.responses(), by=by, decided=set(decided), seed=seed)
    return list(found["item"])


def _check_impartial(desk: Desk, item: str, by: str) -> None:
    """Raises HTTPException where somebody would decide on their own answer."""
    from deadlib.annotation.adjudication import answered_by

    responses = desk.panel.responses()
    if answered_by(responses[responses["item"] == item], by):
        raise HTTPException(403, f"{by} answered this item, so somebody else must decide on it")


def _item(desk: Desk, item: str) -> dict[str, Any]:
    settings = desk.project.settings
    frames = desk.project.frames(desk.project.number_of[item])
    return {"id": desk.mark(item), **picture(frames, settings.channels, settings.interval_ms)}

"""The administrator's pages: links, warnings, decisions, exports."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from deadlib.panel import Panel

Visit = Callable[..., Any]


def link_on(page: str) -> str | None:
    found = re.search(r"http://127\.0\.0\.1:8000(/a/[\w-]+)", page)
    return found.group(1) if found else None


def test_a_new_annotators_link_is_shown_once(
    panel: Panel, administrator: Any, visit: Visit
) -> None:
    page = administrator.post("/admin/annotators", data={"name": " Ana "}).text
    link = link_on(page)
    assert link is not None
    assert visit(panel, link).task()["serving"] is not None
    assert link_on(administrator.get("/admin").text) is None
    assert list(panel.annotators()["name"]) == ["Ana"]


def test_a_new_link_replaces_the_old_and_access_can_be_removed(
    panel: Panel, administrator: Any, visit: Visit
) -> None:
    old = link_on(administrator.post("/admin/annotators", data={"name": "Ana"}).text)
    new = link_on(administrator.post("/admin/link", data={"name": "Ana"}).text)
    assert visit(panel).get(old).status_code == 404
    ana = visit(panel, new)
    assert "no access" in administrator.post("/admin/removal", data={"name": "Ana"}).text
    assert ana.get("/task").status_code == 401


@pytest.mark.parametrize(
    "name", ["", "   ", "Ana", "ana", "x" * 101, "tab\there", "=HYPERLINK(1)", "@SUM(1)"]
)
def test_a_name_that_cannot_be_is_refused_on_the_page(administrator: Any, name: str) -> None:
    administrator.post("/admin/annotators", data={"name": "Ana"})
    refused = administrator.post("/admin/annotators", data={"name": name})
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    assert "Ana" in refused.text


@pytest.mark.parametrize("path", ["link", "removal"])
def test_nobody_unknown_gets_a_link(administrator: Any, path: str) -> None:
    refused = administrator.post(f"/admin/{path}", data={"name": "<b>Eve</b>"})
    assert refused.status_code == 400
    assert "<b>" not in refused.text


def test_a_name_with_script_is_text_on_every_page(
    panel: Panel, administrator: Any, visit: Visit
) -> None:
    name = "<script>alert('x')</script>"
    page = administrator.post("/admin/annotators", data={"name": name}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in visit(panel, link_on(page)).get("/").text


def test_a_form_that_is_no_form_is_refused(administrator: Any) -> None:
    many = "&".join(f"a{number}=1" for number in range(50))
    assert administrator.post("/admin/annotators", content=many).status_code == 400
    assert administrator.post("/admin/annotators", content=b"name=%ff%fe").status_code == 400
    assert administrator.post("/admin/annotators", content=b"\xff\xfe").status_code == 400


def test_forms_tell_where_they_come_from(administrator: Any) -> None:
    """Under no-referrer browsers send `Origin: null` with forms, which the guard refuses."""
    assert administrator.get("/admin").headers["referrer-policy"] == "same-origin"


def test_another_sites_form_adds_nobody(panel: Panel, administrator: Any) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
        refused = administrator.post("/admin/annotators", data={"name": "Eve"}, headers=headers)
        assert refused.status_code == 403
    assert panel.annotators().empty


def test_progress_stands_beside_each_name(panel: Panel, ana: Any, administrator: Any) -> None:
    for _ in range(3):
        ana.answer()
    page = administrator.get("/admin").text
    row = re.search(r'<th scope="row">Ana</th>(.*?)</tr>', page, re.S)
    assert row is not None
    assert "<td>3</td>" in row.group(1)
    assert "1.5 s" in row.group(1)


def test_the_export_has_every_answer(panel: Panel, ana: Any, administrator: Any) -> None:
    assert administrator.get("/admin/annotations.csv").status_code == 400
    now = ana.answer("sick").json()
    ana.post("/undo", json={"serving": now["serving"]["id"]})
    ana.answer("healthy")
    export = administrator.get("/admin/annotations.csv")
    assert 'filename="annotations.csv"' in export.headers["content-disposition"]
    table = pd.read_csv(io.StringIO(export.text))
    assert table["response"].tolist() == ["sick", "healthy"]
    assert table["withdrawn"].tolist() == [True, False]
    assert "/admin/annotations.csv" in administrator.get("/admin").text


def test_results_are_a_page_of_their_own(panel: Panel, ana: Any, administrator: Any) -> None:
    assert "Nobody has answered yet" in administrator.get("/admin/results").text
    for answer in ("healthy", "sick") * 3:
        ana.answer(answer)
    page = administrator.get("/admin/results")
    assert page.status_code == 200
    assert "Ana" in page.text
    assert "script-src" not in page.headers["content-security-policy"]


@pytest.fixture
def disputed(make_panel: Callable[..., Panel], visit: Visit) -> Panel:
    """Three items: two annotators agree on one, and not on the others."""
    panel = make_panel(3, assignment="everyone")
    for name, unlike in (("Ana", "healthy"), ("Ben", "sick")):
        browser = visit(panel, f"/a/{panel.add_annotator(name)}")
        for _ in range(3):
            task = browser.task()
            item = panel.project.names[_slot(panel, name, task["serving"]["number"])]
            browser.answer("healthy" if "002" in item else unlike)
    return panel


def _slot(panel: Panel, annotator: str, number: int) -> int:
    return panel._history.row(annotator)[number - 1].item


def test_disagreements_are_decided_one_after_the_other_and_blinded(
    disputed: Panel, visit: Visit
) -> None:
    administrator = visit(disputed, f"/admin/{disputed.admin_token()}")
    assert "2 items were answered differently" in administrator.get("/admin").text
    first = administrator.post("/admin/adjudication/next", json={})
    told = first.text + administrator.get("/admin/adjudication").text
    for secret in ("dead/", "living", ".png", "Ana", "Ben"):
        assert secret not in told, secret
    item = first.json()["item"]
    assert first.json()["waiting"] == 2
    pixels = administrator.get(f"/admin/adjudication/{item['id']}/frame/0")
    assert pixels.headers["x-shape"] == "1,9,9"
    assert administrator.get(f"/admin/adjudication/{item['id']}/frame/1").status_code == 404
    decision = {"item": item["id"], "label": "sick", "by": "Prof. Zyx"}
    second = administrator.post("/admin/adjudication/next", json=decision).json()
    assert second["waiting"] == 1
    assert second["item"]["id"] != item["id"]
    assert second == administrator.post("/admin/adjudication/next", json=decision).json()
    kept = disputed.adjudications()
    assert kept[["label", "by"]].to_numpy().tolist() == [["sick", "Prof. Zyx"]]
    assert len(disputed.log()) == 6


def test_an_image_that_cannot_be_read_is_not_named_to_who_decides(
    disputed: Panel, visit: Visit
) -> None:
    administrator = visit(disputed, f"/admin/{disputed.admin_token()}")
    for path in disputed.project.source.rglob("*.png"):
        path.unlink()
    item = administrator.post("/admin/adjudication/next", json={}).json()["item"]
    pixels = administrator.get(f"/admin/adjudication/{item['id']}/frame/0")
    assert pixels.status_code == 404
    assert ".png" not in pixels.text


def test_an_item_can_be_left_for_later(disputed: Panel, visit: Visit) -> None:
    administrator = visit(disputed, f"/admin/{disputed.admin_token()}")
    left: list[str] = []
    for _ in range(2):
        now = administrator.post("/admin/adjudication/next", json={"left": left}).json()
        assert now["item"]["id"] not in left
        left.append(now["item"]["id"])
    last = administrator.post("/admin/adjudication/next", json={"left": left}).json()
    assert last == {"item": None, "waiting": 2}


def test_nobody_decides_on_what_they_answered_themselves(disputed: Panel, visit: Visit) -> None:
    administrator = visit(disputed, f"/admin/{disputed.admin_token()}")
    open_to_all = administrator.post("/admin/adjudication/next", json={}).json()["item"]["id"]
    for name in ("Ana", " ana"):
        found = administrator.post("/admin/adjudication/next", json={"by": name}).json()
        assert found == {"item": None, "waiting": 0}
        decision = {"item": open_to_all, "label": "sick", "by": name}
        refused = administrator.post("/admin/adjudication/next", json=decision)
        assert refused.status_code == 403
        assert "somebody else" in refused.json()["error"]
    assert disputed.adjudications().empty


def test_a_decision_that_cannot_be_is_refused(disputed: Panel, visit: Visit) -> None:
    administrator = visit(disputed, f"/admin/{disputed.admin_token()}")
    item = administrator.post("/admin/adjudication/next", json={}).json()["item"]["id"]
    for wrong in (
        {"label": "no answer"},
        {"label": None},
        {"by": " "},
        {"item": "0" * 32},
        {"item": "../.."},
        {"by": "x" * 101},
        {"by": "=1+1"},
        {"votes": "all"},
    ):
        decision = {"item": item, "label": "sick", "by": "Eve", **wrong}
        refused = administrator.post("/admin/adjudication/next", json=decision)
        assert 400 <= refused.status_code < 500, wrong
    assert disputed.adjudications().empty

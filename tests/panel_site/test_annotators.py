"""What an annotator's browser can ask for, and what it is never told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deadlib.panel import Panel, create
from tfrecords_tools.settings import ConversionSettings

Visit = Callable[..., Any]


def test_a_link_opens_the_page_and_is_remembered_by_a_cookie_that_no_script_reads(
    panel: Panel, visit: Visit
) -> None:
    browser = visit(panel)
    answer = browser.get(f"/a/{panel.add_annotator('Ana')}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert answer.headers["referrer-policy"] == "same-origin"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    assert "Ana" in browser.get("/").text


def test_over_https_the_cookie_never_travels_in_the_clear(panel: Panel, visit: Visit) -> None:
    browser = visit(panel)
    browser.base_url = "https://127.0.0.1:8000"
    answer = browser.get(f"/a/{panel.add_annotator('Ana')}", follow_redirects=False)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_without_a_link_nothing_opens(panel: Panel, visit: Visit) -> None:
    panel.add_annotator("Ana")
    stranger = visit(panel)
    assert stranger.get("/").status_code == 401
    assert "own link" in stranger.get("/").text
    assert stranger.get("/a/guessed").status_code == 404
    assert "ask for a new one" in stranger.get("/a/guessed").text
    assert "deadlib-annotate serve prints" in stranger.get("/admin/guessed").text
    assert stranger.get("/task").status_code == 401
    assert stranger.post("/undo", json={"serving": None}).status_code == 401
    said = {"serving": "x", "response": "healthy", "seconds": 1}
    assert stranger.post("/answer", json=said).status_code == 401
    assert stranger.get("/serving/x/frame/0").status_code == 401
    for path in ("", "/results", "/annotations.csv", "/adjudication", "/adjudication/x/frame/0"):
        assert stranger.get(f"/admin{path}").status_code == 401, path
    assert stranger.post("/admin/annotators", data={"name": "Eve"}).status_code == 401


def test_an_annotators_link_is_not_the_administrators(panel: Panel, visit: Visit) -> None:
    token = panel.add_annotator("Ana")
    ana = visit(panel, f"/a/{token}")
    assert ana.get(f"/admin/{token}").status_code == 404
    (cookie,) = ana.cookies.keys()
    ana.cookies.set(cookie.replace("annotator", "administrator"), token)
    assert ana.get("/admin").status_code == 401


def test_guessing_is_slowed_down(panel: Panel, visit: Visit) -> None:
    stranger = visit(panel)
    codes = {stranger.get(f"/a/guess{number}").status_code for number in range(30)}
    assert codes == {404, 429}
    assert stranger.get("/admin/guess").status_code == 404, "another door, another doorman"


def test_two_panels_on_one_machine_do_not_take_each_others_annotators(
    panel: Panel, ana: Any, visit: Visit, tmp_path: Path
) -> None:
    other = Panel(create(tmp_path / "other", panel.project.source))
    both = visit(other)
    both.cookies.update(ana.cookies)
    assert both.get(f"/a/{other.add_annotator('Ana')}").status_code == 200
    ana.cookies.update(both.cookies)
    assert ana.task()["serving"]["id"] != both.task()["serving"]["id"]
    other.close()


def test_removed_access_ends_at_once_and_a_new_link_ends_the_old(
    panel: Panel, ana: Any, visit: Visit
) -> None:
    token = panel.new_token("Ana")
    assert ana.get("/task").status_code == 401
    again = visit(panel, f"/a/{token}")
    again.task()
    panel.remove_access("Ana")
    assert again.get("/task").status_code == 401


def test_nothing_that_the_browser_gets_names_an_item_or_tells_how_it_was_served(
    make_panel: Callable[..., Panel], visit: Visit
) -> None:
    panel = make_panel(overlap_every=2)
    ana, ben = (visit(panel, f"/a/{panel.add_annotator(name)}") for name in ("Ana", "Ben"))
    for browser in (ana, ben, ana, ben, ana, ben):
        page, task = browser.get("/").text, browser.get("/task")
        pixels = browser.get(f"/serving/{task.json()['serving']['id']}/frame/0")
        told = page + task.text + str(pixels.headers)
        for secret in ("dead/", "living", ".png", str(panel.project.folder), "overlap", "fresh"):
            assert secret not in told, secret
        assert browser.answer().status_code == 200


def test_pixels_arrive_as_they_are_and_to_their_annotator_only(
    panel: Panel, ana: Any, visit: Visit
) -> None:
    serving = ana.task()["serving"]["id"]
    pixels = ana.get(f"/serving/{serving}/frame/0")
    assert pixels.headers["x-shape"] == "1,9,9"
    assert pixels.headers["x-dtype"] == "uint16"
    images = panel.project.source.rglob("*.png")
    assert pixels.content in {np.asarray(Image.open(path)).tobytes() for path in images}
    ben = visit(panel, f"/a/{panel.add_annotator('Ben')}")
    assert ben.get(f"/serving/{serving}/frame/0").status_code in (400, 404)
    assert ana.get(f"/serving/{serving}/frame/1").status_code in (400, 404)
    assert ana.get(f"/serving/{serving}/frame/-1").status_code in (400, 404)


def test_the_next_item_is_known_before_it_is_due(ana: Any) -> None:
    task = ana.task()
    ahead = task["ahead"]["id"]
    assert ahead != task["serving"]["id"]
    assert ana.get(f"/serving/{ahead}/frame/0").status_code == 200
    assert ana.answer().json()["serving"]["id"] == ahead


def test_the_same_item_waits_until_it_is_answered(panel: Panel, ana: Any, visit: Visit) -> None:
    first = ana.task()["serving"]["id"]
    assert ana.task()["serving"]["id"] == first
    assert ana.answer().json()["serving"]["id"] != first


def test_an_answer_that_is_sent_twice_counts_once(panel: Panel, ana: Any) -> None:
    serving = ana.task()["serving"]["id"]
    first = ana.answer("sick", serving)
    assert first.json() == ana.answer("sick", serving).json()
    assert len(panel.log()) == 1


def test_two_tabs_answer_one_item_once(panel: Panel, ana: Any) -> None:
    serving = ana.task()["serving"]["id"]
    ana.answer("sick", serving)
    refused = ana.answer("healthy", serving)
    assert refused.status_code == 409
    assert "already" in refused.json()["error"]
    assert panel.log()["response"].tolist() == ["sick"]


def test_undo_shows_the_last_item_again_and_the_log_keeps_both(panel: Panel, ana: Any) -> None:
    number = ana.task()["serving"]["number"]
    now = ana.answer("sick").json()
    assert now["can_undo"]
    undone = ana.post("/undo", json={"serving": now["serving"]["id"]}).json()
    assert undone["serving"]["number"] == number
    assert not undone["can_undo"]
    again = ana.answer("healthy").json()
    assert again["serving"]["id"] == now["serving"]["id"]
    assert panel.log()["response"].tolist() == ["sick", "healthy"]
    assert panel.log()["withdrawn"].tolist() == [True, False]


def test_undo_that_is_sent_twice_takes_back_one_answer(panel: Panel, ana: Any) -> None:
    for _ in range(3):
        now = ana.answer().json()
    wanted = {"serving": now["serving"]["id"]}
    first = ana.post("/undo", json=wanted).json()
    assert ana.post("/undo", json=wanted).json() == first
    assert panel.log()["withdrawn"].sum() == 1


def test_the_last_answer_can_be_undone_when_all_is_done(
    make_panel: Callable[..., Panel], visit: Visit
) -> None:
    panel = make_panel(2)
    ana = visit(panel, f"/a/{panel.add_annotator('Ana')}")
    ana.answer()
    done = ana.answer().json()
    assert done["serving"] is None
    assert ana.post("/undo", json={"serving": None}).json()["serving"]["number"] == 2


def test_a_deleted_image_is_left_out_and_the_administrator_told(
    panel: Panel, ana: Any, administrator: Any
) -> None:
    task = ana.task()
    names = _names_of(panel, "Ana")
    (panel.project.source / names[1]).unlink()
    answered = ana.answer(serving=task["serving"]["id"]).json()
    assert answered["serving"] is not None
    assert answered["serving"]["id"] != task["ahead"]["id"]
    page = administrator.get("/admin").text
    assert names[1] in page
    assert "left out" in page
    assert len(panel.log()) == 1


def test_an_image_that_cannot_be_read_is_not_named(panel: Panel, ana: Any) -> None:
    ahead = ana.task()["ahead"]["id"]
    name = _names_of(panel, "Ana")[1]
    (panel.project.source / name).unlink()
    answer = ana.get(f"/serving/{ahead}/frame/0")
    assert answer.status_code == 404
    assert answer.json() == {"error": "There is none, or its file cannot be read."}


def test_progress_does_not_tell_whether_another_has_answered_the_item(
    make_panel: Callable[..., Panel], visit: Visit
) -> None:
    panel = make_panel(40, overlap_every=2)
    ana, ben = (visit(panel, f"/a/{panel.add_annotator(name)}") for name in ("Ana", "Ben"))
    ben.answer()
    for number in (1, 2):  # new, and one of Ben's
        told = ana.answer().json()["progress"]
        assert told == {
            "value": 0, "all": 10, "words": f"{number} answered by you, 0 % of the panel by all"
        }  # fmt: skip
    assert [slot.served for slot in panel._history.row("Ana")][:2] == ["fresh", "overlap"]


def test_a_folder_that_is_away_costs_no_item(panel: Panel, ana: Any, administrator: Any) -> None:
    images = panel.project.source
    images.rename(images.with_name("away"))
    assert ana.get("/task").status_code == 503
    assert "nothing can be shown" in administrator.get("/admin").text
    images.with_name("away").rename(images)
    assert ana.task()["serving"] is not None
    assert panel.skipped().empty


def _names_of(panel: Panel, annotator: str) -> list[str]:
    """What an annotator was given, in order."""
    row = panel._history.row(annotator)
    return [panel.project.names[slot.item] for slot in row]


HOSTILE = ["<script>alert(1)</script>", "../../etc/passwd", "x' OR 1=1 --", "\x00", "a" * 150, "😀"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_any_field_is_refused_in_words(panel: Panel, ana: Any, text: str) -> None:
    serving = ana.task()["serving"]["id"]
    for said in (
        {"serving": text, "response": "healthy", "seconds": 1},
        {"serving": serving, "response": text, "seconds": 1},
        {"serving": serving, "response": "healthy", "seconds": text},
        {"serving": serving, "response": "healthy", "seconds": 1, "annotator": text},
        {"serving": [text], "response": {"a": text}, "seconds": 1},
        [text],
    ):
        refused = ana.post("/answer", json=said)
        assert 400 <= refused.status_code < 500
        assert set(refused.json()) == {"error"}
    assert ana.post("/undo", json={"serving": text}).status_code in (200, 400)
    assert ana.post("/undo", content=text.encode()).status_code == 400
    assert panel.log().empty


@pytest.mark.parametrize("seconds", [-1, 1e300, math.nan, math.inf])
def test_a_time_that_cannot_be_is_refused(ana: Any, seconds: float) -> None:
    said = {"serving": ana.task()["serving"]["id"], "response": "healthy", "seconds": seconds}
    assert ana.post("/answer", content=json.dumps(said)).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/serving/..%2f..%2fpanel.yaml/frame/0",
        "/serving/x/frame/..%2f0",
        "/serving/x/frame/99999999999999999999999",
        "/page/..%2f..%2fpanel.py",
        "/static/%2e%2e/%2e%2e/errors.py",
        "/a/%00",
        "/a/" + "x" * 5000,
        "/admin/adjudication/..%2f..%2fpanel.yaml/frame/0",
        "/admin/..%2fpanel.sqlite",
    ],
)
def test_no_path_leads_out_of_the_site(ana: Any, path: str) -> None:
    assert 400 <= ana.get(path).status_code < 500


def test_another_sites_page_changes_nothing(panel: Panel, ana: Any) -> None:
    serving = ana.task()["serving"]["id"]
    said = {"serving": serving, "response": "healthy", "seconds": 1}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ana.post("/answer", json=said, headers=headers).status_code == 403
    assert ana.post("/answer", json=said, headers={"Host": "evil.example"}).status_code == 421
    assert panel.log().empty


def test_a_trial_shows_labels_in_its_middle_part_alone(
    make_panel: Callable[..., Panel], visit: Visit
) -> None:
    parts = {"before": 2, "shown": 3, "after": 2}
    panel = make_panel(mode="trial", trial=parts, conversion=ConversionSettings())
    ana = visit(panel, f"/a/{panel.add_annotator('Ana')}")
    phases = []
    while (task := ana.task())["serving"]:
        phases.append(task["phase"][:6])
        serving = task["serving"]
        if serving["label"] is not None:
            assert serving["answers"] == ["seen"]
            assert ana.answer("dead").status_code == 400
        assert ana.answer(serving["answers"][0]).status_code == 200
    assert phases == ["Part 1"] * 2 + ["Part 2"] * 3 + ["Part 3"] * 2
    given = panel.log()
    assert (given["response"] == "seen").tolist() == [False] * 2 + [True] * 3 + [False] * 2
    administrator = visit(panel, f"/admin/{panel.admin_token()}")
    assert "djudication" not in administrator.get("/admin").text
    assert administrator.get("/admin/results").status_code == 200

"""What is acknowledged is kept and counted once, in real processes, some of them killed."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from panel_server import PanelServer, answer_at_once, served
from picture_folder import write_pictures

from deadlib.panel import Panel, Project, create

ANSWERS = ("healthy", "sick", "unsure")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return create(tmp_path / "panel", write_pictures(tmp_path / "images", 90)).folder


def test_many_annotators_at_once_on_two_servers_lose_and_double_nothing(project: Path) -> None:
    panel = Panel(Project.open(project))
    tokens = {
        name: panel.add_annotator(name) for name in ("Ana", "Ben", "Cleo", "Dan", "Eva", "Fay")
    }
    with served(project, processes=2) as servers:
        done = answer_at_once([server.url for server in servers], tokens, ANSWERS, items=10)
    assert [each.refused for each in done] == [[]] * 6
    log = panel.log()
    panel.close()
    kept = {(row.annotator, row.number): row.response for row in log.itertuples()}
    told = {(each.annotator, number): said for each in done for number, said in each.said.items()}
    assert kept == told
    assert len(log) == len(told) == 60
    assert not log.duplicated(["annotator", "item"]).any()
    fresh = log[log["served"] == "fresh"]
    assert not fresh["item"].duplicated().any()
    assert set(log[log["served"] == "overlap"]["number"]) <= {5, 10}


def test_a_server_killed_in_mid_answer_loses_nothing_that_it_acknowledged(project: Path) -> None:
    panel = Panel(Project.open(project))
    token = panel.add_annotator("Ana")
    acknowledged: dict[str, str] = {}
    sent: dict[str, str] = {}

    def answer_until_refused(url: str) -> None:
        with httpx.Client(base_url=url, follow_redirects=True, timeout=60) as browser:
            try:
                browser.get(f"/a/{token}")
                serving = browser.get("/task").json()["serving"]
                while serving:
                    said = sent.setdefault(serving["id"], ANSWERS[len(sent) % 3])
                    answer = {"serving": serving["id"], "response": said, "seconds": 1}
                    told = browser.post("/answer", json=answer).raise_for_status().json()
                    acknowledged[answer["serving"]] = said
                    serving = told["serving"]
            except httpx.TransportError:
                return

    for wanted in (5, 12):
        server = PanelServer(project)
        annotator = threading.Thread(target=answer_until_refused, args=[server.url])
        annotator.start()
        while len(acknowledged) < wanted and annotator.is_alive():
            time.sleep(0.005)
        server.kill()
        annotator.join()
        assert server.process.stdout is not None
        server.process.stdout.close()
    log = panel.log().set_index("serving")["response"]
    panel.close()
    assert log.index.is_unique
    assert acknowledged.items() <= log.to_dict().items() <= sent.items()
    # at each kill one answer at most was on its way, and the next try sent the same one again
    assert len(log) - len(acknowledged) <= 1
    assert panel_is_sound(project)


def panel_is_sound(project: Path) -> bool:
    with closing(sqlite3.connect(project / "panel.sqlite")) as database:
        return database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_clock_that_is_set_back_changes_no_order(project: Path) -> None:
    now = [datetime(2026, 3, 29, 3, 0, tzinfo=UTC)]
    panel = Panel(Project.open(project), clock=lambda: now[0])
    panel.add_annotator("Ana")
    for hours in (0, -5, 400, -400):
        now[0] += timedelta(hours=hours)
        serving = panel.current("Ana")
        assert serving is not None
        panel.answer("Ana", serving.id, "sick", 1)
    assert panel.log()["number"].tolist() == [1, 2, 3, 4]
    undone = panel.undo("Ana")
    assert undone is not None
    assert undone.number == 4
    panel.close()

"""What is dropped: sent in pieces, answered one by one, and gone with the page."""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from PIL import Image

from deadlib.server import create_app
from deadlib.server.jobs import Job, JobLimits, Jobs
from deadlib.serving import open_bundle

LONGEST_SECONDS = 120


@pytest.fixture(scope="module")
def page(exported: Path) -> Iterator[TestClient]:
    app = create_app({"first": exported.parent})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def job(page: TestClient) -> Iterator[str]:
    """The address of a new job."""
    url = f"/jobs/{page.post('/jobs', json={'model': 'first'}).json()['job']}"
    yield url
    page.delete(url)


def png(seed: int = 0, shape: tuple[int, int] = (24, 30)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, photometric="minisblack", **options)
    return out.getvalue()


def lapse(frames: int, shape: tuple[int, int] = (32, 48)) -> np.ndarray:
    generator = np.random.default_rng(3)
    return generator.integers(0, 65536, (frames, *shape), dtype=np.uint16)


def send(page: TestClient, job: str, name: str, data: bytes, piece: int = 700) -> int:
    sizes = {"name": name, "size_bytes": len(data)}
    number = page.post(f"{job}/files", json=sizes).json()["file"]
    for start in range(0, max(1, len(data)), piece):
        url = f"{job}/files/{number}?start={start}"
        assert page.put(url, content=data[start : start + piece]).status_code == 204
    return int(number)


def answered(page: TestClient, job: str) -> list[dict[str, Any]]:
    """All rows, when nothing is left to do."""
    return until(page, job, lambda state: not state["working"])["rows"]


def until(page: TestClient, url: str, reached: Any) -> dict[str, Any]:
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        state = page.get(url).json()
        if reached(state):
            return dict(state)
        time.sleep(0.02)
    raise AssertionError(f"not reached: {state}")


def test_an_image_is_answered_as_the_model_answers_it(
    page: TestClient, job: str, exported: Path
) -> None:
    send(page, job, "cell.png", png())
    [row] = answered(page, job)
    image = np.asarray(Image.open(io.BytesIO(png())))[None, ..., None]
    expected = open_bundle(exported).signatures["serving_default"](
        image=image.astype(np.float32) / 65535
    )
    np.testing.assert_allclose(row["probability"], expected["probability"][0], atol=1e-5)
    assert row["class_name"] == expected["class_name"].numpy()[0].decode()
    assert row["out_of_distribution"] == pytest.approx(
        float(expected["out_of_distribution"][0]), abs=1e-4
    )
    assert row["windows"] == 1
    assert row["error"] is None


def test_a_lapse_gives_a_row_for_each_frame(page: TestClient, job: str) -> None:
    frames = lapse(7)
    send(page, job, "lapse.tif", tiff(frames), 100_000)
    rows = answered(page, job)
    assert [(row["frame"], row["frames"], row["windows"]) for row in rows] == [
        (number, 7, 6) for number in range(7)
    ]
    alone = f"/jobs/{page.post('/jobs', json={'model': 'first'}).json()['job']}"
    send(page, alone, "fourth.tif", tiff(frames[3]), 100_000)
    [row] = answered(page, alone)
    np.testing.assert_allclose(row["probability"], rows[3]["probability"], atol=1e-6)


def test_a_large_image_is_answered_by_the_mean_of_its_windows(page: TestClient, job: str) -> None:
    frame = lapse(1)[0]
    send(page, job, "whole.tif", tiff(frame), 100_000)
    for top in (0, 16):
        for left in (0, 16, 32):
            piece = frame[top : top + 16, left : left + 16]
            send(page, job, f"{top}-{left}.tif", tiff(piece), 100_000)
    whole, *windows = sorted(answered(page, job), key=lambda row: row["number"])
    mean = np.mean([row["probability"] for row in windows], axis=0)
    np.testing.assert_allclose(whole["probability"], mean, atol=1e-6)
    assert whole["unsure"] == pytest.approx(np.mean([row["unsure"] for row in windows]))
    assert whole["unlike"] == pytest.approx(np.mean([row["unlike"] for row in windows]))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("notes.png", b"no image at all", "not a PNG, JPEG, BMP or TIFF"),
        ("empty.png", b"", "empty"),
        ("cut.png", png()[:300], "damaged"),
        ("small.png", png(shape=(8, 8)), "8 x 8"),
        ("rgb.tif", tiff(np.zeros((24, 30, 3), np.uint8), planarconfig="contig"), "3 channels"),
    ],
)
def test_a_file_fails_alone_and_says_why(
    page: TestClient, job: str, name: str, data: bytes, reason: str
) -> None:
    send(page, job, name, data)
    send(page, job, "good.png", png())
    rows = {row["name"]: row for row in answered(page, job)}
    assert reason in rows[name]["error"]
    assert tempfile.gettempdir() not in rows[name]["error"]
    assert rows["good.png"]["error"] is None


def test_a_piece_sent_twice_counts_once_and_a_missing_one_is_noticed(
    page: TestClient, job: str
) -> None:
    data = png()
    number = page.post(f"{job}/files", json={"name": "a.png", "size_bytes": len(data)}).json()
    url = f"{job}/files/{number['file']}?start="
    assert page.put(f"{url}0", content=data[:500]).status_code == 204
    assert page.put(f"{url}0", content=data[:500]).status_code == 204
    refused = page.put(f"{url}700", content=data[700:])
    assert (refused.status_code, "from byte 500" in refused.json()["error"]) == (400, True)
    assert page.put(f"{url}500", content=data[500:] + b"more").status_code == 400
    assert page.put(f"{url}500", content=data[500:]).status_code == 204
    [row] = answered(page, job)
    assert row["error"] is None


def test_stopping_keeps_what_is_answered_and_says_what_is_not(page: TestClient, job: str) -> None:
    send(page, job, "long.tif", tiff(lapse(300, (64, 64))), 2**22)
    until(page, job, lambda state: state["windows_done"] > 0)
    assert page.post(f"{job}/stop").status_code == 204
    rows = answered(page, job)
    stopped = [row for row in rows if row["error"]]
    assert len(rows) == 300
    assert stopped
    assert all("stopped" in row["error"] for row in stopped)
    send(page, job, "after.png", png())
    assert answered(page, job)[-1]["error"] is None


def test_heat_and_evidence_are_for_images_of_their_kind(page: TestClient, job: str) -> None:
    send(page, job, "whole.tif", tiff(lapse(1)[0]), 100_000)
    send(page, job, "one.png", png())
    rows = {row["name"]: row for row in answered(page, job)}
    shapes = {}
    for name, kind in (("whole.tif", "heat"), ("one.png", "evidence")):
        maps = f"{job}/rows/{rows[name]['number']}/maps"
        made = page.post(maps, json={"kind": kind, "stride_px": 4})
        url = f"{job}/maps/{made.json()['map']}"
        state = until(page, url, lambda state: state["ready"] or state["error"])
        assert state["error"] is None
        answer = page.get(f"{url}/values?class_index=0")
        shapes[name] = (state["total"], answer.headers["X-Shape"], answer.headers["X-Dtype"])
        assert page.get(f"{url}/values?class_index=9").status_code == 404
        assert page.delete(url).status_code == 204
        assert page.get(url).status_code == 404
        other = {"heat": "evidence", "evidence": "heat"}[kind]
        assert page.post(maps, json={"kind": other}).status_code == 400
    assert shapes["whole.tif"] == (5 * 9, "1,32,48", "float32")
    assert shapes["one.png"] == (1, "1,24,30", "float32")


def test_evidence_can_be_asked_for_any_class(page: TestClient, job: str, exported: Path) -> None:
    send(page, job, "one.png", png())
    answered(page, job)
    pixels = np.asarray(Image.open(io.BytesIO(png())))[None, ..., None].astype(np.float32) / 65535
    ask = open_bundle(exported).signatures["gradcam_of_class"]
    for index, name in enumerate(("dead", "living")):
        wanted = {"kind": "evidence", "class_index": index}
        url = f"{job}/maps/{page.post(f'{job}/rows/0/maps', json=wanted).json()['map']}"
        state = until(page, url, lambda state: state["ready"] or state["error"])
        assert (state["error"], state["classes"]) == (None, [name])
        found = np.frombuffer(page.get(f"{url}/values").content, np.float32).reshape(24, 30)
        expected = ask(image=pixels, class_index=np.array([index], np.int32))["evidence"]
        seen = found[4:20, 7:23]
        assert np.nanmax(seen) == pytest.approx(float(np.max(expected)), rel=0.25, abs=1e-6)
    refused = page.post(f"{job}/rows/0/maps", json={"kind": "evidence", "class_index": 2})
    assert refused.status_code == 400


def test_the_coarse_heat_map_is_that_of_the_answer(page: TestClient, job: str) -> None:
    send(page, job, "whole.tif", tiff(lapse(1)[0]), 100_000)
    [row] = answered(page, job)
    made = page.post(f"{job}/rows/0/maps", json={"kind": "heat", "stride_px": 16}).json()["map"]
    url = f"{job}/maps/{made}"
    until(page, url, lambda state: state["ready"])
    values = np.frombuffer(page.get(f"{url}/values?class_index=1").content, np.float32)
    centres = values.reshape(32, 48)[7:32:16, 7:48:16]
    assert centres.mean() == pytest.approx(row["probability"][1], abs=0.05)
    assert values.min() >= 0
    assert values.max() <= 1


def test_the_table_for_spreadsheets_runs_no_formula(page: TestClient, job: str) -> None:
    for name in ("=HYPERLINK(1).png", "@sum.png", "-1+1.png", "\t=1.png", "plain.png"):
        send(page, job, name, png())
    send(page, job, "+broken.png", b"none")
    answered(page, job)
    answer = page.get(f"{job}/answers.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-disposition"] == 'attachment; filename="answers.csv"'
    assert len(rows) == 6
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t")]
    assert {row["file"] for row in rows} >= {"plain.png", "'=HYPERLINK(1).png"}
    assert {row["class"] for row in rows} <= {"dead", "living", ""}
    sums = [
        float(r["probability_dead"]) + float(r["probability_living"]) for r in rows if r["class"]
    ]
    np.testing.assert_allclose(sums, 1, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.png", "<script>alert(1)</script>.png", "\0.png"]
)
def test_a_name_is_only_ever_shown(page: TestClient, job: str, name: str) -> None:
    send(page, job, name, png())
    assert [row["name"] for row in answered(page, job)] == [name]


def test_a_job_that_is_ended_is_gone(page: TestClient) -> None:
    url = f"/jobs/{page.post('/jobs', json={'model': 'first'}).json()['job']}"
    send(page, url, "a.png", png())
    answered(page, url)
    assert page.get(f"{url}/rows/0/image").headers["X-Shape"] == "1,24,30"
    assert page.delete(url).status_code == 204
    for gone in (url, f"{url}/rows/0/image", f"{url}/rows/0/thumbnail", f"{url}/answers.csv"):
        answer = page.get(gone)
        assert (answer.status_code, "drop them again" in answer.json()["error"]) == (404, True)


@pytest.mark.parametrize(
    "path", ["rows/7/image", "rows/-1/image", "maps/0", "maps/0/values", "rows/7/thumbnail"]
)
def test_what_is_not_there_is_said_to_be_missing(page: TestClient, job: str, path: str) -> None:
    assert page.get(f"{job}/{path}").status_code == 404


def test_nothing_that_is_dropped_has_a_name_on_the_disk(
    page: TestClient, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = png()
    number = page.post(f"{job}/files", json={"name": "a.png", "size_bytes": len(data)}).json()
    page.put(f"{job}/files/{number['file']}?start=0", content=data[:500])
    assert not list(tmp_path.iterdir()), "an upload under way"
    page.put(f"{job}/files/{number['file']}?start=500", content=data[500:])
    answered(page, job)
    assert not list(tmp_path.iterdir()), "an image that is kept"


@pytest.fixture
def jobs(page: TestClient) -> Iterator[Any]:
    """`jobs(**limits)`: jobs with limits of their own, on the served model, and their clock."""
    models = page.app.state.models  # type: ignore[attr-defined]
    made: list[Jobs] = []

    def make(**limits: Any) -> tuple[Jobs, list[float]]:
        now = [0.0]
        made.append(Jobs(models, JobLimits(**limits), clock=lambda: now[0]))
        return made[-1], now

    yield make
    for each in made:
        page.portal.call(each.close)  # type: ignore[union-attr]


def created(page: TestClient, jobs: Jobs) -> Job:
    async def create() -> Job:
        return jobs.create("first")

    return page.portal.call(create)  # type: ignore[union-attr, no-any-return]


def test_a_job_that_nobody_asks_for_ends(page: TestClient, jobs: Any) -> None:
    found, now = jobs(idle_seconds=100)
    idle, watched = created(page, found), created(page, found)
    now[0] = 90
    found.of(watched.name)
    now[0] = 120
    page.portal.call(found.end_idle)  # type: ignore[union-attr]
    assert found.of(watched.name) is watched
    with pytest.raises(Exception, match="drop them again"):
        found.of(idle.name)


def test_there_is_an_end_to_what_is_kept(page: TestClient, jobs: Any) -> None:
    found, _ = jobs(jobs=1, files=2, file_bytes=500, kept_bytes=800)
    job = created(page, found)
    with pytest.raises(Exception, match="all that this server"):
        created(page, found)
    with pytest.raises(Exception, match="at most 0 MB"):
        job.announce("large.png", 501)
    job.announce("a.png", 500)
    with pytest.raises(Exception, match="no room"):
        job.announce("b.png", 400)
    job.announce("b.png", 300)
    with pytest.raises(Exception, match="2 files"):
        job.announce("c.png", 0)


def test_files_of_all_jobs_leave_the_server_room_to_open_others(
    page: TestClient, jobs: Any
) -> None:
    found, _ = jobs(open_files=2)
    first, second = created(page, found), created(page, found)
    first.announce("a.png", 1)
    second.announce("b.png", 1)
    with pytest.raises(Exception, match="no room left for it"):
        second.announce("c.png", 1)
    page.portal.call(found.end, first.name)  # type: ignore[union-attr]
    second.announce("c.png", 1)


def test_pixels_of_all_jobs_count_as_they_are_decoded(page: TestClient, jobs: Any) -> None:
    found, _ = jobs(kept_bytes=9000)
    small = tiff(np.zeros((40, 40), np.uint16), compression="zlib")  # 3200 bytes, decoded
    told = []
    for _ in range(3):
        job = created(page, found)
        page.portal.call(job.receive, job.announce("a.tif", len(small)), 0, small)  # type: ignore[union-attr]
        end = time.monotonic() + LONGEST_SECONDS
        while job.state(0)["working"] and time.monotonic() < end:
            time.sleep(0.02)
        told += [row["error"] for row in job.state(0)["rows"]]
        assert found.kept_bytes <= 9000
    assert told == [None, None, "the server has no room left for its pixels"]
    assert found.kept_bytes == 6400

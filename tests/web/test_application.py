"""What every page of deadlib refuses, and what stands in every answer."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from deadlib.errors import DeadlibError, WebError
from deadlib.web import application, page, report_page

HERE = "http://127.0.0.1:8000"


class _TakenError(WebError):
    """A conflict, as a page would register it."""


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = application(
        "deadlib.web",
        title="test",
        largest_request_bytes=1000,
        larger_requests={"/large": 3000},
        hosts=["imaging.example"],
        statuses={_TakenError: 409},
    )

    @app.post("/large/echo")
    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/number/{number}")
    def number(number: int) -> int:
        return number

    @app.get("/page-with")
    def with_name(request: Request, name: str) -> object:
        return page(request, "error.html", status=200, message=name)

    @app.get("/report")
    def report() -> object:
        return report_page("<style>p { color: red }</style><p>a report</p>")

    @app.get("/wrong/{kind}")
    def wrong(kind: str) -> None:
        errors = {"deadlib": DeadlibError("the plate"), "taken": _TakenError("answered")}
        raise errors.get(kind, RuntimeError("secret"))

    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=HERE)


@pytest.mark.parametrize("path", ["/number/3", "/nothing", "/static/site.css", "/wrong/other"])
def test_every_answer_forbids_foreign_scripts_frames_and_sniffing(
    client: TestClient, path: str
) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_a_report_may_bring_its_style_but_no_script(client: TestClient) -> None:
    policy = client.get("/report").headers["content-security-policy"]
    assert "style-src 'unsafe-inline'" in policy
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


def test_files_are_asked_for_again_and_data_is_never_kept(client: TestClient) -> None:
    assert client.get("/static/site.css").headers["cache-control"] == "no-cache"
    assert client.get("/number/3").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/static/../errors.py", "/static/%2e%2e/guard.py", "/page/../x"])
def test_no_path_leaves_the_folder_of_files(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": HERE},
    ],
)
def test_changes_that_other_sites_send_are_refused(
    client: TestClient, sent: dict[str, str]
) -> None:
    assert client.post("/echo", content=b"abc", headers=sent).status_code == 403


@pytest.mark.parametrize(
    "sent", [{}, {"Origin": HERE}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}]
)
def test_its_own_pages_and_programs_are_heard(client: TestClient, sent: dict[str, str]) -> None:
    assert client.post("/echo", content=b"abc", headers=sent).json() == 3


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "[::1]:8000", "192.168.1.5", "localhost:1", "imaging.example"]
)
def test_addresses_and_known_names_open_it(client: TestClient, host: str) -> None:
    assert client.get("/number/3", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "[", "127.0.0.1.evil"])
def test_a_strangers_name_that_points_here_does_not(client: TestClient, host: str) -> None:
    assert client.get("/number/3", headers={"Host": host}).status_code == 421


def test_a_large_body_is_refused_by_its_header(client: TestClient) -> None:
    answer = client.post("/echo", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "too large" in answer.json()["error"]


def test_a_path_may_take_larger_bodies(client: TestClient) -> None:
    assert client.post("/large/echo", content=b"x" * 3000).json() == 3000
    answer = client.post("/large/echo", content=iter([b"x" * 3001]))
    assert answer.status_code == 413
    assert client.post("/echo/large", content=b"x" * 1001).status_code == 413


def test_what_failed_is_one_line_of_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/wrong/it%0aERROR%20forged").status_code == 500
    assert "\n" not in caplog.messages[-1]


def test_a_large_body_is_refused_while_it_arrives_without_one(client: TestClient) -> None:
    pieces = (b"x" * 400 for _ in range(4))
    assert client.post("/echo", content=pieces).status_code == 413
    assert client.post("/echo", content=iter([b"x" * 1000])).json() == 1000


def test_errors_are_words_to_programs_and_a_page_to_people(client: TestClient) -> None:
    told = client.get("/wrong/deadlib")
    assert (told.status_code, told.json()) == (400, {"error": "the plate"})
    shown = client.get("/wrong/deadlib", headers={"Accept": "text/html,*/*"})
    assert "the plate" in shown.text
    assert "<h1>" in shown.text
    assert client.get("/wrong/taken").status_code == 409
    assert client.get("/number/three").status_code == 400
    assert "number" in client.get("/number/three").json()["error"]
    assert "nothing at this address" in client.get("/nowhere").json()["error"]


def test_a_failure_tells_nothing_of_the_inside(client: TestClient) -> None:
    answer = client.get("/wrong/other")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_a_name_that_is_a_script_is_text(client: TestClient) -> None:
    answer = client.get("/page-with", params={"name": "<script>alert(1)</script>"})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text

"""`deadlib-serve` as a process, under load: reloaded, then stopped, and nothing is lost."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from click.testing import CliRunner

from deadlib.cli.serve import main

COMMAND = [sys.executable, "-c", "from deadlib.cli.serve import main; main()"]
WAIT_SECONDS = 120


class Server:
    """A running `deadlib-serve`."""

    def __init__(self, *arguments: str, log: Path) -> None:
        self._log = log.open("w")
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, log.read_text()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=WAIT_SECONDS)

    def get(self, path: str) -> tuple[int, Any]:
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()


class Client(threading.Thread):
    """Asks without a pause until it is refused a connection; keeps what it was answered."""

    def __init__(self, server: Server, body: bytes) -> None:
        super().__init__()
        self._server = server
        self._body = body
        self.answers: list[tuple[int, Any]] = []
        self.ended: OSError | http.client.HTTPException | None = None

    def run(self) -> None:
        connection = self._server.connect()
        while True:
            try:
                connection.request("POST", "/v1/models/first:predict", self._body)
                answer = connection.getresponse()
                self.answers.append((answer.status, json.loads(answer.read())))
            except (OSError, http.client.HTTPException) as error:
                self.ended = error
                return


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server(str(folder), "--port", "0", "--stop-seconds", "1", log=tmp_path / "serve.log")
    try:
        yield server
    finally:
        server.close()


def test_neither_a_new_version_nor_the_end_loses_a_request(
    server: Server, folder: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    file = (dataset_folder / "images" / "dead" / "dead00.png").read_bytes()
    told = {"b64": base64.b64encode(file).decode()}
    body = json.dumps({"signature_name": "encoded", "instances": [told]}).encode()
    clients = [Client(server, body) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: all(client.answers for client in clients))

    shutil.copytree(folder / "1", folder / ".2.partial")
    (folder / ".2.partial").rename(folder / "2")
    until(lambda: server.get("/ready") == (200, {"status": "ready", "versions": {"first": [2]}}))
    _, told = server.get("/v1/models/first")
    states = {status["version"]: status["state"] for status in told["model_version_status"]}
    assert states["2"] == "AVAILABLE"
    assert states["1"] in ("UNLOADING", "END")
    before = [len(client.answers) for client in clients]
    until(lambda: all(len(c.answers) > n for c, n in zip(clients, before, strict=True)))

    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.get("/ready")[0] == 503)
    counted = [len(client.answers) for client in clients]
    for client in clients:
        client.join(WAIT_SECONDS)
    assert server.process.wait(WAIT_SECONDS) == 0
    assert all(len(c.answers) > n for c, n in zip(clients, counted, strict=True)), "too early"
    (expected,) = clients[0].answers[0][1]["predictions"]
    for client in clients:
        assert {status for status, _ in client.answers} == {200}
        for _, answer in client.answers:
            (row,) = answer["predictions"]
            assert row["class_name"] == expected["class_name"]
            assert row["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        # closed with the last answer, so that none was cut
        assert isinstance(client.ended, ConnectionError)
        assert not isinstance(client.ended, http.client.RemoteDisconnected)
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_long_use_takes_no_more_memory_and_never_fails(
    server: Server, dataset_folder: Path
) -> None:
    """An hour of it is `bin/bench serve --minutes 60`."""
    files = [path.read_bytes() for path in sorted((dataset_folder / "images").rglob("*.png"))]
    bodies = [
        json.dumps({"signature_name": "encoded", "instances": [{"b64": told}]}).encode()
        for told in (base64.b64encode(file).decode() for file in files)
    ]
    connection, process = server.connect(), psutil.Process(server.process.pid)

    def used_mib(requests: int) -> float:
        """After so many more requests."""
        for number in range(requests):
            connection.request("POST", "/v1/models/first:predict", bodies[number % len(bodies)])
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        return float(process.memory_info().rss) / 2**20

    before = used_mib(150)
    assert used_mib(350) - before < 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: holds no exported model"),
        (["=folder"], "expected FOLDER or NAME=FOLDER"),
        (["a/b=folder"], "expected FOLDER or NAME=FOLDER"),
        (["a=one", "a=two"], "two models are named 'a'"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_message(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == (1 if arguments == ["nowhere"] else 2)
    assert message in done.output
    assert "Traceback" not in done.output

"""A served application as a process: it says where it answers, and ends in order."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from deadlib.errors import WebError
from deadlib.web import application, serve

SERVE = """
import asyncio
from deadlib.web import application, serve

app = application("deadlib.web", title="test")

@app.get("/slow")
async def slow() -> str:
    print("begun", flush=True)
    await asyncio.sleep(1)
    return "done"

serve(app, port=0, ready=lambda url: print(url, flush=True),
      stopping=lambda: print("stopping", flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_it_is_doing(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        url = it.stdout.readline().strip()
        asking = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from urllib.request import *; print(urlopen('{url}/slow').read())",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert it.stdout.readline() == "begun\n"
        it.send_signal(number)
        assert "done" in asking.communicate(timeout=60)[0]
        assert it.stdout.read() == "stopping\nended\n"
        assert it.wait(timeout=60) == 0


def test_a_taken_port_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WebError, match=rf"127\.0\.0\.1:{port}.*another program"):
            serve(application("deadlib.web", title="test"), port=port)


def test_an_address_of_another_machine_is_told_in_words() -> None:
    with pytest.raises(WebError, match=r"192\.0\.2\.1:.*no address of this machine"):
        serve(application("deadlib.web", title="test"), host="192.0.2.1", port=0)

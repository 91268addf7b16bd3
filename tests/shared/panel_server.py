"""A panel's site in processes that can be killed, and annotators who answer at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

_COMMAND = "from deadlib.cli.annotate import main; main()"


class PanelServer:
    """The process. `url` says where it answers, `administrator` is the link that it printed."""

    def __init__(self, project: Path) -> None:
        command = [sys.executable, "-c", _COMMAND, "serve", str(project), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        printed = self.process.stdout.readline().removeprefix("administrator: ").strip()
        assert printed.startswith("http"), "the server did not start"
        self.administrator = printed
        self.url = printed.partition("/admin/")[0]

    def kill(self) -> None:
        """As when the power fails."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def served(project: Path, processes: int = 1) -> Iterator[list[PanelServer]]:
    """Servers of one project, on ports of their own."""
    servers = [PanelServer(project) for _ in range(processes)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


@dataclass
class Answering:
    """What one annotator did: acknowledged answers by number, and how long each request took."""

    annotator: str
    said: dict[int, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def answer_all(
    url: str, annotator: str, token: str, answers: Sequence[str], items: int
) -> Answering:
    """Look at the pixels of up to `items` items and answer each, as the page does."""
    done = Answering(annotator)
    async with httpx.AsyncClient(base_url=url, timeout=120, follow_redirects=True) as browser:
        (await browser.get(f"/a/{token}")).raise_for_status()
        task = (await browser.get("/task")).raise_for_status().json()
        while task["serving"] is not None and len(done.said) < items:
            serving = task["serving"]
            (await browser.get(f"/serving/{serving['id']}/frame/0")).raise_for_status()
            said = answers[serving["number"] % len(answers)]
            begun = time.perf_counter()
            response = await browser.post(
                "/answer", json={"serving": serving["id"], "response": said, "seconds": 0.5}
            )
            done.seconds.append(time.perf_counter() - begun)
            if response.status_code != 200:
                done.refused.append(response.text)
                break
            done.said[serving["number"]] = said
            task = response.json()
    return done


def answer_at_once(
    urls: Sequence[str], tokens: dict[str, str], answers: Sequence[str], items: int
) -> list[Answering]:
    """All annotators at the same time, spread over the servers."""

    async def together() -> list[Answering]:
        return await asyncio.gather(
            *(
                answer_all(urls[place % len(urls)], name, token, answers, items)
                for place, (name, token) in enumerate(tokens.items())
            )
        )

    return asyncio.run(together())

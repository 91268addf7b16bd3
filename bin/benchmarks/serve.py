"""The server under load, beside the bare model."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from common import rounded, seconds, write_images

NAME = "deadnet"


@click.command()
@click.option("--rounds", default=3, help="bare model and server in turn, so many times")
@click.option("--batches", default=4, help="of each side in a round")
@click.option("--batch", default=32)
@click.option("--window-px", default=220)
@click.option("--half-seconds", default=20.0, help="of half load, for the latencies")
@click.option("--minutes", default=0.0, help="of half load, for memory and errors")
def serve(
    rounds: int, batches: int, batch: int, window_px: int, half_seconds: float, minutes: float
) -> None:
    """Throughput, latency at half load, overload, and memory: DeadNet, PNG files of 16 bit.

    Every request is a `:predict` with one file. Server, clients and the bare model share the
    machine's cores; the bare model rests while the server is asked, and the other way round. Both
    sides decode the same files in batches of the same size. Weights are random: time does not
    depend on them.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_images(source, 24, size_px=window_px)
        version = _exported(Path(folder), window_px)
        files = _files(source)
        bare = _bare(version, [files[i % len(files)] for i in range(batch)], batches)
        options = ("--batch", str(batch), "--queue", str(8 * batch))
        with _server(version.parent, *options) as (url, process):
            load = Load(url, [_body(file) for file in files], process)
            images = batches * batch
            asyncio.run(_measure(load, bare, rounds, images, batch, half_seconds, minutes))


async def _measure(
    load: Load,
    bare: Callable[[], object],
    rounds: int,
    images: int,
    batch: int,
    half_seconds: float,
    minutes: float,
) -> None:
    bare()
    await load.closed(images, clients=2 * batch)
    ratios, ours, theirs, processor = [], [], [], []
    for _ in range(rounds):
        used = time.process_time()
        theirs.append(seconds(bare))
        used = time.process_time() - used
        started, before = time.perf_counter(), load.processor_seconds()
        await load.closed(images, clients=2 * batch)
        ours.append(time.perf_counter() - started)
        ratios.append(theirs[-1] / ours[-1])
        processor.append(used / (load.processor_seconds() - before))
        print(
            f"bare {images / theirs[-1]:.1f}, server {images / ours[-1]:.1f} images/s", flush=True
        )
    load.expect_no_errors()
    print(f"batches of {load.batch_sizes()}")
    print(f"processor time, bare / server without its clients: {rounded(processor)}")
    rate = images / statistics.median(ours)
    one_batch = statistics.median(theirs) / images * batch
    print(f"throughput, server / bare: median {statistics.median(ratios):.3f}, {rounded(ratios)}")

    load.forget()
    await load.open(rate / 2, half_seconds)
    load.expect_no_errors()
    p99 = load.percentile(99)
    print(
        f"half load, {rate / 2:.1f} images/s for {half_seconds:.0f} s: median "
        f"{load.percentile(50):.3f} s, p99 {p99:.3f} s = {p99 / one_batch:.2f} x one batch of "
        f"{batch} ({one_batch:.3f} s)"
    )

    load.forget()
    await load.open(3 * rate, half_seconds)
    refused = load.seconds.get(503, [0.0])
    print(
        f"three times what it can do for {half_seconds:.0f} s: {dict(load.statuses)}; refused "
        f"after {statistics.median(refused):.3f} s (median), at most {max(refused):.3f} s"
    )
    load.forget()
    await load.open(rate / 2, half_seconds)
    load.expect_no_errors()
    print(f"afterwards, at half load: no error, p99 {load.percentile(99):.3f} s")

    if minutes:
        load.forget()
        before = load.memory_mib()
        for part in range(10):
            await load.open(rate / 2, 6 * minutes)
            print(f"{(part + 1) * minutes / 10:.1f} min: {load.memory_mib():.0f} MiB", flush=True)
        load.expect_no_errors()
        print(
            f"{minutes:g} minutes of half load: {sum(load.statuses.values())} answers, no error; "
            f"memory {before:.0f} MiB before, {load.memory_mib():.0f} MiB after; p99 "
            f"{load.percentile(99):.3f} s"
        )


@dataclass
class Load:
    """Clients that keep their connections, and what they were answered."""

    url: str
    bodies: list[bytes]
    process: subprocess.Popen[str]
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def closed(self, images: int, *, clients: int) -> None:
        """So many clients that ask again as soon as they are answered."""
        await self._connect(min(clients, images))
        numbers = iter(range(images))

        async def client() -> None:
            for number in numbers:
                await self._ask(number)

        await asyncio.gather(*(client() for _ in range(min(clients, images))))

    async def open(self, rate: float, duration: float) -> None:
        """Requests that arrive by chance, `rate` a second, whether others are answered or not."""
        await self._connect(8)
        chance, loop = random.Random(0), asyncio.get_running_loop()
        due, end, asked = loop.time(), loop.time() + duration, []
        while due < end:
            await asyncio.sleep(max(0.0, due - loop.time()))
            asked.append(asyncio.create_task(self._ask(len(asked))))
            due += chance.expovariate(rate)
        await asyncio.gather(*asked)

    async def _connect(self, connections: int) -> None:
        """Anew: the server may have closed what nobody used for a while."""
        for _, writer in self._idle:
            writer.close()
        place = urlsplit(self.url)
        self._idle = [
            await asyncio.open_connection(place.hostname, place.port) for _ in range(connections)
        ]

    def forget(self) -> None:
        self.statuses.clear()
        self.seconds.clear()

    def expect_no_errors(self) -> None:
        if set(self.statuses) != {200}:
            raise click.ClickException(f"answers by status: {dict(self.statuses)}")

    def percentile(self, percent: float) -> float:
        found = sorted(self.seconds[200])
        return found[min(len(found) - 1, int(len(found) * percent / 100))]

    def memory_mib(self) -> float:
        import psutil

        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def processor_seconds(self) -> float:
        import psutil

        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def batch_sizes(self) -> str:
        """How many batches of which sizes, as the server's metrics tell."""
        from urllib.request import urlopen

        with urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        buckets = [line for line in lines if line.startswith("deadlib_batch_images_bucket")]
        counts = {
            line.partition('le="')[2].partition('"')[0]: float(line.split()[-1]) for line in buckets
        }
        before, told = 0.0, []
        for size, count in counts.items():
            if count > before:
                told.append(f"up to {size}: {count - before:.0f}")
            before = count
        return ", ".join(told)

    async def _connection(self, *place: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The one used last, unless the server closed it, as it does after some seconds."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
        return await asyncio.open_connection(*place)

    async def _ask(self, number: int) -> None:
        place = urlsplit(self.url)
        body = self.bodies[number % len(self.bodies)]
        head = (
            f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        reader, writer = await self._connection(place.hostname, place.port)
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        status = int(answer.split(b" ", 2)[1])
        self.seconds.setdefault(status, []).append(time.perf_counter() - started)
        self.statuses[status] += 1
        self._idle.append((reader, writer))


@contextmanager
def _server(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    script = "from deadlib.cli.serve import main; main()"
    command = [sys.executable, "-c", script, f"{NAME}={folder}", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise click.ClickException("the server did not start, see above")
        yield address.rstrip("/"), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _bare(version: Path, files: list[bytes], batches: int) -> Callable[[], object]:
    """The exported model by itself, asked for `batches` of the same files."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(version))
    answer, given = loaded.signatures["encoded"], tf.constant(files)

    def work() -> object:
        for _ in range(batches):
            found = answer(image_bytes=given)["probability"].numpy()
        return loaded, found

    return work


def _files(source: Path) -> list[bytes]:
    import imagecodecs
    import tifffile

    return [imagecodecs.png_encode(tifffile.imread(p)) for p in sorted(source.rglob("*.tif"))]


def _body(file: bytes) -> bytes:
    told = {"b64": base64.b64encode(file).decode()}
    return json.dumps({"signature_name": "encoded", "instances": [told]}).encode()


def _exported(folder: Path, window_px: int) -> Path:
    """DeadNet with random weights, exported."""
    import keras

    import deadlib
    from deadlib import runs
    from deadlib.models import build_network
    from deadlib.recipe import parse_recipe
    from deadlib.training.fit import describe_dataset

    settings = deadlib.ConversionSettings(fractions=(0.5, 0.25, 0.25))
    dataset = deadlib.convert(folder / "source", folder / "dataset", settings)
    size_px = (window_px, window_px)
    section: dict[str, Any] = {"size_px": size_px, "fit": "crop", "normalise": "none"}
    recipe = parse_recipe(
        {"dataset": str(dataset.folder), "model": {"name": "deadnet"}, "input": section}
    )
    run = folder / "run"
    runs.start(run, recipe)
    (run / runs.DATASET).write_text(json.dumps(describe_dataset(dataset, recipe)))
    (run / runs.VERSIONS).write_text(json.dumps({"keras": keras.__version__, "command": "bench"}))
    network = build_network(recipe.model, size_px=size_px, channels=1, classes=2)
    network.save(run / runs.MODEL)
    return deadlib.export(run, folder / "served")

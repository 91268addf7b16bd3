"""Measure what docs/benchmarks.md reports. Run through bin/bench."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

VERBS = ["simulate", "convert", "inspect", "train", "predict", "evaluate", "explain", "export"]


@click.group()
def bench() -> None:
    """Figures of docs/benchmarks.md, measured here."""
    print(f"{platform.platform()}, Python {platform.python_version()}, {_cores()} cores")


@bench.command("help")
@click.option("--runs", default=7)
def help_time(runs: int) -> None:
    """Seconds that each command takes to print its help; the limit is 0.5."""
    for verb in VERBS:
        times = [_seconds(f"deadlib-{verb}", "--help") for _ in range(runs + 1)][1:]
        print(f"deadlib-{verb} --help: median {statistics.median(times):.2f} s")


@bench.command()
@click.option("--images", default=400, help="images of the smaller folder; the larger has 10 times")
@click.option("--workers", default=2)
def memory(images: int, workers: int) -> None:
    """Peak memory of a conversion, and of one with 10 times the images; the limit is + 5 %."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (images, 10 * images):
            source = Path(folder) / f"source-{count}"
            _write_images(source, count)
            script = _PEAK.format(
                arguments=[str(source), f"{folder}/out-{count}", "--workers", str(workers)]
            )
            done = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            )
            peak = json.loads(done.stdout.strip().splitlines()[-1])
            peaks.append(peak["all_mib"])
            print(f"{count} images, {workers} workers: {peak}")
        print(f"10 times the images: {100 * (peaks[1] / peaks[0] - 1):+.1f} % peak memory")


@bench.command()
@click.option("--pairs", default=5, help="deadlib and Keras in turn, so many times each")
@click.option("--steps", default=60)
@click.option("--size-px", default=64)
@click.option("--batch", default=32)
@click.option("--width", default=32)
def step(pairs: int, steps: int, size_px: int, batch: int, width: int) -> None:
    """Images per second of a training epoch: deadlib from records, Keras' fit from memory."""
    import keras
    import numpy as np

    import deadlib
    from deadlib.models import build_network

    count = steps * batch
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder) / "source", 2 * count, size_px=size_px)
        settings = deadlib.ConversionSettings(fractions=(0.5, 0.25, 0.25))
        dataset = deadlib.convert(f"{folder}/source", f"{folder}/dataset", settings)
        count = int((dataset.manifest["split"] == "train").sum())
        recipe = deadlib.parse_recipe(
            {
                "dataset": str(dataset.folder),
                "model": {"name": "small_cnn", "width": width},
                "input": {"size_px": [size_px, size_px], "normalise": "none"},
                "optimiser": {"name": "adam", "weight_decay": 0},
                "schedule": {"name": "constant"},
                "training": {"epochs": 3, "batch": batch},
            }
        )
        rng = np.random.default_rng(0)
        images = rng.random((count, size_px, size_px, 1), dtype=np.float32)
        labels = rng.integers(0, 2, count)
        ratios = []
        for pair in range(pairs):
            run = deadlib.train(recipe, f"{folder}/run-{pair}")
            ours = run.history["images_per_second"].iloc[1:].max()
            network = build_network(recipe.model, size_px=(size_px, size_px), channels=1, classes=2)
            network.compile(
                keras.optimizers.Adam(1e-3),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            clock = _epoch_clock()
            network.fit(images, labels, batch_size=batch, epochs=3, verbose=0, callbacks=[clock])
            theirs = count / min(clock.seconds[1:])
            print(f"deadlib {ours:.0f} images/s, Keras fit {theirs:.0f} images/s", flush=True)
            ratios.append(theirs / ours)
    middle = statistics.median(ratios)
    print(f"time of a step, deadlib / Keras fit: median {middle:.3f}, all {_rounded(ratios)}")


def _epoch_clock() -> Any:
    """A Keras callback that keeps the seconds of each epoch."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    return Clock()


_PEAK = """
import json, sys, threading, time
import psutil
from deadlib.cli.convert import main

peak = {{"all": 0, "largest": 0}}

def watch():
    me = psutil.Process()
    while True:
        sizes = []
        for process in [me, *me.children(recursive=True)]:
            try:
                sizes.append(process.memory_full_info().pss)
            except psutil.Error:
                pass
        peak["all"] = max(peak["all"], sum(sizes))
        peak["largest"] = max(peak["largest"], max(sizes))
        time.sleep(0.05)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    try:
        main({arguments})
    except SystemExit as end:
        assert not end.code
    print(json.dumps({{key + "_mib": round(value / 2**20) for key, value in peak.items()}}))
"""


def _write_images(folder: Path, count: int, size_px: int = 256) -> None:
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / ("dying" if index % 2 else "healthy") / f"{index:06d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 4096, (size_px, size_px), dtype=np.uint16)
        image[: size_px // 2] += np.uint16(2000 * (index % 2))
        tifffile.imwrite(path, image)


def _seconds(*command: str) -> float:
    return _timed(lambda: subprocess.run(command, capture_output=True, check=True))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    bench()

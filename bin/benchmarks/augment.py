"""The thin-plate-spline warp against others, in turn and in one run."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from common import seconds

WORK = [(20, 256, 256, 1), (8, 512, 512, 4), (4, 1024, 1344, 1)]
SPACING_PX = 128
DEVIATION_PX = 10.0

PEERS = {
    "addons": ("DEADLIB_TFA_PYTHON", "tensorflow-addons, graph"),
    "addons_xla": ("DEADLIB_TFA_PYTHON", "tensorflow-addons, XLA"),
    "albumentations": ("DEADLIB_PEERS_PYTHON", "albumentations"),
    "remap": ("DEADLIB_PEERS_PYTHON", "cv2.remap, map ready"),
}

Pass = Callable[[], float]
"""Warps a batch once and returns the seconds it took."""


@click.command()
@click.option("--rounds", default=9, help="each contestant once per round")
def augment(rounds: int) -> None:
    """Milliseconds per image of a warp with control points 128 px apart: ours and others."""
    for shape in WORK:
        print(f"{shape[0]} images of {shape[1]} x {shape[2]} px, channels: {shape[3]}")
        with ExitStack() as stack:
            contestants = {"deadlib": _ours(shape), "memory copy": _copy(shape)}
            for peer, (python, label) in PEERS.items():
                contestants[label] = stack.enter_context(_peer(os.environ[python], peer, shape))
            times: dict[str, list[float]] = {label: [] for label in contestants}
            for _ in range(rounds):
                for label, once in contestants.items():
                    times[label].append(min(once(), once()))
        for label, found in times.items():
            per_image = [1000 * value / shape[0] for value in found]
            ratios = [a / b for a, b in zip(found, times["deadlib"], strict=True)]
            print(
                f"  {label:26} best {min(per_image):7.3f} ms, "
                f"median {statistics.median(per_image):7.3f} ms; "
                f"takes {statistics.median(ratios):6.2f} times ours"
            )


def _ours(shape: tuple[int, ...]) -> Pass:
    import numpy as np
    import tensorflow as tf

    from deadlib.augment import control_grid, thin_plate_spline_warp

    rng = np.random.default_rng(0)
    images = tf.constant(rng.random(shape, dtype=np.float32))
    grid = control_grid(shape[1:3], SPACING_PX)
    moves = tf.constant(rng.normal(0, DEVIATION_PX, (shape[0], *grid.shape)), tf.float32)
    thin_plate_spline_warp(images, moves, SPACING_PX)
    return lambda: seconds(lambda: thin_plate_spline_warp(images, moves, SPACING_PX).numpy())


def _copy(shape: tuple[int, ...]) -> Pass:
    """The physical limit: every byte read once and written once, on all cores."""
    import tensorflow as tf

    images = tf.zeros(shape)
    copy = tf.function(lambda images: images + 1, jit_compile=True)
    copy(images)
    return lambda: seconds(lambda: copy(images).numpy())


@contextmanager
def _peer(python: str, peer: str, shape: tuple[int, ...]) -> Iterator[Pass]:
    script = Path(__file__).with_name("peers_augment.py")
    process = subprocess.Popen(
        [python, script, peer, *map(str, shape)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    orders, answers = process.stdin, process.stdout
    if not (orders and answers and answers.readline().strip() == "ready"):
        raise click.ClickException(f"{peer} did not start in {python}")

    def once() -> float:
        print("go", file=orders, flush=True)
        return float(answers.readline())

    try:
        yield once
    finally:
        orders.close()
        process.wait()

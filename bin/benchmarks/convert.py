"""How fast a conversion is, beside a TFDS builder and webdataset's ShardWriter."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from common import peers_python, rounded, seconds

PEERS = ("tfds", "webdataset")
_SIZE_PX = (960, 1280)


@click.command()
@click.option("--images", default=2000)
@click.option("--format", "suffix", type=click.Choice(["tif", "png"]), default="tif")
@click.option("--pairs", default=3, help="deadlib and its peers in turn, so many times each")
@click.option("--workers", default=2)
def convert(images: int, suffix: str, pairs: int, workers: int) -> None:
    """Seconds to convert 16-bit images of 1280 x 960 px to four tiles each, until on the disk.

    Of deadlib the whole command counts (planning, audit, checksums), of its peers the work alone
    without their imports. All read the same files and write the same raw pixels and labels.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        _write_images(source, images, suffix)
        _convert_deadlib(source, Path(folder) / "warm", workers)
        found: dict[str, list[float]] = {name: [] for name in ("deadlib", *PEERS)}
        for pair in range(pairs):
            out = Path(folder) / f"out-{pair}"
            found["deadlib"].append(_convert_deadlib(source, out, workers))
            for peer in PEERS:
                found[peer].append(_convert_peer(peer, source, out))
            print(", ".join(f"{name} {times[-1]:.2f} s" for name, times in found.items()))
    for peer in PEERS:
        ratios = [b / a for a, b in zip(found["deadlib"], found[peer], strict=True)]
        print(
            f"{images} images: {peer} / deadlib with {workers} workers: "
            f"median {statistics.median(ratios):.2f}, all {rounded(ratios)}"
        )


def _convert_deadlib(source: Path, out: Path, workers: int) -> float:
    command = ["deadlib-convert", str(source), str(out), "--tile", "2x2", "--encoding", "raw"]

    def work() -> None:
        subprocess.run([*command, "--workers", str(workers)], capture_output=True, check=True)
        os.sync()

    return _timed(work, out)


def _convert_peer(peer: str, source: Path, out: Path) -> float:
    script = Path(__file__).with_name("peers_convert.py")
    command = [peers_python(), str(script), peer, str(source), str(out), "2", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found: list[float] = []

    def work() -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(float(done.stdout.split()[-1]))

    _timed(work, out)
    return found[0]


def _timed(work: Callable[[], object], out: Path) -> float:
    """Seconds of `work`; what it wrote is taken away, so that each finds as much memory free."""
    try:
        return seconds(work)
    finally:
        shutil.rmtree(out, ignore_errors=True)
        os.sync()


def _write_images(folder: Path, count: int, suffix: str) -> None:
    """Noise like a camera's (12 bits in 16) on a shaded background, no two images alike."""
    import imagecodecs
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    shade = np.linspace(1000, 3000, _SIZE_PX[1])[None, :]
    noise = rng.normal(0, 40, _SIZE_PX)
    for index in range(count):
        path = folder / ("dying" if index % 2 else "healthy") / f"{index:06d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = (shade + np.roll(noise, 7 * index + 1, axis=1)).astype(np.uint16)
        if suffix == "tif":
            tifffile.imwrite(path, image)
        else:
            path.write_bytes(imagecodecs.png_encode(image))
    os.sync()

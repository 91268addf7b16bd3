"""How fast images come from the disk to ready batches."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from common import Peer, rounded, seconds

DEADNET_A = [
    {"name": "thin_plate_spline", "spacing_px": 128, "deviation_px": 10},
    {"name": "dihedral"},
    {"name": "blur", "sigma_px": [1.1, 1.5]},
]


@click.group()
def data() -> None:
    """Reading, and the whole DeadNet-A recipe, against TensorFlow's own loop and PyTorch."""


@data.command()
@click.option("--images", default=2000)
@click.option("--size-px", default=256)
@click.option("--channels", default=1)
@click.option("--batch", default=32)
@click.option("--rounds", default=7, help="everything in turn, so many times")
def read(images: int, size_px: int, channels: int, batch: int, rounds: int) -> None:
    """MB/s of 16-bit images to batches, all files in the page cache."""
    with tempfile.TemporaryDirectory() as name:
        dataset, pictures = _make(Path(name), images, size_px, channels)
        source = _source(dataset, size_px)
        order = _shuffled()
        with Peer("peers_data.py", "read", pictures, batch) as peer:
            times = _in_turn(
                {
                    "plain": lambda: _read_plainly(dataset.shard_paths("train")),
                    "bare": lambda: _exhaust(_bare_loop(dataset.shard_paths("train"), batch)),
                    "ours": lambda: _exhaust(source.batches(batch=batch)),
                    "shuffled": lambda: _exhaust(source.batches(batch=batch, order=order)),
                    "png": peer,
                },
                rounds,
            )
    pixels_mb = len(source.rows) * size_px**2 * channels * 2 / 1e6
    for name, words in {
        "plain": "shard files into one buffer, nothing decoded",
        "bare": "TFRecordDataset + parse_example + decode_raw, in order",
        "ours": "deadlib, in order",
        "shuffled": "deadlib, shuffled",
        "png": "PNG files, PyTorch DataLoader, 2 processes, OpenCV, shuffled",
    }.items():
        print(f"{pixels_mb / statistics.median(times[name]):6.0f} MB/s {words}")
    for ours in ("ours", "shuffled"):
        for theirs in ("plain", "bare", "png"):
            _print_ratio(f"speed, {ours} / {theirs}", times[theirs], times[ours])


@data.command()
@click.option("--images", default=400)
@click.option("--size-px", default=512, help="of the frames, which are warped; 220 px are cropped")
@click.option("--batch", default=20)
@click.option("--rounds", default=5)
def recipe(images: int, size_px: int, batch: int, rounds: int) -> None:
    """Images per second of DeadNet's recipe A, to ready batches.

    Frames warped by a thin-plate spline on a grid of 128 px, N(0, 10^2 px); one of 8 dihedral
    views; random crop of 220 px; Gaussian blur, sigma 1.1 to 1.5 px; variance normalisation. Both
    sides do the same, in another order only where that changes nothing.
    """
    import tensorflow as tf

    from deadlib.augment import build_augmenter
    from deadlib.data.preprocess import Preprocess
    from deadlib.data.unit import unit_range
    from deadlib.recipe import AugmentStep, InputSection

    section = InputSection(size_px=(220, 220), fit="crop")
    normalise = Preprocess((220, 220), "crop", "per_image").normalise
    steps = [AugmentStep.model_validate(step) for step in DEADNET_A]
    augment = tf.function(
        build_augmenter(steps, input=section, normalise=normalise), jit_compile=True
    )
    with tempfile.TemporaryDirectory() as name:
        dataset, pictures = _make(Path(name), images, size_px, 1)
        source = _source(dataset, 220, "crop")
        order = _shuffled()

        def ready() -> Iterable[Any]:
            for number, part in enumerate(source.batches(batch=batch, order=order)):
                yield augment(unit_range(part["image"]), tf.constant([0, number]))

        with Peer("peers_data.py", "recipe", pictures, batch) as peer:
            times = _in_turn({"ours": lambda: _exhaust(ready()), "peer": peer}, rounds)
    count = len(source.rows)
    print(f"{count / statistics.median(times['ours']):6.0f} images/s deadlib, from records")
    print(
        f"{count / statistics.median(times['peer']):6.0f} images/s albumentations, PyTorch "
        "DataLoader, 2 processes, from PNG files"
    )
    _print_ratio("speed, deadlib / albumentations", times["peer"], times["ours"])


def _make(folder: Path, images: int, size_px: int, channels: int) -> tuple[Any, Path]:
    """The same images as a dataset of raw records and as 16-bit PNG files."""
    import imagecodecs
    import numpy as np
    import tifffile

    import deadlib

    rng = np.random.default_rng(0)
    wave = np.sin(np.linspace(0, 6, size_px))
    cells = (2000 + 1000 * np.outer(wave, wave)).astype(np.uint16)[..., None]
    for index in range(images):
        image = cells + rng.integers(0, 1024, (size_px, size_px, channels), dtype=np.uint16)
        source = folder / "source" / ("dying" if index % 2 else "healthy") / f"{index:06d}.tif"
        source.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(source, image.squeeze(), photometric="minisblack", planarconfig="contig")
    settings = deadlib.ConversionSettings(encoding="raw", fractions=(0.96, 0.02, 0.02))
    dataset = deadlib.convert(folder / "source", folder / "dataset", settings)
    (folder / "pictures").mkdir()
    for row in dataset.manifest.index[dataset.manifest["split"] == "train"]:
        picture = imagecodecs.png_encode(dataset.read_example(row).squeeze())
        (folder / "pictures" / f"{row:06d}.png").write_bytes(picture)
    return dataset, folder / "pictures"


def _source(dataset: Any, size_px: int, fit: str = "resize") -> Any:
    from deadlib.data.pipeline import open_source
    from deadlib.recipe import InputSection

    section = InputSection.model_validate({"size_px": (size_px, size_px), "fit": fit})
    return open_source(dataset, "train", section)


def _shuffled() -> Any:
    from deadlib.data.order import Shuffled

    return Shuffled(0, 0)


def _bare_loop(paths: list[Path], batch: int) -> Iterable[Any]:
    import tensorflow as tf

    spec = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "class_index": tf.io.FixedLenFeature((), tf.int64),
    }

    def parsed(serialised: Any) -> Any:
        example = tf.io.parse_example(serialised, spec)
        return tf.io.decode_raw(example["image"], tf.uint16), example["class_index"]

    records = tf.data.TFRecordDataset([str(path) for path in paths]).batch(batch)
    return records.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _read_plainly(paths: list[Path]) -> None:
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def _in_turn(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each kind of work, one after the other in every round, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, function in work.items():
            elapsed = seconds(function)
            times[name].append(elapsed)
    return {name: found[1:] for name, found in times.items()}


def _print_ratio(words: str, theirs: list[float], ours: list[float]) -> None:
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(f"{words}: median {statistics.median(ratios):.2f}, all {rounded(ratios)}")

"""A training step against Keras' own."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from common import rounded, write_images


@click.command()
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
        write_images(Path(folder) / "source", 2 * count, size_px=size_px)
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
    print(f"time of a step, deadlib / Keras fit: median {middle:.3f}, all {rounded(ratios)}")


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

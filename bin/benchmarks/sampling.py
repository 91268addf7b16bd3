"""What batches of plates and classes cost, beside random ones."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
from common import rounded, seconds

LABELS = ("apoptosis", "ferroptosis", "healthy")


@click.command()
@click.option("--pairs", default=5, help="both kinds of batches in turn, so many times each")
@click.option("--plates", default=7)
@click.option("--wells", default=60, help="of a plate")
@click.option("--size-px", default=64)
@click.option("--model", default="small_cnn")
def sampling(pairs: int, plates: int, wells: int, size_px: int, model: str) -> None:
    """Time to order an epoch, as a share of its steps; steps of sampled beside random batches."""
    import numpy as np

    import deadlib
    from deadlib.data.order import Shuffled
    from deadlib.data.sampling import PlatesAndClasses, plan_of

    with tempfile.TemporaryDirectory() as folder:
        _write_plates(Path(folder) / "source", plates, wells, size_px)
        settings = deadlib.ConversionSettings(
            labels="pattern",
            pattern="{plate}/{label}/{well}_{field}.tif",
            fractions=(0.9, 0.1, 0.0),
        )
        dataset = deadlib.convert(f"{folder}/source", f"{folder}/dataset", settings)

        def recipe(name: str) -> deadlib.Recipe:
            return deadlib.parse_recipe(
                {
                    "dataset": str(dataset.folder),
                    "model": {"name": model},
                    "input": {"size_px": [size_px, size_px]},
                    "sampling": {"name": name, "plates": plates, "samples": 2},
                    "metric_loss": {"name": "supervised_contrastive"},
                    "training": {"epochs": 2, "batch": plates * len(LABELS) * 2},
                }
            )

        rows = np.flatnonzero((dataset.manifest["split"] == "train").to_numpy())
        sampled = recipe("plates_and_classes")
        planning = seconds(lambda: plan_of(sampled, dataset, rows))
        plan: Any = plan_of(sampled, dataset, rows)
        order = statistics.median(
            seconds(lambda n=n: PlatesAndClasses(0, n, plan).places(rows)) for n in range(9)
        )
        shuffle = statistics.median(
            seconds(lambda n=n: Shuffled(0, n).places(rows)) for n in range(9)
        )
        times: dict[str, list[float]] = {"random": [], "plates_and_classes": []}
        for pair in range(pairs):
            for name, found in times.items():
                run = deadlib.train(recipe(name), f"{folder}/{name}-{pair}")
                last = run.history.iloc[-1]
                found.append(float(sampled.training.batch / last["images_per_second"]))
    step = statistics.median(times["random"])
    print(f"{len(rows)} examples, {plan.batches} batches of {plan.batch_size}, {model}")
    print(f"plan, once a training: {1000 * planning:.1f} ms")
    print(f"order of an epoch: {1000 * order:.2f} ms, random: {1000 * shuffle:.2f} ms")
    each = order / plan.batches
    share = 100 * each / step
    print(f"order for a step: {1e6 * each:.0f} us of {1000 * step:.1f} ms, {share:.3f} %")
    ratios = [a / b for a, b in zip(times["plates_and_classes"], times["random"], strict=True)]
    middle = statistics.median(ratios)
    print(f"time of a step, sampled / random: median {middle:.3f}, all {rounded(ratios)}")


def _write_plates(folder: Path, plates: int, wells: int, size_px: int) -> None:
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    for plate in range(plates):
        for well in range(wells):
            place = folder / str(plate + 1) / LABELS[well % len(LABELS)]
            place.mkdir(parents=True, exist_ok=True)
            for field in range(4):
                image = rng.integers(0, 4096, (size_px, size_px), dtype=np.uint16)
                tifffile.imwrite(place / f"B{well + 1:02}_{field}.tif", image)

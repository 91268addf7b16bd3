"""Do the controls find planted shortcuts, and only those? And how long do they take?"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
from common import seconds

WORLDS: dict[str, dict[str, Any]] = {
    "nothing": {"effect": 0.0},
    "cells only": {"effect": 1.0},
    "cells only, plates alike": {"effect": 1.0, "plate_effect": 0.0},
    "brightness": {"effect": 0.0, "shortcut": {"brightness": 0.5}},
    "defocus": {"effect": 0.0, "shortcut": {"defocus": 4.0}},
    "shading": {"effect": 0.0, "shortcut": {"shading": 0.5}},
    "cells and brightness": {"effect": 1.0, "shortcut": {"brightness": 0.5}},
}
IMAGES = 140
POSITIONS_WITH_SHORTCUT = 200
"""So many positions leave 140 images, as a shortcut leaves wells out."""
SEEN = ("intensity", "sharpness", "background", "cell_count", "batch", "position")
FOUND = ("shortcut", "partly")


@click.group()
def controls() -> None:
    """The shortcut battery: what it finds, and its time."""


@controls.command()
@click.option("--seeds", default=20)
@click.option("--permutations", default=499)
def shortcuts(seeds: int, permutations: int) -> None:
    """Of so many simulated experiments, those in which each control says: shortcut.

    Four plates, 140 wells with one image of 96 x 96 px each; the last plate is honest. The
    embedding is the image statistics themselves.
    """
    for name, world in WORLDS.items():
        found = [_examined(world, seed, permutations) for seed in range(seeds)]
        counts = Counter(
            key for battery in found for key in SEEN if _verdicts(battery)[key] in FOUND
        )
        images = sum(any(_verdicts(battery)[key] in FOUND for key in SEEN[:4]) for battery in found)
        probes = sum(
            probe.answer is not None and (probe.answer.p_same or 1) <= 0.01
            for battery in found
            for probe in battery.probes
        )
        told = ", ".join(f"{key} {counts[key]}" for key in SEEN)
        print(f"{name}: any of images {images}; {told}; plate probe {probes}", flush=True)


@controls.command()
@click.option("--images", default=10_000)
@click.option("--size-px", default=96)
@click.option("--groups", default=200)
@click.option("--classes", default=2)
def time(images: int, size_px: int, groups: int, classes: int) -> None:
    """Seconds of the full battery on a table of predictions and its images; the limit is 60."""
    import numpy as np
    import pandas as pd

    from deadlib.bootstrap import Resampling
    from deadlib.controls import Examples, measure, run_battery

    rng = np.random.default_rng(0)
    stored = rng.integers(0, 4096, (64, size_px, size_px, 1), dtype=np.uint16)
    stored[:, size_px // 4 : size_px // 2, size_px // 4 : size_px // 2] *= 4
    group = rng.permutation(np.arange(images) % groups)
    plate = group % 4
    frame = pd.DataFrame(
        {
            "plate": plate.astype(str),
            "well": [f"{'ABCDEFGH'[g // 12 % 8]}{g % 12 + 1}" for g in group],
        }
    )
    probabilities = rng.dirichlet(np.ones(classes), images)
    kept: dict[str, Any] = {}

    def look() -> None:
        kept.update(measure(lambda i: stored[i % len(stored)], images))

    def battery() -> None:
        embedding = rng.normal(0, 1, (images, 512)).astype(np.float32)
        examples = Examples(frame, group % classes, group, probabilities, embedding, kept)
        run_battery(examples, Resampling(2000))

    looking = seconds(look)
    print(f"{images} images of {size_px} px: looked at in {looking:.1f} s", flush=True)
    print(
        f"battery, {classes} classes, {groups} groups, 999 permutations: {seconds(battery):.1f} s"
    )


def _verdicts(battery: Any) -> dict[str, str]:
    return {control.key: control.verdict for control in battery.controls}


def _examined(world: dict[str, Any], seed: int, permutations: int) -> Any:
    import numpy as np
    import pandas as pd
    import tifffile

    from deadlib.bootstrap import Resampling
    from deadlib.controls import Examples, measure, run_battery
    from deadlib.simulation import simulate

    positions = POSITIONS_WITH_SHORTCUT if "shortcut" in world else IMAGES
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        simulate(
            "phase",
            folder,
            seed=seed,
            plates=4,
            positions=positions,
            positions_per_well=1,
            frames=1,
            start_hours=3.0,
            width=96,
            height=96,
            **world,
        )
        frame = pd.read_csv(folder / "images.csv")
        images = [tifffile.imread(folder / name)[..., None] for name in frame["path"]]
    seen = measure(lambda i: images[i], len(images))
    sick = (frame["label"] == "sick").to_numpy().astype(np.intp)
    wells = np.unique((frame["plate"] + frame["well"]).to_numpy(str), return_inverse=True)[1]
    embedding = np.concatenate([seen[key] for key in SEEN[:3]], axis=1)
    examples = Examples(
        frame, sick, wells.astype(np.intp), np.full((len(frame), 2), 0.5), embedding, seen
    )
    return run_battery(examples, Resampling(1000, seed), permutations=permutations)

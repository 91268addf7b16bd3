"""A heat map of one frame: dense against exact."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from common import rounded, seconds


@click.command()
@click.option("--rows", default=1024)
@click.option("--columns", default=1344)
@click.option("--stride-px", default=16)
@click.option("--window-px", default=220)
@click.option("--windows", default=128, help="of the exact mode, timed and scaled to all")
@click.option("--pairs", default=5, help="dense and exact in turn, so many times each")
def heatmap(
    rows: int, columns: int, stride_px: int, window_px: int, windows: int, pairs: int
) -> None:
    """Seconds for one 16-bit frame with DeadNet; the limit is 25 x the exact mode.

    The exact mode looks at windows drawn at random; its time is scaled to all windows. Weights are
    random: time does not depend on them.
    """
    import numpy as np

    from deadlib.heatmaps.frame import FrameMapper

    rng = np.random.default_rng(0)
    frame = rng.integers(0, 4096, (rows, columns, 1), dtype=np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder) / "run", window_px)
        dense = FrameMapper(run, mode="dense", stride_px=stride_px)
        exact = FrameMapper(run, mode="exact", stride_px=stride_px)
        grid = dense.grid((rows, columns))
        places = np.indices((grid.rows, grid.columns)).reshape(2, -1).T
        share = min(windows, len(places)) / len(places)
        chosen = places[np.sort(rng.choice(len(places), round(share * len(places)), False))]
        ratios = []
        for number in range(pairs + 1):
            ours = _clocks(lambda: dense.probabilities(frame))
            theirs = _clocks(lambda: exact.at(frame, chosen))
            if number == 0:
                continue
            theirs = tuple(clock / share for clock in theirs)
            ratios.append([b / a for a, b in zip(ours, theirs, strict=True)])
            print(f"dense {ours[0]:.2f} s, exact {theirs[0]:.1f} s", flush=True)
    for place, words in enumerate(("speed", "processor time")):
        values = [pair[place] for pair in ratios]
        print(f"{words}, dense / exact: {statistics.median(values):.1f} x, {rounded(values)}")
    print(
        f"{len(places)} windows of {window_px} px at stride {stride_px}; exact timed on "
        f"{len(chosen)} of them and scaled"
    )


def _clocks(work: Callable[[], object]) -> tuple[float, ...]:
    """Seconds of the clock, and of the processor, which others' load disturbs less."""
    started = time.process_time()
    return seconds(work), time.process_time() - started


def _run(folder: Path, window_px: int) -> Any:
    """A finished run of DeadNet with random weights."""
    from deadlib import runs
    from deadlib.models import build_network
    from deadlib.recipe import parse_recipe

    size_px = (window_px, window_px)
    recipe = parse_recipe(
        {
            "dataset": "none",
            "model": {"name": "deadnet"},
            "input": {"size_px": size_px, "fit": "crop"},
        }
    )
    runs.start(folder, recipe)
    described = {"classes": ["healthy", "sick"], "channels": ["phase"], "image_shape": size_px}
    (folder / runs.DATASET).write_text(json.dumps(described))
    network = build_network(recipe.model, size_px=size_px, channels=1, classes=2)
    network.save(folder / runs.MODEL)
    return runs.Run.open(folder)

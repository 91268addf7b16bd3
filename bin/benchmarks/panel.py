"""The expert panel with many annotators at once: nothing lost or double, and how long it takes."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[2] / "tests" / "shared"))
from panel_server import answer_at_once, served

ANSWERS = ("healthy", "sick", "unsure")


@click.command()
@click.option("--annotators", default=20, show_default=True)
@click.option("--items", default=200, show_default=True, help="answered by each")
@click.option("--processes", default=1, show_default=True, help="servers of the same panel")
@click.option("--side-px", default=256, show_default=True)
@click.option("--database", help="URL; by default SQLite in the project")
def panel(annotators: int, items: int, processes: int, side_px: int, database: str | None) -> None:
    """Many annotators answer at once, without a pause, each item with its pixels.

    Checks that the log has each acknowledged answer once, and that no annotator and no two with
    fresh items had one twice.
    """
    from deadlib.panel import Panel, create

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for number in range(annotators * items):
            pixels = np.random.default_rng(number).integers(0, 9999, (side_px, side_px), np.uint16)
            Image.fromarray(pixels).save(images / f"{number:05}.png", compress_level=0)
        project = create(Path(folder) / "panel", images, database=database)
        asked = Panel(project)
        names = [f"annotator {number:02}" for number in range(1, annotators + 1)]
        tokens = {name: asked.add_annotator(name) for name in names}
        with served(project.folder, processes) as servers:
            begun = time.perf_counter()
            done = answer_at_once([server.url for server in servers], tokens, ANSWERS, items)
            seconds = time.perf_counter() - begun
        log = asked.log()
        asked.close()
    kept = {(row.annotator, row.number): row.response for row in log.itertuples()}
    told = {(each.annotator, number): said for each in done for number, said in each.said.items()}
    refused = sum(len(each.refused) for each in done)
    fresh = log[log["served"] == "fresh"]["item"]
    twice = int(log.duplicated(["annotator", "item"]).sum() + fresh.duplicated().sum())
    taken = np.concatenate([each.seconds for each in done]) * 1000
    print(
        f"{annotators} annotators x {items} items, {processes} server(s): {len(told):,} answers "
        f"acknowledged, {len(log):,} in the log, {len(told.items() - kept.items())} lost, "
        f"{len(log) - len(kept) + twice} double, {refused} refused\n"
        f"  {seconds:.0f} s, {len(told) / seconds:.0f} answers/s; from an answer to the next item "
        f"{np.median(taken):.0f} ms (median), {np.percentile(taken, 99):.0f} ms (99th percentile)"
    )

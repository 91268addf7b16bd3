"""Do shares of votes make a better model than the labels that are left when experts must agree?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

ARMS = {
    "concordance, labels": ("concordance", "labels"),
    "majority, labels": ("majority", "labels"),
    "votes, labels": ("votes", "labels"),
    "votes, votes": ("votes", "votes"),
}
SIDE_PX, CELLS = 32, 12
RECIPE: dict[str, Any] = {
    "model": {"width": 8, "blocks": 3},
    "input": {"size_px": [SIDE_PX, SIDE_PX], "normalise": "none"},
    "augment": [{"name": "dihedral"}],
    "optimiser": {"learning_rate": 0.003},
    "training": {"batch": 32, "deterministic": False},
    "validation": {"keep": "last"},
}


@click.command()
@click.option("--items", default=240, show_default=True, help="Images that the panel is shown.")
@click.option("--annotators", default=3, show_default=True, help="All see every image.")
@click.option("--panels", default=6, show_default=True, help="Panels, each with images of its own.")
@click.option("--steps", default=300, show_default=True, help="Of each training.")
@click.option("--test", default=600, show_default=True, help="Images that nobody has seen.")
def votes(items: int, annotators: int, panels: int, steps: int, test: int) -> None:
    """Train on what simulated panels said, by each rule, and test on what is true.

    An image shows twelve cells, some of them sick. Annotators see the share of the sick ones with
    an error, have thresholds of their own and are unsure near it, as those of `deadlib-simulate`.
    Told are the accuracy (is the share above the mean threshold?), the cross-entropy with what an
    endless panel would vote, and how far the probability is from it, in the mean. Differences are
    those of panels, with their standard error.
    """
    from deadlib.simulation.annotators import THRESHOLD

    found: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    kept: dict[str, list[int]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shares = _write_images(folder / "test", test, np.random.default_rng(0))
        truth, expected = shares > THRESHOLD, _endless_panel(shares)
        for panel in range(panels):
            source = folder / "panel"
            rng = np.random.default_rng([1, panel])
            _write_log(source, _write_images(source, items, rng), annotators, rng)
            for arm, (rule, targets) in ARMS.items():
                data, run = folder / "data", folder / "run"
                kept[arm].append(_train(source, data, run, rule, targets, steps, panel))
                p = np.clip(_sick(run, folder / "test"), 1e-6, 1 - 1e-6)
                entropy = -(expected * np.log(p) + (1 - expected) * np.log(1 - p)).mean()
                distance = np.abs(p - expected).mean()
                found[arm].append([((p > 0.5) == truth).mean(), entropy, distance])
                for path in (data, run):
                    shutil.rmtree(path)
            shutil.rmtree(source)
            print(f"after panel {panel + 1} of {panels}", flush=True)
            _tell(found, kept)


def _tell(found: dict[str, list[list[float]]], kept: dict[str, list[int]]) -> None:
    """Means over the panels, and differences to the published rule."""
    base = np.array(found["concordance, labels"])
    print("rule, targets         images  accuracy  cross-entropy  distance | less concordance")
    for arm, rows in found.items():
        figures, more = np.array(rows), np.array(rows) - base
        error = more.std(axis=0, ddof=min(1, len(rows) - 1)) / np.sqrt(len(rows))
        differences = "  ".join(
            f"{mean:+.4f} ± {one:.4f}" for mean, one in zip(more.mean(axis=0), error, strict=True)
        )
        accuracy, entropy, distance = figures.mean(axis=0)
        print(
            f"{arm:20}  {np.mean(kept[arm]):6.0f}  {accuracy:8.4f}  {entropy:13.4f}  "
            f"{distance:8.4f} | {differences}",
            flush=True,
        )


def _write_images(folder: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Images of twelve cells; returns the share of sick ones in each, (count,)."""
    from PIL import Image

    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    sick = rng.integers(0, CELLS + 1, count)
    for number, bad in enumerate(sick):
        image = rng.normal(100, 12, (SIDE_PX, SIDE_PX))
        for cell, (y, x) in enumerate(rng.uniform(2, SIDE_PX - 2, (CELLS, 2))):
            width, height = (1.2, 60) if cell < bad else (2.2, 30)
            image += height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.png")
    return np.asarray(sick / CELLS)


def _write_log(folder: Path, shares: np.ndarray, annotators: int, rng: np.random.Generator) -> None:
    from deadlib.simulation.annotators import THRESHOLD, THRESHOLD_SPREAD, answer

    thresholds = THRESHOLD + THRESHOLD_SPREAD * rng.standard_normal(annotators)
    rows = [
        f"annotator{who},{number:04}.png,{answer(float(share), float(threshold), rng)}"
        for who, threshold in enumerate(thresholds)
        for number, share in enumerate(shares)
    ]
    (folder / "log.csv").write_text("\n".join(["annotator,item,response", *rows]) + "\n")


def _endless_panel(shares: np.ndarray) -> np.ndarray:
    """The share of sick of all possible annotators, half of those who are unsure included."""
    from scipy.stats import norm

    from deadlib.simulation.annotators import ERROR, MARGIN, THRESHOLD, THRESHOLD_SPREAD

    spread = np.hypot(ERROR, THRESHOLD_SPREAD)
    sick = norm.sf((MARGIN - (shares - THRESHOLD)) / spread)
    healthy = norm.cdf((-MARGIN - (shares - THRESHOLD)) / spread)
    return np.asarray(sick + (1 - sick - healthy) / 2)


def _train(
    source: Path, data: Path, run: Path, rule: str, targets: str, steps: int, seed: int
) -> int:
    """Convert and train; returns how many images the rule keeps."""
    import deadlib
    from deadlib.recipe import parse_recipe
    from tfrecords_tools import ConversionSettings, convert

    dataset = convert(
        source,
        data,
        ConversionSettings(
            labels="annotations",
            annotations="log.csv",
            agreement=rule,
            fractions=(0.8, 0.2, 0.0),
            find_similar=False,
        ),
    )
    tree = RECIPE | {"dataset": str(data), "seed": seed, "loss": {"targets": targets}}
    tree["training"] = RECIPE["training"] | {"epochs": None, "steps": steps}
    tree["validation"] = RECIPE["validation"] | {"every_steps": steps}
    deadlib.train(parse_recipe(tree), run)
    return len(dataset.manifest)


def _sick(run: Path, images: Path) -> np.ndarray:
    """The probability of sick of every image, in the order of their names."""
    import deadlib
    from deadlib.predictions import open_predictions

    out = run / "predictions.parquet"
    deadlib.predict(deadlib.Run.open(run), images, out)
    table = open_predictions(out)
    order = np.argsort(table.frame["example_id"].to_numpy(str))
    return np.asarray(table.probabilities[order, table.classes.index("sick")])

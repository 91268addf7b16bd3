"""The range test of the learning rate: how the loss goes while the rate rises (Smith 2017).

A fresh network of the recipe is trained for some hundred steps, each at a rate that is larger by
the same factor. Where the loss falls most steeply is a good peak for the schedule. Nothing of the
network is kept (arXiv:1506.01186).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from deadlib.augment.build import check_steps
from deadlib.data.shapes import example_shape
from deadlib.data.view import open_viewed
from deadlib.outputs import written_whole
from deadlib.pages.drawing import COLOURS, GREY, figure_of
from deadlib.recipe import Recipe
from deadlib.training.build import Trainer, build_trainer
from deadlib.training.checks import check_recipe
from deadlib.training.devices import make_repeatable
from deadlib.training.fit import cache_folder, describe_dataset
from deadlib.training.loop import Progress
from deadlib.training.schedules import Geometric
from deadlib.training.state import TOTALS

FIRST_RATE, LAST_RATE, STEPS = 1e-7, 10.0, 100

SMOOTHING_STEPS = 3.0
"""Deviation of the Gaussian mean over steps; symmetric, so that no fall seems later than it is."""

MEMORY, DIVERGED = 0.9, 4.0
"""The test ends where the running mean of the loss is so many times its smallest value."""

SMALLEST_FALL, ABOVE_NOISE = 0.05, 10.0
"""A loss that never falls by this share of its first value, or not by so many deviations of what
smoothing leaves of the noise, suggests nothing."""


@dataclass(frozen=True)
class RateTest:
    """What a range test found; all arrays (steps,) float64."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    """Mean over the batch of each step, before it."""
    smoothed: NDArray[np.float64]
    suggestion: float | None
    """A rate for optimiser.learning_rate; None where the loss does not fall at any."""


def find_learning_rate(
    recipe: Recipe,
    out: str | Path,
    *,
    steps: int = STEPS,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> RateTest:
    """Run the range test of a recipe and write `out`.png and `out`.csv.

    Of a recipe with freeze.body: first it tests the rate for after that. Where groups of the
    network learn at different rates they keep their ratios, and the rate is the head's.

    Raises RecipeError, DatasetError, PlanError and LeakError as training does, and WriteError.
    """
    out = Path(out)
    dataset = open_viewed(recipe)
    check_recipe(recipe, dataset, warn or (lambda sentence: None))
    check_steps(recipe.augment, recipe.input, example_shape(dataset, recipe.input)[:2])
    make_repeatable(recipe.seed, recipe.training.deterministic)
    trainer = build_trainer(
        recipe,
        dataset,
        describe_dataset(dataset, recipe),
        cache=cache_folder(recipe, out),
        progress=progress,
        test=Geometric(FIRST_RATE, LAST_RATE, steps),
    )
    losses = _losses(trainer, steps, progress)
    rates = np.geomspace(FIRST_RATE, LAST_RATE, steps)[: len(losses)]
    found = rate_test(rates, losses)
    with written_whole(out.with_name(f"{out.name}.csv")) as partial:
        partial.write_text(_table(found), encoding="utf-8")
    with written_whole(out.with_name(f"{out.name}.png")) as partial:
        partial.write_bytes(_picture(found))
    return found


def rate_test(rates: ArrayLike, losses: ArrayLike) -> RateTest:
    """What the losses (steps,) at the rates (steps,) suggest: where they fall most steeply.

    Steepness is the slope of the smoothed loss over the logarithm of the rate, looked for up to the
    smallest smoothed loss.
    """
    rate, loss = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    smoothed = gaussian_filter1d(loss, SMOOTHING_STEPS, mode="reflect")
    lowest = int(smoothed.argmin())
    fall = smoothed[: lowest + 1].max() - smoothed[lowest]
    suggestion = None
    left = np.abs(loss - smoothed)[: lowest + 1]
    noise = 1.48 * np.median(left) / np.sqrt(2 * np.sqrt(np.pi) * SMOOTHING_STEPS)
    if lowest > 0 and fall >= max(SMALLEST_FALL * smoothed[0], ABOVE_NOISE * noise):
        slope = np.gradient(smoothed, np.log(rate))
        suggestion = float(rate[slope[: lowest + 1].argmin()])
    return RateTest(rate, loss, smoothed, suggestion)


def _losses(trainer: Trainer, steps: int, progress: Progress | None) -> list[float]:
    losses: list[float] = []
    mean, smallest = 0.0, math.inf
    for step, batch in enumerate(islice(trainer.batches(0), steps)):
        trainer.totals.assign([0.0] * len(TOTALS))
        trainer.step(batch, step)
        own, _, examples, metric = (float(total) for total in trainer.totals.numpy())
        loss = trainer.parts.loss_weight * own + metric
        if not math.isfinite(loss):
            break
        losses.append(loss / examples)
        mean = MEMORY * mean + (1 - MEMORY) * losses[-1]
        running = mean / (1 - MEMORY ** (step + 1))
        smallest = min(smallest, running)
        if running > DIVERGED * smallest:
            break
        if progress is not None:
            progress("testing rates", step + 1, steps)
    return losses


def _table(found: RateTest) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learning_rate", "loss", "smoothed_loss"])
    for row in zip(found.rates, found.losses, found.smoothed, strict=True):
        writer.writerow([f"{value:.6g}" for value in row])
    return text.getvalue()


def _picture(found: RateTest) -> bytes:
    with figure_of((5.2, 3.6)) as (figure, draw):
        axes = figure.subplots()
        axes.plot(found.rates, found.losses, ".", color=GREY, markersize=4, label="each step")
        axes.plot(found.rates, found.smoothed, color=COLOURS[0], label="smoothed")
        if found.suggestion is not None:
            words = f"steepest fall: {found.suggestion:.2g}"
            axes.axvline(found.suggestion, color=COLOURS[1], linestyle="--", label=words)
        low, high = found.smoothed.min(), found.smoothed[: len(found.smoothed) // 2 + 1].max()
        room = max(high - low, 0.1 * high)
        axes.set_ylim(low - 0.1 * room, high + 0.5 * room)
        axes.set_xscale("log")
        axes.set(xlabel="learning rate", ylabel="training loss", title="Range test")
        axes.legend(loc="upper left" if found.suggestion is None else "lower left")
        return draw("learning_rates", "Training loss over learning rate.").png

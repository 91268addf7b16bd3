"""The sheet of augmentations: what every step of a recipe does to one image, to be looked at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deadlib.augment import MIXINGS, build_augmenter, build_mixer
from deadlib.data.plates import Correction, correction_for
from deadlib.data.preprocess import Preprocess, centre_crop, fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.data.view import open_viewed
from deadlib.errors import InputError
from deadlib.outputs import written_whole
from deadlib.recipe import AugmentStep, InputSection, Recipe
from deadlib.training.fit import describe_dataset
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.images import read_image

DRAWS = 8

_CELL_IN, _TITLE_IN, _HEAD_IN = 1.3, 2.4, 0.7
_DARK, _BRIGHT = 0.5, 99.5
_HUES = ("dodgerblue", "lime", "orangered", "magenta", "gold", "cyan")


@dataclass(frozen=True)
class Row:
    """One row of the sheet."""

    title: str
    pictures: np.ndarray
    """(1 + DRAWS, h, w, C) float32, the first as it is without augmentation."""


def draw_augmentations(recipe: Recipe, out: str | Path, *, image: str | Path | None = None) -> Path:
    """Write a PNG: a row for each step of the recipe and one for all, eight draws in each.

    image: a file of the dataset's channels; by default the first training example. What is drawn
    follows from the recipe's seed. Every row has one contrast for all its pictures.

    Raises DatasetError, RecipeError and ImageError; InputError where the file does not fit.
    """
    out = Path(out)
    dataset = open_viewed(recipe)
    described = describe_dataset(dataset, recipe)
    preprocess = preprocess_for(recipe.input, described)
    examples = _examples(dataset, recipe.input, correction_for(dataset, recipe.input, described))
    if image is not None:
        stored = unit_range(read_image(image))
        if stored.shape[-1] != len(dataset.channels):
            raise InputError(
                f"{image}: has {stored.shape[-1]} channels, the dataset {len(dataset.channels)} "
                f"({', '.join(dataset.channels)}); give an image of the same channels"
            )
        examples = [_fitted(stored, recipe.input), *examples[1:]]
    rows = sheet_rows(recipe, preprocess, examples)
    origin = Path(image).name if image is not None else dataset.name
    with written_whole(out) as partial:
        _figure(rows, dataset.channels, f"{origin}, seed {recipe.seed}").savefig(
            partial, format="png", dpi=110
        )
    return out


def sheet_rows(recipe: Recipe, preprocess: Preprocess, examples: Sequence[np.ndarray]) -> list[Row]:
    """The rows of the sheet.

    examples: images (H, W, C) float32 fitted by `fit_size`; the first is drawn, the others are
    those that it is mixed with.
    """
    seen = recipe.input.model_copy(update={"fit": "resize", "crops": 1})
    middle = [_middle(image, recipe.input) for image in examples]
    rows = []
    if recipe.input.fit == "crop":
        kind = "random window" if recipe.input.crops == 1 else "the central one of five windows"
        window = f"{kind} of {recipe.input.size_px[0]} x {recipe.input.size_px[1]} px"
        rows.append(Row(window, _drawn(recipe, (), recipe.input, preprocess, examples, middle)))
    for place, step in enumerate(recipe.augment, start=1):
        pictures = _drawn(recipe, (step,), seen, preprocess, middle, middle, place)
        rows.append(Row(_title(step), pictures))
    everything = _drawn(recipe, recipe.augment, recipe.input, preprocess, examples, middle)
    return [*rows, Row("the whole recipe", everything)]


def _drawn(
    recipe: Recipe,
    steps: Sequence[AugmentStep],
    section: InputSection,
    preprocess: Preprocess,
    examples: Sequence[np.ndarray],
    middle: Sequence[np.ndarray],
    place: int = 0,
) -> np.ndarray:
    """The first example without augmentation and DRAWS times with; each `place` draws anew."""
    augment = build_augmenter(steps, input=section, normalise=preprocess.normalise)
    first = np.arange(DRAWS) + 2 * DRAWS * place
    seeds = np.stack([np.full(DRAWS, recipe.seed), first], axis=1)
    found = np.asarray(augment(np.stack([examples[0]] * DRAWS), seeds))
    if section.crops > 1:
        found = found[:, -1]
    mix = build_mixer(steps)
    if mix is not None:
        others = [examples[1 + draw % max(len(examples) - 1, 1)] for draw in range(DRAWS)]
        partners = np.asarray(augment(np.stack(others), seeds + DRAWS))
        targets = np.eye(2, dtype=np.float32)
        # Pairs, so that the image's partner is no other draw of itself.
        pairs = zip(found, partners, seeds, seeds + DRAWS, strict=True)
        mixed = [mix(np.stack([a, b]), targets, np.stack([c, d]))[0][0] for a, b, c, d in pairs]
        found = np.stack([np.asarray(image) for image in mixed])
    plain = np.asarray(preprocess(examples[0][None]))
    return np.concatenate([plain, found])


def _examples(
    dataset: Dataset, section: InputSection, correct: Correction | None
) -> list[np.ndarray]:
    """Training examples, at most one for every draw and one more, spread over the split."""
    rows = np.flatnonzero((dataset.manifest["split"] == "train").to_numpy())
    if not len(rows):
        raise InputError(f"{dataset.folder}: no example in split train to draw")
    chosen = rows[np.linspace(0, len(rows) - 1, min(1 + DRAWS, len(rows))).astype(int)]
    images = [_fitted(unit_range(dataset.read_example(int(row))), section) for row in chosen]
    if correct is None:
        return images
    return list(np.asarray(correct(np.stack(images), chosen)))


def _fitted(image: np.ndarray, section: InputSection) -> np.ndarray:
    return np.asarray(fit_size(tf.constant(image), section))


def _middle(image: np.ndarray, section: InputSection) -> np.ndarray:
    return np.asarray(centre_crop(image[None], section.size_px)[0])


def _title(step: AugmentStep) -> str:
    lines = [step.name + (" (mixes two)" if step.name in MIXINGS else "")]
    return "\n".join(lines + [f"{key} {_plain(value)}" for key, value in step.parameters.items()])


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_plain(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figure(rows: Sequence[Row], channels: Sequence[str], origin: str) -> Figure:
    height = _HEAD_IN + _CELL_IN * len(rows)
    figure = Figure(figsize=(_TITLE_IN + _CELL_IN * (1 + DRAWS), height))
    left, top = _TITLE_IN / figure.get_figwidth(), 1 - _HEAD_IN / height
    grid = figure.subplots(
        len(rows),
        1 + DRAWS,
        squeeze=False,
        gridspec_kw={
            **{"left": left, "right": 0.995, "bottom": 0.005, "top": top},
            **{"wspace": 0.04, "hspace": 0.04},
        },
    )
    figure.text(0.01, 1 - 0.2 / height, f"Augmentations of {origin}", va="center", fontsize=12)
    remark = "every row has one contrast for all its pictures"
    figure.text(0.01, 1 - 0.45 / height, remark, va="center", fontsize=8, color="dimgrey")
    for axes, name in zip(grid[0], ["without", *map(str, range(1, DRAWS + 1))], strict=True):
        axes.set_title(name, fontsize=9)
    for axes_of_row, row in zip(grid, rows, strict=True):
        for axes, picture in zip(axes_of_row, as_colours(row.pictures, channels), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
        box = axes_of_row[0].get_position()
        name, *settings = row.title.split("\n")
        lines = [line for setting in settings for line in textwrap.wrap(setting, 30)]
        middle = (box.y0 + box.y1) / 2
        step = 0.16 / height
        upper = middle + step * len(lines) / 2
        figure.text(0.01, upper, "\n".join(textwrap.wrap(name, 26)), va="center", fontsize=10)
        for place, line in enumerate(lines, start=1):
            below = upper - step * place
            figure.text(0.01, below, line, va="center", fontsize=8, color="dimgrey")
    return figure


def as_colours(pictures: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """(N, h, w, C) floats as (N, h, w, 3) in 0-1, between the same dark and bright for all.

    RGB and single channels are shown as they are; of others each has a colour, the brightest wins.
    """
    colour = [name.lower() for name in channels] == ["red", "green", "blue"]
    axes = (0, 1, 2, 3) if colour else (0, 1, 2)
    dark, bright = np.percentile(pictures, [_DARK, _BRIGHT], axis=axes, keepdims=True)
    span = np.where(bright > dark, bright - dark, 1)
    unit = np.clip((pictures - dark) / span, 0, 1)
    if colour:
        return unit
    if pictures.shape[-1] == 1:
        return np.repeat(unit, 3, axis=-1)
    hues = np.array([to_rgb(_HUES[place % len(_HUES)]) for place in range(pictures.shape[-1])])
    return (unit[..., None] * hues).max(axis=-2)

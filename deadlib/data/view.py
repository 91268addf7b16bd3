"""The dataset of a recipe, as its section `split` sees it."""

from __future__ import annotations

from pathlib import Path

from deadlib.data.plates import PLATE
from deadlib.errors import RecipeError
from deadlib.recipe import Recipe
from tfrecords_tools.dataset import Dataset, open_dataset
from tfrecords_tools.view import View, viewed


def view_of(recipe: Recipe) -> View:
    """The view that a recipe asks for."""
    return View(**recipe.split.model_dump())


def open_viewed(recipe: Recipe, folder: str | Path | None = None) -> Dataset:
    """Open the dataset of a recipe, or the same at another place, with the recipe's splits.

    Raises DatasetError, PlanError and LeakError as `open_dataset` and `viewed` do, RecipeError
    where plates were measured for other splits.
    """
    return seen_by(recipe, open_dataset(recipe.dataset if folder is None else folder))


def seen_by(recipe: Recipe, dataset: Dataset) -> Dataset:
    """A dataset with the splits and classes of a recipe. Raises as `open_viewed`."""
    view = view_of(recipe)
    measured = recipe.input.normalise in PLATE or recipe.input.illumination
    if view.splits_anew and measured:
        raise RecipeError(
            "split: plates are measured on the training examples of the conversion, so with "
            "input.normalise: plate or illumination the splits are those of the conversion; "
            "convert again with --split-by or --hold-out, or take another input.normalise"
        )
    return viewed(dataset, view)

"""Does the recipe fit the dataset? Asked before anything is built; without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from deadlib.data.plates import check_plates
from deadlib.data.sampling import plan_of, plate_index
from deadlib.data.shapes import example_shape
from deadlib.data.votes import vote_shares
from deadlib.errors import RecipeError
from deadlib.recipe import Recipe, nearest
from tfrecords_tools.intensity import plate_differences
from tfrecords_tools.split import group_columns, group_names

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.dataset import Dataset

Warn = Callable[[str], None]

PAIRED = ("supervised_contrastive", "triplet")
NEEDS_BOTH_CLASSES = ("roc_auc", "average_precision")
FEWEST_VALIDATION_GROUPS = 5


def check_recipe(recipe: Recipe, dataset: Dataset, warn: Warn) -> None:
    """Refuse a recipe that cannot be trained on this dataset, and warn of what one must know.

    Raises RecipeError: no example in train or validation; examples without a label; fewer than two
    classes, or a class without a training example; a crop larger than the images; an unknown
    column in validation.group_by; a metric that needs classes the validation split has not; a
    frozen body of random weights, or no epoch in which it learns; targets of votes that nobody
    gave; batches of more plates or classes
    than there are, or of another size than training.batch.
    """
    _check_freeze(recipe)
    for split in ("train", "validation"):
        _check_labels(_examples(dataset, split), split, dataset)
    counts = class_counts(dataset, "train")
    if len(counts) < 2:
        raise RecipeError(
            f"{dataset.folder}: a classifier needs two classes, found {list(dataset.classes)}; "
            "convert again with labels"
        )
    missing = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if missing:
        raise RecipeError(
            f"{dataset.folder}: no training example of {', '.join(missing)}; split by another "
            "column, give the class more groups, or leave it out when converting"
        )
    example_shape(dataset, recipe.input)
    if recipe.loss.targets == "votes":
        vote_shares(dataset)
    check_plates(dataset, recipe.input)
    _check_sampling(recipe, dataset)
    _check_validation(recipe, dataset, warn)
    for sentence in dataset.info.get("audit", {}).get("warnings", []):
        warn(f"{dataset.folder}: {sentence}")
    if recipe.input.normalise in ("dataset", "imagenet", "none"):
        for sentence in plate_differences(dataset):
            warn(f"{dataset.folder}: {sentence}")


def class_counts(dataset: Dataset, split: str) -> list[int]:
    """Examples of each class in a split, in class order."""
    labels = _examples(dataset, split)["label"].value_counts()
    return [int(labels.get(name, 0)) for name in dataset.classes]


def validation_groups(dataset: Dataset, group_by: str | None) -> np.ndarray:
    """The group of every manifest row, (rows,) text; a row without one is a group of its own.

    Wells of the same name on two plates are two groups, as in the split. Raises
    RecipeError for a column that the manifest does not have.
    """
    manifest = dataset.manifest
    column = group_by or "group"
    if column not in manifest:
        raise RecipeError(
            f"validation.group_by: {dataset.folder} has no column {column!r}; "
            f"{nearest(column, [str(name) for name in manifest.columns])}"
        )
    names = group_names(manifest, group_columns((column,), list(manifest.columns)))
    alone = "alone: " + manifest["example_id"]
    return names.where(manifest[column].notna(), alone).to_numpy(dtype=str)


def _examples(dataset: Dataset, split: str) -> pd.DataFrame:
    return dataset.manifest[dataset.manifest["split"] == split]


def _check_labels(examples: pd.DataFrame, split: str, dataset: Dataset) -> None:
    if examples.empty:
        raise RecipeError(
            f"{dataset.folder}: no example in split {split}; convert again with other fractions, "
            "or with more groups than splits"
        )
    unknown = int(examples["label"].isna().sum())
    if unknown:
        raise RecipeError(
            f"{dataset.folder}: {unknown} of {len(examples)} examples in split {split} have no "
            "label; convert again with labels for all, or leave those images out"
        )


def _check_freeze(recipe: Recipe) -> None:
    body, epochs = recipe.freeze.body, recipe.training.epochs
    if body != "never" and recipe.model.weights == "random":
        raise RecipeError(
            f"freeze.body: {body} keeps the body as model.weights has it, and these are random; "
            "give model.weights: imagenet or a path, or set freeze.body: never"
        )
    if body == "first" and epochs is not None and recipe.freeze.epochs >= epochs:
        raise RecipeError(
            f"freeze.epochs: {recipe.freeze.epochs} of training.epochs: {epochs} leave none in "
            "which the body learns; set more training.epochs, or freeze.body: always"
        )


def looks_at_plates(recipe: Recipe) -> bool:
    """Whether the metric loss asks which plate an example is of."""
    return recipe.metric_loss.name in PAIRED and recipe.metric_loss.pairs != "classes"


def _check_sampling(recipe: Recipe, dataset: Dataset) -> None:
    asked = looks_at_plates(recipe)
    if recipe.sampling.name == "random" and not asked:
        return
    rows = np.flatnonzero((dataset.manifest["split"] == "train").to_numpy())
    plan = plan_of(recipe, dataset, rows)
    if asked and len(np.unique(plate_index(dataset, recipe.sampling.by, rows)[rows])) < 2:
        raise RecipeError(
            f"metric_loss.pairs: {recipe.metric_loss.pairs} needs two plates, the training split "
            f"of {dataset.folder} has one by sampling.by: [{', '.join(recipe.sampling.by)}]; set "
            "pairs: classes"
        )
    if plan is not None and plan.batch_size != recipe.training.batch:
        section = recipe.sampling
        classes = section.classes or len(dataset.classes)
        raise RecipeError(
            f"training.batch: {recipe.training.batch}, but sampling makes batches of "
            f"{section.plates} plates x {classes} classes x {section.samples} samples; set "
            f"training.batch: {plan.batch_size}"
        )


def _check_validation(recipe: Recipe, dataset: Dataset, warn: Warn) -> None:
    groups = validation_groups(dataset, recipe.validation.group_by)
    counts = class_counts(dataset, "validation")
    absent = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    metric = recipe.validation.metric
    if metric in NEEDS_BOTH_CLASSES and sum(count > 0 for count in counts) < 2:
        raise RecipeError(
            f"validation.metric: {metric} cannot be computed, the validation split of "
            f"{dataset.folder} has no example of {', '.join(absent)}; use another metric, or "
            "convert again with another split"
        )
    is_asked = (dataset.manifest["split"] == "validation").to_numpy()
    if metric == "map_at_r" and not _has_others(
        dataset.manifest["label"][is_asked], groups[is_asked]
    ):
        raise RecipeError(
            "validation.metric: map_at_r asks each group for the others of its class, and the "
            f"validation split of {dataset.folder} has no two groups of a class; set "
            "validation.group_by to a smaller place (well, field), or use another metric"
        )
    if absent:
        warn(f"{dataset.folder}: the validation split has no example of {', '.join(absent)}")
    found = len(np.unique(groups[is_asked]))
    if found < FEWEST_VALIDATION_GROUPS:
        warn(
            f"{dataset.folder}: the validation split has {found} independent groups; the epoch "
            "picked by so few is picked mostly by chance"
        )


def _has_others(labels: pd.Series, groups: np.ndarray) -> bool:
    """Whether any class stands in two groups or more."""
    return any(len(np.unique(groups[(labels == name).to_numpy()])) > 1 for name in labels.unique())

"""A recipe that does not fit its dataset is refused before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe
from deadlib.training.checks import check_recipe, class_counts, validation_groups
from tfrecords_tools import Dataset

RecipeMaker = Callable[..., Recipe]


def changed(
    dataset: Dataset, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None, **info: Any
) -> Dataset:
    """The dataset as if its manifest or deadlib.json were others."""
    other = replace(dataset, info={**dataset.info, **info})
    if change is not None:
        other.__dict__["manifest"] = change(dataset.manifest.copy())
    return other


def without(split: str, label: str | None = None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def drop(manifest: pd.DataFrame) -> pd.DataFrame:
        found = manifest["split"] == split
        if label is not None:
            found &= manifest["label"] == label
        return manifest[~found].reset_index(drop=True)

    return drop


def unlabelled(manifest: pd.DataFrame) -> pd.DataFrame:
    manifest.loc[manifest["split"] == "validation", "label"] = None
    return manifest


def check(recipe: Recipe, dataset: Dataset) -> list[str]:
    warnings: list[str] = []
    check_recipe(recipe, dataset, warnings.append)
    return warnings


def test_a_fitting_recipe_passes_in_silence(toy_dataset: Dataset, toy_recipe: RecipeMaker) -> None:
    assert check(toy_recipe(), toy_dataset) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("train"), "no example in split train"),
        (without("validation"), "no example in split validation"),
        (without("train", "dead"), "no training example of dead"),
        (unlabelled, "24 of 24 examples in split validation have no label"),
    ],
)
def test_a_dataset_that_lacks_examples_is_refused(
    toy_dataset: Dataset, toy_recipe: RecipeMaker, change: Any, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        check(toy_recipe(), changed(toy_dataset, change))


def test_one_class_is_refused(toy_dataset: Dataset, toy_recipe: RecipeMaker) -> None:
    with pytest.raises(RecipeError, match="a classifier needs two classes"):
        check(toy_recipe(), changed(toy_dataset, classes=["dead"]))


def test_a_crop_larger_than_the_images_is_refused(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    recipe = toy_recipe(input={"fit": "crop", "size_px": [32, 32]})
    with pytest.raises(RecipeError, match="32 x 32 px cannot be cropped"):
        check(recipe, toy_dataset)


def test_an_unknown_group_column_is_refused_with_the_nearest(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    recipe = toy_recipe(validation={"group_by": "wel"})
    with pytest.raises(RecipeError, match="no column 'wel'; did you mean well"):
        check(recipe, toy_dataset)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_metric_that_cannot_be_computed_is_refused(
    toy_dataset: Dataset, toy_recipe: RecipeMaker, metric: str
) -> None:
    dataset = changed(toy_dataset, without("validation", "dead"))
    with pytest.raises(RecipeError, match=f"validation.metric: {metric} cannot be computed"):
        check(toy_recipe(validation={"metric": metric}), dataset)


def test_a_class_missing_from_validation_is_said(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    warnings = check(toy_recipe(), changed(toy_dataset, without("validation", "dead")))
    assert any("no example of dead" in warning for warning in warnings)


def test_confounding_found_by_the_conversion_is_repeated(
    toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    audit = {**toy_dataset.info["audit"], "warnings": ["experiment tells the label"]}
    assert "experiment tells the label" in check(toy_recipe(), changed(toy_dataset, audit=audit))[0]


def test_few_validation_groups_are_said(toy_dataset: Dataset, toy_recipe: RecipeMaker) -> None:
    recipe = toy_recipe(validation={"group_by": "label"})
    assert "2 independent groups" in check(recipe, toy_dataset)[0]


def test_groups_are_those_of_the_split_unless_a_column_is_named(toy_dataset: Dataset) -> None:
    assert (validation_groups(toy_dataset, None) == toy_dataset.manifest["group"]).all()
    assert (validation_groups(toy_dataset, "label") == toy_dataset.manifest["label"]).all()


def test_an_example_without_a_group_stands_alone(toy_dataset: Dataset) -> None:
    def blank(manifest: pd.DataFrame) -> pd.DataFrame:
        manifest.loc[[0, 1], "well"] = None
        return manifest

    groups = validation_groups(changed(toy_dataset, blank), "well")
    assert groups[0] != groups[1]
    assert groups[2] == toy_dataset.manifest["well"][2]


def test_wells_of_the_same_name_on_two_plates_are_two_groups(toy_dataset: Dataset) -> None:
    def two_plates(manifest: pd.DataFrame) -> pd.DataFrame:
        return manifest.assign(well="B03", plate=[row % 2 for row in range(len(manifest))])

    groups = validation_groups(changed(toy_dataset, two_plates), "well")
    assert set(groups) == {"0/B03", "1/B03"}


def test_classes_are_counted_in_their_order(toy_dataset: Dataset) -> None:
    assert toy_dataset.classes == ["dead", "living"]
    assert class_counts(changed(toy_dataset, without("train", "dead")), "train") == [0, 24]

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deadlib.errors import RecipeError
from deadlib.study import load_study, parse_study
from deadlib.study.cells import Cell, cells_of, changed
from tfrecords_tools import Dataset

Tree = dict[str, Any]


def cells(recipe: Tree, *axes: Tree, **study: Any) -> list[Cell]:
    return cells_of(parse_study({"recipe": recipe, "axes": list(axes), **study}))


def test_a_study_without_axes_is_one_training(recipe: Tree) -> None:
    (cell,) = cells(recipe)
    assert cell.name == "all"
    assert [training.folder for training in cell.trainings] == ["all"]


def test_each_value_is_left_out_once(recipe: Tree) -> None:
    found = cells(recipe, {"leave_out": "experiment"})
    assert [cell.name for cell in found] == ["without N1", "without N2", "without N3", "without N4"]
    assert [cell.recipes[0].split.hold_out for cell in found] == [
        (f"experiment=N{n}",) for n in range(1, 5)
    ]


def test_leaving_out_replaces_the_test_that_the_recipe_holds_out(recipe: Tree) -> None:
    held = ["experiment=N4", "validation:experiment=N3"]
    tree = {**recipe, "split": {**recipe["split"], "hold_out": held}}
    (cell,) = cells(tree, {"leave_out": "cell_line", "values": ["PC3"]})
    assert cell.recipes[0].split.hold_out == ("validation:experiment=N3", "cell_line=PC3")
    (fold, _) = cells({**recipe, "split": {"hold_out": ["experiment=N4"]}}, {"folds": 2})
    assert fold.recipes[0].split.hold_out == ()


def test_a_column_that_is_left_out_divides_the_groups(recipe: Tree) -> None:
    (cell,) = cells(recipe, {"leave_out": "cell_line", "values": ["PC3"]})
    assert cell.recipes[0].split.by == ("experiment", "cell_line")
    (cell,) = cells({**recipe, "split": {}}, {"leave_out": "cell_line", "values": ["PC3"]})
    assert cell.recipes[0].split.by == (), "those of the conversion are left as they are"


def test_each_value_alone_adds_to_the_conditions_of_the_recipe(recipe: Tree) -> None:
    tree = {**recipe, "split": {"where": ["experiment != N4"]}}
    found = cells(tree, {"each": "cell_line"}, {"each": "experiment", "values": ["N2"]})
    assert [cell.recipes[0].split.where for cell in found] == [
        ("experiment != N4", f"cell_line == {line}", "experiment == N2") for line in ("MCF7", "PC3")
    ]


def test_only_values_that_the_recipe_looks_at_count(recipe: Tree) -> None:
    tree = {**recipe, "split": {"where": ["experiment != N4"]}}
    names = [cell.name for cell in cells(tree, {"leave_out": "experiment"})]
    assert names == ["without N1", "without N2", "without N3"]


def test_a_value_that_is_a_number_is_named_with_its_column(recipe: Tree) -> None:
    found = cells(recipe, {"each": "field", "values": [0, 1]})
    assert [cell.name for cell in found] == ["field 0", "field 1"]
    assert found[1].recipes[0].split.where == ("field == 1",)


def test_folds_are_numbered_as_in_the_recipe(recipe: Tree) -> None:
    found = cells(recipe, {"folds": 3})
    assert [(c.recipes[0].split.fold, c.recipes[0].split.folds) for c in found] == [
        (0, 3),
        (1, 3),
        (2, 3),
    ]


def test_axes_are_multiplied_and_the_last_changes_fastest(recipe: Tree) -> None:
    found = cells(
        recipe,
        {"name": "width", "cells": {"thin": {"model.width": 4}, "wide": {"model.width": 8}}},
        {"leave_out": "cell_line"},
        repeats=2,
    )
    assert [cell.name for cell in found] == [
        "thin, without MCF7",
        "thin, without PC3",
        "wide, without MCF7",
        "wide, without PC3",
    ]
    assert [cell.recipes[0].model.width for cell in found] == [4, 4, 8, 8]


def test_repeats_differ_in_their_seed_alone(recipe: Tree) -> None:
    (cell,) = cells({**recipe, "seed": 5}, repeats=3)
    assert [r.seed for r in cell.recipes] == [5, 6, 7]
    assert len({r.model_copy(update={"seed": 0}).model_dump_json() for r in cell.recipes}) == 1
    assert [t.folder for t in cell.trainings] == ["all", "all-seed-6", "all-seed-7"]
    assert [t.name for t in cell.trainings] == ["all (seed 5)", "all (seed 6)", "all (seed 7)"]


def test_changes_name_keys_or_whole_sections() -> None:
    tree = {"model": {"name": "small_cnn", "width": 8}, "seed": 1}
    found = changed(tree, {"model.width": 4, "model": {"blocks": 2}, "seed": 3})
    assert found == {"model": {"name": "small_cnn", "width": 4, "blocks": 2}, "seed": 3}
    assert tree["model"] == {"name": "small_cnn", "width": 8}, "the recipe itself stays"


def test_a_study_file_finds_its_recipe_beside_it(recipe: Tree, tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(recipe))
    path = tmp_path / "studies" / "lines.yaml"
    path.write_text("recipe: ../base.yaml\nset: {training.epochs: 7, input.cache: off}\n")
    study = load_study(path)
    assert study.title == "lines"
    (cell,) = cells_of(study)
    assert cell.recipes[0].training.epochs == 7
    assert cell.recipes[0].input.cache == "off", "off is a word, as in a recipe"


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ({"leave_out": "cel_line"}, "no column 'cel_line'; did you mean cell_line?"),
        ({"leave_out": "cell_line", "values": ["U2OS"]}, "no example has cell_line U2OS"),
        ({"leav_out": "cell_line"}, "axes.0.leav_out: unknown key; did you mean leave_out?"),
        ({"leave_out": "cell_line", "folds": 3}, "this one has leave_out and folds"),
        ({"name": "nothing"}, "this one has none of them"),
        ({"folds": 3, "values": [1]}, "values belong to each or leave_out, not to folds"),
        ({"folds": 1}, "axes.0.folds"),
        ({"cells": {}}, "at least one cell"),
        ({"cells": {"a": {"model.widht": 4}}}, "cell a:\n  model.widht: unknown key"),
        ({"cells": {"a": {"split": 5}}}, "cell a:\n  split: "),
        ({"cells": {"a": {"split.hold_out": "experiment=N4"}}}, "cell a:\n  split.hold_out: "),
        ({"cells": {"a b": {}, "a/b": {}}}, "would have the same folder, a-b"),
    ],
)
def test_what_cannot_be_is_refused_in_words(recipe: Tree, axis: Tree, words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        cells(recipe, axis)
    assert words in str(refused.value)


def test_an_unknown_key_and_a_missing_recipe_are_refused() -> None:
    with pytest.raises(RecipeError, match="repeat: unknown key; did you mean repeats"):
        parse_study({"recipe": {}, "repeat": 3})
    with pytest.raises(RecipeError, match="recipe: missing; every study needs it"):
        parse_study({})


def test_two_axes_of_one_name_are_refused(recipe: Tree) -> None:
    with pytest.raises(RecipeError, match="two axes are called cell_line"):
        cells(recipe, {"each": "cell_line"}, {"each": "cell_line", "values": ["PC3"]})


def test_an_axis_of_one_value_is_refused(recipe: Tree, lines: Dataset) -> None:
    tree = {**recipe, "split": {"where": ["cell_line == PC3"]}}
    with pytest.raises(RecipeError, match="1 value where an axis needs two"):
        cells(tree, {"each": "cell_line"})

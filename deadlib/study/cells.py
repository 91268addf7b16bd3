"""The cells of a study: every combination of its axes, as recipes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe, nearest, parse_recipe
from deadlib.study.definition import Axis, Study
from tfrecords_tools import open_dataset
from tfrecords_tools.rules import parse_conditions
from tfrecords_tools.split import as_text

NO_AXES = "all"
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Cell:
    """One place in the table, and its trainings.

    places: what it is on each axis, by the axis' title; recipes: one for each repeat, alike but for
    the seed.
    """

    places: Mapping[str, str]
    recipes: tuple[Recipe, ...]

    @property
    def name(self) -> str:
        return ", ".join(self.places.values()) or NO_AXES

    @cached_property
    def trainings(self) -> list[Training]:
        return [Training(self, repeat, recipe) for repeat, recipe in enumerate(self.recipes)]


@dataclass(frozen=True)
class Training:
    """One run of a study."""

    cell: Cell
    repeat: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """As people are told of it."""
        seed = f" (seed {self.recipe.seed})" if len(self.cell.recipes) > 1 else ""
        return self.cell.name + seed

    @property
    def folder(self) -> str:
        """Its folder in OUT/cells; the first repeat stands under the name of the cell."""
        plain = folder_name(self.cell.name)
        return plain if self.repeat == 0 else f"{plain}-seed-{self.recipe.seed}"


@dataclass(frozen=True)
class _Step:
    """What one place on an axis means for the recipe.

    tests: what it holds out for the test, instead of what the recipe does; None for no change.
    apart: the column whose values it keeps apart.
    """

    label: str
    changes: Mapping[str, Any]
    where: str | None = None
    tests: tuple[str, ...] | None = None
    apart: str | None = None


def cells_of(study: Study, origin: str = "study") -> list[Cell]:
    """Every combination of the axes, the last axis changing fastest.

    What `cells` change comes first. `each` then adds its condition to split.where; `leave_out`
    and `folds` choose the test split, instead of what the recipe holds out for it. A column that is
    left out also divides the groups of split.by, which otherwise would stand on both sides.

    Raises RecipeError where a recipe is wrong, an axis names a column that the dataset has not, or
    two cells would have one name; DatasetError where the dataset cannot be opened.
    """
    if isinstance(study.recipe, str):
        raise RecipeError(f"{origin}: recipe: {study.recipe!r}; expected what load_study gives")
    base = changed(study.recipe, study.set)
    cells = []
    for steps in itertools.product(*_steps(study, base, origin)):
        tree: Mapping[str, Any] = base
        for step in steps:
            tree = changed(tree, step.changes)
        places = dict(
            zip((axis.title for axis in study.axes), (s.label for s in steps), strict=True)
        )
        name = ", ".join(places.values()) or NO_AXES
        told = f"{origin}, cell {name}"
        parse_recipe(tree, told)  # before its split is taken apart
        recipe = parse_recipe(_with_split(tree, steps), told)
        seeds = range(recipe.seed, recipe.seed + study.repeats)
        cells.append(
            Cell(places, tuple(recipe.model_copy(update={"seed": seed}) for seed in seeds))
        )
    _check_names(cells, origin)
    return cells


def changed(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's mapping with changes laid over it; `model.weights` names a key within a section.

    Sections are joined, anything else is replaced.
    """
    found = dict(tree)
    for key, value in changes.items():
        first, dot, rest = key.partition(".")
        inner = {rest: value} if dot else value
        if isinstance(inner, Mapping):
            before = found.get(first)
            found[first] = changed(before if isinstance(before, Mapping) else {}, inner)
        else:
            found[first] = inner
    return found


def folder_name(name: str) -> str:
    """A cell's name as the name of a folder."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")[:_LONGEST_NAME] or "cell"


def _steps(study: Study, base: Mapping[str, Any], origin: str) -> list[list[_Step]]:
    values = _Values(base, origin)
    return [_steps_of(axis, values) for axis in study.axes]


def _steps_of(axis: Axis, values: _Values) -> list[_Step]:
    if axis.cells is not None:
        return [_Step(name, changes) for name, changes in axis.cells.items()]
    if axis.folds is not None:
        return [
            _Step(f"fold {fold}", {"split.folds": axis.folds, "split.fold": fold}, tests=())
            for fold in range(axis.folds)
        ]
    found = values.of(axis)
    column = axis.column
    if axis.each is not None:
        return [_Step(_labelled(axis, v), {}, where=f"{column} == {v}") for v in found]
    return [
        _Step(f"without {_labelled(axis, v)}", {}, tests=(f"{column}={v}",), apart=column)
        for v in found
    ]


def _labelled(axis: Axis, value: str) -> str:
    """PC3, but `time_hours 1`: a bare number tells nothing in the name of a folder."""
    return f"{axis.column} {value}" if re.fullmatch(r"[\d.+-]+", value) else value


def _with_split(tree: Mapping[str, Any], steps: Sequence[_Step]) -> Mapping[str, Any]:
    split = dict(tree.get("split") or {})
    tests = [step.tests for step in steps if step.tests is not None]
    if tests:
        kept = [rule for rule in split.get("hold_out", []) if rule.startswith("validation:")]
        split["hold_out"] = [*kept, *itertools.chain.from_iterable(tests)]
    if split.get("by"):
        # groups that hold the value and others could be on neither side
        split["by"] = list(dict.fromkeys([*split["by"], *(s.apart for s in steps if s.apart)]))
    split["where"] = [*split.get("where", []), *(step.where for step in steps if step.where)]
    return {**tree, "split": split}


def _check_names(cells: Sequence[Cell], origin: str) -> None:
    met: dict[str, str] = {}
    for training in itertools.chain.from_iterable(cell.trainings for cell in cells):
        # folders that differ only in case are one folder on some disks
        folder = training.folder.lower()
        if folder in met:
            raise RecipeError(
                f"{origin}: the cells {met[folder]} and {training.name} would have the same "
                f"folder, {training.folder}; give them other names"
            )
        met[folder] = training.name


@dataclass(frozen=True)
class _Values:
    """The values that the columns of the study's dataset have, where the recipe looks."""

    tree: Mapping[str, Any]
    origin: str

    @cached_property
    def examples(self) -> pd.DataFrame:
        recipe = parse_recipe(self.tree, f"{self.origin}, recipe")
        manifest = open_dataset(recipe.dataset).manifest
        conditions = (self.tree.get("split") or {}).get("where", [])
        for condition in itertools.chain.from_iterable(
            parse_conditions(text, f"{self.origin}, split.where") for text in conditions
        ):
            if condition.column in manifest:
                texts = manifest[condition.column].map(as_text)
                meets = {t: condition.holds({condition.column: t}) for t in texts.unique()}
                manifest = manifest[texts.map(meets)]
        return manifest

    def of(self, axis: Axis) -> list[str]:
        """Those that the axis names, or all in order. Raises RecipeError for what is not there."""
        column = str(axis.column)
        columns = [str(name) for name in self.examples.columns]
        if column not in columns:
            raise RecipeError(
                f"{self.origin}: axis {axis.title}: the dataset has no column {column!r}; "
                f"{nearest(column, columns)}"
            )
        found = list(self._sorted(column))
        if axis.values is None:
            if len(found) < 2:
                raise RecipeError(
                    f"{self.origin}: axis {axis.title}: the column has {len(found)} value where an "
                    "axis needs two; leave the axis out"
                )
            return found
        asked = [str(as_text(value)) for value in axis.values]
        unknown = [value for value in asked if value not in found]
        if unknown:
            raise RecipeError(
                f"{self.origin}: axis {axis.title}: no example has {column} {', '.join(unknown)}; "
                f"there are {', '.join(found)}"
            )
        return asked

    def _sorted(self, column: str) -> Iterator[str]:
        for value in sorted(self.examples[column].dropna().unique()):
            text = as_text(value)
            if text is not None:
                yield text

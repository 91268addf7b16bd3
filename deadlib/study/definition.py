"""The study file: a recipe, and how its trainings differ from each other.

recipe: ../celldeath.yaml        # beside the study file, or the recipe itself
set: {training.epochs: 30}       # changed for all
axes:                            # one cell for each combination
  - leave_out: cell_line
  - cells:
      scratch: {model.weights: random}
      transfer: {model.weights: other/run/model.keras}
repeats: 5
calibrate: true
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from deadlib.recipe import Section, read_mapping, validated

KINDS = ("cells", "each", "leave_out", "folds")
Tree = Mapping[str, Any]


class Axis(Section):
    """One way in which cells differ: give exactly one of cells, each, leave_out, folds."""

    name: str | None = Field(None, description="the heading of its column in the table")
    cells: dict[str, dict[str, Any]] | None = Field(
        None,
        description="what each cell changes in the recipe, by the cell's name: "
        "{scratch: {model.weights: random}}",
    )
    each: str | None = Field(
        None,
        description="a column: one cell for each of its values, trained and tested on it",
    )
    leave_out: str | None = Field(
        None, description="a column: one cell for each of its values, tested on it, trained without"
    )
    folds: int | None = Field(
        None, ge=2, description="cross-validation: one cell for each fold, tested on it"
    )
    values: tuple[str | int | float, ...] | None = Field(
        None, description="each and leave_out: only these values, in this order; by default all"
    )

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Axis:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"an axis is one of {', '.join(KINDS)}; this one has "
                f"{' and '.join(given) or 'none of them'}"
            )
        if self.values is not None and self.column is None:
            raise ValueError(f"values belong to each or leave_out, not to {given[0]}")
        if self.cells == {} or self.values == ():
            raise ValueError("an axis needs at least one cell")
        return self

    @property
    def column(self) -> str | None:
        """The column of the dataset whose values make the cells."""
        return self.each or self.leave_out

    @property
    def title(self) -> str:
        """The heading of its column in the table."""
        if self.name is not None:
            return self.name
        if self.leave_out is not None:
            return f"{self.leave_out} left out"
        return self.each or ("fold" if self.folds else "cell")

    @property
    def tests_apart(self) -> bool:
        """Whether its cells are tested on examples that no other one is tested on."""
        return self.folds is not None or self.leave_out is not None


class Study(Section):
    """A family of trainings: one recipe, changed in each cell, with repeats."""

    recipe: str | dict[str, Any] = Field(
        description="the recipe that all cells share: a file, relative to the study file, or the "
        "recipe itself"
    )
    title: str | None = Field(None, description="the heading of the table")
    set: dict[str, Any] = Field(
        {}, description="what all cells change in the recipe, as in {training.epochs: 30}"
    )
    axes: tuple[Axis, ...] = Field(
        (), description="how the cells differ; one cell for each combination"
    )
    repeats: int = Field(
        1,
        ge=1,
        description="trainings of each cell, with the recipe's seed and those that follow it; the "
        "split stays the same",
    )
    calibrate: bool = Field(
        False, description="calibrate each run, as deadlib-calibrate does, before it predicts"
    )
    group_by: str | None = Field(
        None,
        description="the column whose values are independent of each other, for the intervals; by "
        "default the groups of the split",
    )

    @model_validator(mode="after")
    def _axes_have_names_of_their_own(self) -> Study:
        titles = [axis.title for axis in self.axes]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"two axes are called {', '.join(twice)}; give one of them a name")
        if sum(axis.folds is not None for axis in self.axes) > 1:
            raise ValueError("cross-validation needs one axis of folds, not two")
        return self


def load_study(path: str | Path) -> Study:
    """Read a study file; its recipe stands in the study as a mapping, not yet validated.

    Raises RecipeError, naming the file, the path of the key, what was found and what was expected.
    """
    path = Path(path)
    study = parse_study(read_mapping(path, "a study"), origin=str(path))
    title = study.title or path.stem
    if isinstance(study.recipe, str):
        base = read_mapping(path.parent / study.recipe, "a recipe")
        return study.model_copy(update={"recipe": base, "title": title})
    return study.model_copy(update={"title": title})


def parse_study(tree: Tree, origin: str = "study") -> Study:
    """Validate a study given as a mapping. Raises RecipeError."""
    return validated(Study, tree, origin)

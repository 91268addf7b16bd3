"""Batches of so many plates, classes and samples, in which every example comes at least once.

Examples of one class on one plate are a cell. Which plates and classes meet in which batch is
planned once, from the sizes of the cells; an epoch puts the batches of the plan in an order of its
own, and deals the examples of each cell anew. So all epochs have the same number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.errors import RecipeError
from deadlib.recipe import Recipe, SamplingSection, nearest
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.sources import natural_key
from tfrecords_tools.split import group_columns, group_names

Indices = NDArray[np.int64]

_PLAN = 2**31
"""No epoch has this number, so that the plan is drawn apart from the orders of training."""


@dataclass(frozen=True)
class Plan:
    """Which cells the batches of an epoch draw from. All batches have the same size."""

    cell: Indices
    """(N,), the cell of each example of the split."""
    batch: Indices
    """(D,), a batch for each draw; sorted by batch."""
    drawn_cell: Indices
    """(D,), the cell that it draws from."""
    count: Indices
    """(D,), examples that it draws."""

    @property
    def batches(self) -> int:
        return int(self.batch[-1]) + 1

    @property
    def examples(self) -> int:
        """In all batches, counted as often as they are drawn."""
        return int(self.count.sum())

    @property
    def batch_size(self) -> int:
        return self.examples // self.batches


@dataclass(frozen=True)
class PlatesAndClasses:
    """An `Order` of full batches, each of several plates and classes.

    Every example is drawn at least once. Those of a cell are drawn in a random order, and again in
    another one only when all have been; none comes twice in a batch unless its cell has fewer than
    the batch draws of it. The same seed and epoch, the same order.
    """

    seed: int
    epoch: int
    plan: Plan

    def places(self, rows: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng((self.seed, self.epoch))
        plan = self.plan
        turn = generator.permutation(plan.batches)[plan.batch]
        by_turn = np.argsort(turn, kind="stable")
        drawn_cell, counts = plan.drawn_cell[by_turn], plan.count[by_turn]
        first = np.cumsum(counts) - counts
        places = np.empty(plan.examples, np.int64)
        cells = int(plan.cell.max()) + 1
        for members, draws in zip(
            _numbers_of_each(plan.cell, cells), _numbers_of_each(drawn_cell, cells), strict=True
        ):
            taken = counts[draws]
            start = first[draws] - (np.cumsum(taken) - taken)
            dealt = _dealt(members, taken, generator)
            places[np.repeat(start, taken) + np.arange(len(dealt))] = dealt
        batches = places.reshape(plan.batches, plan.batch_size)
        return generator.permuted(batches, axis=1).ravel()


def plan_for(
    section: SamplingSection, plate_index: Indices, class_index: Indices, *, seed: int
) -> Plan:
    """The plan of a recipe for examples of the given plates and classes, (N,) int each.

    A batch takes section.plates plates and section.classes classes (all, where it does not say),
    and of each plate classes x samples examples, alike from each of these classes. Where a plate
    lacks some of them, the others share its part, the larger cells taking what cannot be divided.

    Every batch takes the plates and classes with most left to be drawn, by chance where these are
    equal, until all have been drawn often enough; this is as few batches as can be where a batch
    has all classes. Raises RecipeError for more plates or classes than there are.
    """
    plates, plate = np.unique(plate_index, return_inverse=True)
    classes, kind = np.unique(class_index, return_inverse=True)
    taken = section.classes or len(classes)
    _check("plates", section.plates, len(plates))
    _check("classes", taken, len(classes))
    sizes = np.zeros((len(plates), len(classes)), np.int64)
    np.add.at(sizes, (plate, kind), 1)
    left, quota = sizes.copy(), taken * section.samples
    generator = np.random.default_rng((seed, _PLAN))
    drawn = []
    for batch in count():
        if not left.any():
            break
        together = _most(generator, taken, left.max(axis=0), left.sum(axis=0))
        counts = _counts(sizes, together, quota)
        visits = -(-left // np.maximum(counts, 1)) * (counts > 0)
        common = (sizes[:, together] > 0).sum(axis=1)
        for place in _most(generator, section.plates, visits.max(axis=1), common):
            found = np.flatnonzero(counts[place])
            cells = place * len(classes) + found
            drawn.append(np.stack([np.full_like(found, batch), cells, counts[place, found]]))
            left[place] = np.maximum(left[place] - counts[place], 0)
    return Plan(plate * len(classes) + kind, *np.concatenate(drawn, axis=1))


def plan_of(recipe: Recipe, dataset: Dataset, rows: Indices) -> Plan | None:
    """The plan of a recipe for the given training rows of the manifest; None for random batches.

    Raises RecipeError for a column of sampling.by that there is not, an example without a plate,
    and more plates or classes than there are.
    """
    section = recipe.sampling
    if section.name == "random":
        return None
    plates = plate_index(dataset, section.by, rows)[rows]
    labels = dataset.manifest["label"].to_numpy()[rows]
    classes = pd.Categorical(labels, dataset.classes).codes.astype(np.int64)
    return plan_for(section, plates, classes, seed=recipe.seed)


def plate_index(dataset: Dataset, by: Sequence[str], rows: Indices) -> Indices:
    """The plate of every row of the manifest, (all rows,), numbered as their names are ordered.

    `by` are the columns of sampling.by; plates of one name in two experiments are two. Raises
    RecipeError for a column that there is not, and where one of `rows` has no value.
    """
    manifest = dataset.manifest
    for column in by:
        if column not in manifest:
            raise RecipeError(
                f"sampling.by: {dataset.folder} has no column {column!r}; "
                f"{nearest(column, [str(name) for name in manifest.columns])}"
            )
        without = int(manifest[column].isna().to_numpy()[rows].sum())
        if without:
            raise RecipeError(
                f"sampling.by: {without} of {len(rows)} training examples of {dataset.folder} have "
                f"no {column}; convert again with a table that names it for all, or set another "
                "column"
            )
    names = group_names(manifest, group_columns(tuple(by), list(manifest.columns)))
    number = {name: place for place, name in enumerate(sorted(set(names), key=natural_key))}
    return names.map(number).to_numpy(np.int64)


def _check(what: str, asked: int, found: int) -> None:
    if asked > found:
        raise RecipeError(
            f"sampling.{what}: {asked} for each batch, but the training split has {found}; set "
            f"sampling.{what}: {found} or fewer"
        )


def _most(generator: np.random.Generator, number: int, first: Indices, second: Indices) -> Indices:
    """The places of the largest values, by `second` where `first` is equal, then by chance."""
    chance = generator.random(len(first))
    return np.lexsort((chance, -second, -first))[:number]


def _counts(sizes: Indices, together: Indices, quota: int) -> Indices:
    """How many examples a batch of the classes `together` takes of each cell, (plates, classes).

    A plate that has none of these classes gives of all that it has.
    """
    is_asked = np.zeros(sizes.shape[1], bool)
    is_asked[together] = True
    there = sizes > 0
    asked = there & is_asked
    asked = np.where(asked.any(axis=1, keepdims=True), asked, there)
    width = asked.sum(axis=1, keepdims=True)
    by_size = np.argsort(np.argsort(np.where(asked, -sizes, 1), axis=1, kind="stable"), axis=1)
    return np.where(asked, quota // width + (by_size < quota % width), 0)


def _numbers_of_each(values: Indices, kinds: int) -> list[Indices]:
    """Where each of the values 0..kinds-1 stands, in order."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.cumsum(np.bincount(values, minlength=kinds))[:-1])


def _dealt(members: Indices, counts: Indices, generator: np.random.Generator) -> Indices:
    """Examples of a cell for draws of so many each: random orders of all of them, in a row."""
    total, size = int(counts.sum()), len(members)
    if total == 0:
        return members[:0]
    rounds = -(-total // size)
    dealt = generator.permuted(np.tile(members, (rounds, 1)), axis=1).ravel()
    start = np.cumsum(counts) - counts
    for end in range(size, total, size):
        # Those that a draw has already had go last in the order that it ends with.
        first = max(int(start[np.searchsorted(start, end, side="right") - 1]), end - size)
        following = dealt[end : end + size]
        had = np.isin(following, dealt[first:end])
        dealt[end : end + size] = np.concatenate([following[~had], following[had]])
    return dealt[:total]

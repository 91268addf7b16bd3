"""Do the maps of two windows agree about the pixels that both show?

A place of a frame speaks for a class, or it does not, wherever the window is that shows it. The
weights of Grad-CAM depend on the whole window, so that overlapping windows may disagree; class
weights are the paper's remedy. Both are measured here, on the same windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from deadlib.inputs import RunInput
from deadlib.interpretation.examples import as_seen, verify_shards
from deadlib.interpretation.heat import enlarge, seen_window
from deadlib.interpretation.question import Question

PAIRS = 64
PAIRS_PER_SOURCE = 4
SMALLEST_OVERLAP = 0.25
BATCH = 16
ALIKE = 1e-4


@dataclass(frozen=True)
class Pairs:
    """P pairs of windows that overlap, as the network sees them."""

    first: np.ndarray
    """(P, H, W, C) float32, preprocessed."""
    second: np.ndarray
    shift_px: np.ndarray
    """(P, 2) int: how many rows and columns the second lies below and right of the first, in
    pixels of the source."""
    window_px: tuple[int, int]
    """Rows and columns of a window in the source."""


@dataclass(frozen=True)
class Agreement:
    """How well maps agree on shared pixels; means over pairs."""

    correlation: float
    """Pearson's, of the two maps at the shared pixels; 0 where one is flat there. 1: the same."""
    difference: float
    """Mean absolute difference over the mean heat. 0: the same; 2: nowhere heat in both."""


@dataclass(frozen=True)
class Consistency:
    """The agreement of the same pairs by the images' own weights and by class weights."""

    pairs: int
    """Those with heat on the shared pixels of at least one map, by either weights."""
    own: Agreement
    by_class: Agreement

    def sentence(self) -> str:
        return (
            f"overlapping crops agree: {self.own.correlation:.2f} with their own weights, "
            f"{self.by_class.correlation:.2f} with class weights (correlation of the heat on "
            f"shared pixels; {self.pairs} pairs)"
        )

    @property
    def alike(self) -> bool:
        """Whether the weights do not depend on the image."""
        return abs(self.own.difference - self.by_class.difference) < ALIKE

    def to_json(self) -> dict[str, Any]:
        return {"sentence": self.sentence(), **asdict(self)}


def consistency(question: Question, pairs: Pairs) -> Consistency | None:
    """Measure pairs with class weights, which `question` has, and without.

    Each pair is asked about the class that the network predicts for its first window. Pairs
    without heat by one of the two do not count. None where none is left.
    """
    found: list[tuple[Agreement, Agreement]] = []
    for start in range(0, len(pairs.first), BATCH):
        part = slice(start, start + BATCH)
        first, second = pairs.first[part], pairs.second[part]
        predicted = np.asarray(question.network.predict_on_batch(first)).argmax(axis=1).tolist()
        ways = [
            [
                agreement(
                    *shared(
                        enlarge(one, pairs.window_px),
                        enlarge(other, pairs.window_px),
                        (int(shift[0]), int(shift[1])),
                    )
                )
                for one, other, shift in zip(
                    asked.heat(first, predicted),
                    asked.heat(second, predicted),
                    pairs.shift_px[part],
                    strict=True,
                )
            ]
            for asked in (question.with_own_weights(), question)
        ]
        # A pair that is cold one way would make the two ways means of different pairs.
        found += [(own, by) for own, by in zip(*ways, strict=True) if own and by]
    if not found:
        return None
    own, by_class = zip(*found, strict=True)
    return Consistency(len(found), _mean(own), _mean(by_class))


def shared(
    first: np.ndarray, second: np.ndarray, shift_px: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The part of two maps (H, W) that shows the same pixels; the second lies `shift_px` further
    down and right."""
    down, right = shift_px
    rows, columns = first.shape
    return (
        first[max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)],
        second[max(-down, 0) : rows - max(down, 0), max(-right, 0) : columns - max(right, 0)],
    )


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement | None:
    """How well two maps of the same pixels agree; None where neither has heat."""
    one, other = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    heat = (one.mean() + other.mean()) / 2
    if heat == 0:
        return None
    flat = one.std() == 0 or other.std() == 0
    return Agreement(
        correlation=0.0 if flat else float(np.corrcoef(one, other)[0, 1]),
        difference=float(np.abs(one - other).mean() / heat),
    )


def overlapping_crops(given: RunInput, examples: pd.DataFrame, seed: int) -> Pairs | None:
    """At most `PAIRS` pairs of crops of one image that share a quarter of what is seen of them.

    None where no two do.
    """
    chosen = list(_spread_pairs(given, examples, seed))
    if not chosen:
        return None
    rows = np.array(chosen)
    verify_shards(given, examples.loc[np.unique(rows)])
    corner = examples[["top_px", "left_px"]]
    seen = [
        np.concatenate(
            [
                as_seen(given, [given.image(int(row)) for row in part], part)
                for part in np.array_split(side, -(-len(side) // BATCH))
            ]
        )
        for side in rows.T
    ]
    return Pairs(
        first=seen[0],
        second=seen[1],
        shift_px=corner.loc[rows[:, 1]].to_numpy() - corner.loc[rows[:, 0]].to_numpy(),
        window_px=_seen_size(given, examples),
    )


def _spread_pairs(given: RunInput, examples: pd.DataFrame, seed: int) -> Iterator[tuple[int, int]]:
    """Row numbers of pairs, a few of each source image, sources in random order."""
    if len(examples[["height_px", "width_px"]].drop_duplicates()) > 1:
        return
    generator = np.random.default_rng(seed)
    height, width = _seen_size(given, examples)
    groups = [part for _, part in examples.groupby("source_id", sort=True) if len(part) > 1]
    found = 0
    for place in generator.permutation(len(groups)):
        group = groups[place]
        corners = group[["top_px", "left_px"]].to_numpy()
        overlapping = [
            (int(group.index[i]), int(group.index[j]))
            for i, j in combinations(range(len(group)), 2)
            if SMALLEST_OVERLAP * height * width
            <= max(0, height - abs(int(corners[i, 0] - corners[j, 0])))
            * max(0, width - abs(int(corners[i, 1] - corners[j, 1])))
            < height * width
        ]
        for choice in generator.permutation(len(overlapping))[:PAIRS_PER_SOURCE]:
            yield overlapping[choice]
            found += 1
            if found == PAIRS:
                return


def _seen_size(given: RunInput, examples: pd.DataFrame) -> tuple[int, int]:
    first = examples.iloc[0]
    stored = (int(first["height_px"]), int(first["width_px"]))
    _, _, rows, columns = seen_window(stored, given.run.recipe.input)
    return (rows, columns)


def _mean(found: Sequence[Agreement]) -> Agreement:
    return Agreement(
        correlation=float(np.mean([each.correlation for each in found])),
        difference=float(np.mean([each.difference for each in found])),
    )

"""The batch effect, measured: what the vectors of wells tell of plate, and of class elsewhere.

Each question has three answers: of a linear probe, of the nearest wells, of the silhouette. Probe
and neighbours are taught on some wells and asked about others; the rows of a well are one vector,
so no well is on both sides. What chance alone would give is found by asking the same of permuted
targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Nested, Resampling, estimates
from deadlib.embeddings.neighbours import votes
from deadlib.embeddings.probe import linear_calls
from deadlib.embeddings.wells import Indices, Single, Wells
from deadlib.metrics import balanced_accuracy
from deadlib.retrieval import nearest_neighbours

FOLDS = 5
NEIGHBOURS = 10
FEWEST = 5
"""A plate or a class with fewer wells is not asked about."""
ANSWERS = ("probe", "neighbours", "silhouette")
PERMUTED_AT_ONCE = 64

Names = NDArray[np.object_]
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Question:
    """Which of several names each well has, to be told by its vector.

    wells (M,): rows of the table of wells; target (M,) in 0..K-1; strata (M,): targets are permuted
    within them; fold (M,): in which fold each is tested, taught by all others; -1 where it only
    teaches.
    """

    key: str
    title: str
    names: tuple[str, ...]
    wells: Indices
    target: Indices
    strata: Indices
    fold: Indices


@dataclass(frozen=True)
class Measured:
    """A figure, what chance gives it, and how often chance gives as much or more.

    called (M,) in 0..K-1, -1 where not tested; None of a silhouette.
    """

    estimate: Estimate
    chance: float
    p: float
    called: Indices | None = None

    def to_json(self) -> dict[str, Any]:
        return {**self.estimate.to_json(), "chance": self.chance, "p": self.p}


@dataclass(frozen=True)
class Answer:
    """A question with its answers by name: the balanced accuracy of probe and neighbours, and the
    mean silhouette."""

    question: Question
    measured: dict[str, Measured]

    def to_json(self) -> dict[str, Any]:
        sizes = np.bincount(self.question.target, minlength=len(self.question.names))
        tested = int((self.question.fold >= 0).sum())
        return {
            "title": self.question.title,
            "wells": dict(zip(self.question.names, sizes.tolist(), strict=True)),
            "tested": tested,
            **{name: found.to_json() for name, found in self.measured.items()},
        }


def questions(wells: Wells, seed: int) -> list[Question]:
    """What can be asked of these wells; a question that nothing answers is left out.

    plate: among all wells, among controls, and among those of each class (once, where a class is
    the controls), which a layout that differs from plate to plate cannot explain. class: taught on
    wells of all plates; on all plates but the one that is asked about; by the wells that taught
    the network. Of these wells the network knew the class, so class is asked about others and new
    plates, where there are any of every class (`was_taught` tells).
    """
    everything = np.ones(len(wells), bool)
    found = [_plate(wells, "plate", "plate, all wells", everything, seed)]
    found.append(_plate(wells, "plate_controls", "plate, controls", wells.control, seed))
    for name in sorted({label for label in wells.label if label is not None}):
        chosen = wells.label == name
        if (chosen == wells.control).all():
            continue
        found.append(_plate(wells, f"plate_{name}", f"plate, {name}", chosen, seed))
    found += [_class_seen(wells, seed), _class_new(wells), _class_split(wells)]
    return [question for question in found if question is not None]


def was_taught(wells: Wells, question: Question) -> bool:
    """Whether wells are asked about that taught the network, which makes a class look too clear."""
    return bool(wells.taught[question.wells[question.fold >= 0]].any())


def answer(
    wells: Wells,
    question: Question,
    *,
    permutations: int,
    resampling: Resampling,
    tick: Tick = lambda _: None,
) -> Answer:
    """Ask probe, neighbours and silhouette; tick is told of each answer."""
    vectors, target = wells.means[question.wells], question.target
    targets = np.concatenate(
        [target[None], permuted(target, question.strata, permutations, resampling.seed)]
    )
    classes = len(question.names)
    groups = np.unique(wells.place[question.wells], return_inverse=True)[1]
    measured = {}
    for name, calls in (("probe", _probe_calls), ("neighbours", _neighbour_calls)):
        called = calls(vectors, targets, question.fold, classes)
        measured[name] = _of_calls(called, targets, question.fold, groups, classes, resampling)
        tick(1)
    scores = silhouettes(vectors, targets, classes)
    measured["silhouette"] = _of_silhouettes(scores, groups, resampling)
    tick(1)
    return Answer(question, measured)


def permuted(target: Indices, strata: Indices, times: int, seed: int) -> Indices:
    """The target (M,) shuffled within each stratum, (times, M)."""
    rng = np.random.default_rng(seed)
    found = np.tile(target, (times, 1))
    for stratum in np.unique(strata):
        where = np.flatnonzero(strata == stratum)
        found[:, where] = rng.permuted(found[:, where], axis=1)
    return found


def silhouettes(vectors: Single, targets: Indices, classes: int) -> NDArray[np.float64]:
    """The silhouette of each vector (Rousseeuw 1987) by cosine distance, (B, M), of B targets.

    The mean cosine distance to a class is 1 less the cosine with the sum of its vectors over their
    number, so no table of distances is needed. 0 where a class has one vector.
    """
    found = np.empty(targets.shape)
    for start in range(0, len(targets), PERMUTED_AT_ONCE):
        block = targets[start : start + PERMUTED_AT_ONCE]
        members = (block[:, None, :] == np.arange(classes)[:, None]).astype(np.float32)
        sizes = members.sum(axis=2)
        sums = members.reshape(-1, len(vectors)) @ vectors
        cosines = (vectors @ sums.T).T.reshape(*sizes.shape, len(vectors)).astype(np.float64)
        own = block[:, None, :]
        self_cosine = np.einsum("md,md->m", vectors, vectors)
        size = np.take_along_axis(sizes, block, axis=1)
        inside = size - 1 - (np.take_along_axis(cosines, own, axis=1)[:, 0] - self_cosine)
        a = inside / np.maximum(size - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.where(sizes[:, :, None] > 0, 1 - cosines / sizes[:, :, None], np.inf)
        np.put_along_axis(apart, own, np.inf, axis=1)
        b = apart.min(axis=1)
        larger = np.maximum(np.maximum(a, b), 1e-12)
        found[start : start + len(block)] = np.where(
            (size > 1) & np.isfinite(b), (b - a) / larger, 0
        )
    return found


def difference(
    one: Answer,
    other: Answer,
    name: str,
    wells: tuple[Wells, Wells],
    resampling: Resampling,
) -> Estimate | None:
    """How much higher the figure of `one` is on the wells that both were asked about.

    Wells are drawn for both at once. None where the two have no such wells, or other targets.
    """
    tables = []
    for each, of in zip((one, other), wells, strict=True):
        called, question = each.measured[name].called, each.question
        if called is None:
            return None
        tested = question.fold >= 0
        names = of.name[question.wells][tested]
        target = np.array(question.names, object)[question.target[tested]]
        answers = np.array(question.names, object)[called[tested]]
        tables.append(dict(zip(zip(names, target, strict=True), answers, strict=True)))
    shared = [key for key in tables[0] if key in tables[1]]
    if len(shared) < 2 * FEWEST:
        return None
    known, target = np.unique([key[1] for key in shared], return_inverse=True)
    right = np.array([[table[key] == key[1] for key in shared] for table in tables], float)
    places = np.unique([key[0] for key in shared], return_inverse=True)[1]
    of_class = (target == np.arange(len(known))[:, None]).astype(float)

    def gap(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = weights @ (of_class * (right[0] - right[1])).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.mean(sums / (weights @ of_class.T), axis=1, keepdims=True)

    return estimates(gap, places, np.array([0]), resampling)[0]


def _plate(
    wells: Wells, key: str, title: str, chosen: NDArray[np.bool_], seed: int
) -> Question | None:
    known = chosen & (wells.batch != None)  # noqa: E711
    kept = known & np.isin(wells.batch, _frequent(wells.batch[known]))
    names, target = _indexed(wells.batch[kept])
    if len(names) < 2:
        return None
    where = np.flatnonzero(kept)
    strata = _codes(wells.label[where])
    fold = folds(wells.place[where], strata * len(names) + target, seed)
    return Question(key, title, names, where, target, strata, fold)


def _class_seen(wells: Wells, seed: int) -> Question | None:
    kept = _labelled(wells)
    names, target = _indexed(wells.label[kept])
    if len(names) < 2:
        return None
    where = np.flatnonzero(kept)
    strata = _codes(wells.batch[where])
    fold = folds(wells.place[where], strata * len(names) + target, seed)
    fold = _asked_of(~wells.taught[where], target, fold)
    return Question("class_seen", "class, plates known", names, where, target, strata, fold)


def _class_new(wells: Wells) -> Question | None:
    """Each plate asked about by what all the others taught."""
    kept = _labelled(wells) & (wells.batch != None)  # noqa: E711
    for label in {label for label in wells.label[kept]}:
        of = kept & (wells.label == label)
        if len(set(wells.batch[of])) < 2:
            kept &= ~of
    names, target = _indexed(wells.label[kept])
    where = np.flatnonzero(kept)
    plates, fold = _indexed(wells.batch[where])
    if len(names) < 2 or len(plates) < 2:
        return None
    taught = set(wells.batch[where][wells.taught[where]])
    unseen = np.array([plate not in taught for plate in wells.batch[where]])
    asked = _asked_of(unseen, target, fold)
    return Question("class_new", "class, new plate", names, where, target, fold, asked)


def _asked_of(chosen: NDArray[np.bool_], target: Indices, fold: Indices) -> Indices:
    """The folds (M,) with all but the chosen wells only teaching; as they are where the chosen lack
    a target."""
    if set(target[chosen]) != set(target):
        return fold
    return np.where(chosen, fold, -1)


def _class_split(wells: Wells) -> Question | None:
    """The wells of other splits asked about by what the training wells teach."""
    kept = _labelled(wells)
    taught = wells.taught
    for label in {label for label in wells.label[kept]}:
        of = kept & (wells.label == label)
        if not ((of & taught).any() and (of & ~taught).any()):
            kept &= ~of
    names, target = _indexed(wells.label[kept])
    if len(names) < 2:
        return None
    where = np.flatnonzero(kept)
    strata = _codes(wells.batch[where]) * 2 + taught[where]
    fold = np.where(taught[where], -1, 0)
    title = "class, taught by training wells"
    return Question("class_split", title, names, where, target, strata, fold)


def folds(place: Indices, strata: Indices, seed: int, count: int = FOLDS) -> Indices:
    """A fold for each well (M,), each stratum spread evenly, a place in one fold alone."""
    rng = np.random.default_rng(seed)
    places, first = np.unique(place, return_index=True)
    order = rng.permutation(len(places))
    order = order[np.argsort(strata[first][order], kind="stable")]
    of_place = np.empty(len(places), np.intp)
    of_place[order] = np.arange(len(places)) % count
    return of_place[np.searchsorted(places, place)]


def _labelled(wells: Wells) -> NDArray[np.bool_]:
    known = wells.label != None  # noqa: E711
    return known & np.isin(wells.label, _frequent(wells.label[known]))


def _frequent(names: Names) -> list[str]:
    found, counts = np.unique(names.astype(str), return_counts=True)
    return [str(name) for name in found[counts >= FEWEST]]


def _indexed(names: Names) -> tuple[tuple[str, ...], Indices]:
    found, index = np.unique(names.astype(str), return_inverse=True)
    return tuple(str(name) for name in found), index.astype(np.intp)


def _codes(names: Names) -> Indices:
    """A number for each name, unknown ones among them."""
    return np.unique(["" if name is None else f"={name}" for name in names], return_inverse=True)[
        1
    ].astype(np.intp)


def _probe_calls(vectors: Single, targets: Indices, fold: Indices, classes: int) -> Indices:
    def call(taught: Indices, tested: Indices) -> Indices:
        return linear_calls(vectors[taught], vectors[tested], targets[:, taught], classes)

    return _by_fold(call, fold, targets.shape)


def _neighbour_calls(vectors: Single, targets: Indices, fold: Indices, classes: int) -> Indices:
    def call(taught: Indices, tested: Indices) -> Indices:
        count = min(NEIGHBOURS, len(taught))
        near = nearest_neighbours(vectors[tested], vectors[taught], count).place
        return np.stack([votes(one[taught][near], classes).argmax(axis=1) for one in targets])

    return _by_fold(call, fold, targets.shape)


def _by_fold(
    call: Callable[[Indices, Indices], Indices], fold: Indices, shape: tuple[int, ...]
) -> Indices:
    called = np.full(shape, -1, np.intp)
    for one in np.unique(fold[fold >= 0]):
        tested = np.flatnonzero(fold == one)
        called[:, tested] = call(np.flatnonzero(fold != one), tested)
    return called


def _of_calls(
    called: Indices,
    targets: Indices,
    fold: Indices,
    groups: Indices,
    classes: int,
    resampling: Resampling,
) -> Measured:
    tested = fold >= 0
    right = called[:, tested] == targets[:, tested]
    by_class = [
        np.where(
            (one := targets[:, tested] == c).any(axis=1),
            (right & one).sum(axis=1) / np.maximum(one.sum(axis=1), 1),
            np.nan,
        )
        for c in range(classes)
    ]
    values = np.nanmean(by_class, axis=0)
    certain = np.eye(classes)[called[0, tested]]
    statistic = balanced_accuracy(targets[0, tested], certain)
    index = np.unique(groups[tested], return_inverse=True)[1]
    behind = np.array([index.max() + 1])
    found = estimates(statistic, Nested(index.astype(np.intp)), behind, resampling)[0]
    return Measured(found, *_against_chance(values), called[0])


def _of_silhouettes(
    scores: NDArray[np.float64], groups: Indices, resampling: Resampling
) -> Measured:
    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return (weights @ scores[0] / weights.sum(axis=1))[:, None]

    found = estimates(mean, groups.astype(np.intp), np.array([0]), resampling)[0]
    return Measured(found, *_against_chance(scores.mean(axis=1)))


def _against_chance(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of the permuted figures, and the share of all that is at least the first."""
    return float(values[1:].mean()), float(np.mean(values >= values[0] - 1e-12))

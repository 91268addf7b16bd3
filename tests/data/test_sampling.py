"""What comes into a batch together, and that nothing is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.data.sampling import PlatesAndClasses, plan_for
from deadlib.errors import RecipeError
from deadlib.recipe import SamplingSection


def section(**values: Any) -> SamplingSection:
    return SamplingSection(name="plates_and_classes", **values)


@st.composite
def ragged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, SamplingSection]:
    """Plates of all sizes, some of which lack a class, mixed; and what to take of them."""
    sizes = draw(
        st.lists(
            st.lists(st.integers(0, 23), min_size=3, max_size=3).filter(any),
            min_size=1,
            max_size=5,
        )
    )
    cells = [
        (5 * plate, 2 * kind)
        for plate, row in enumerate(sizes)
        for kind, size in enumerate(row)
        for _ in range(size)
    ]
    plate, kind = np.random.default_rng(len(cells)).permutation(cells).T
    taken = section(
        plates=draw(st.integers(1, len(sizes))),
        samples=draw(st.integers(1, 6)),
        classes=draw(st.none() | st.integers(1, len(set(kind)))),
    )
    return plate, kind, taken


def epoch(
    plate: np.ndarray, kind: np.ndarray, taken: SamplingSection, *, seed: int = 0, number: int = 0
) -> np.ndarray:
    """The places of an epoch, a row for each batch."""
    plan = plan_for(taken, plate, kind, seed=seed)
    places = PlatesAndClasses(seed, number, plan).places(np.arange(len(plate)))
    assert len(places) == plan.batches * plan.batch_size
    return places.reshape(plan.batches, plan.batch_size)


@given(ragged(), st.integers(0, 3))
def test_an_epoch_draws_every_example_in_full_batches_of_distinct_plates(
    given_: tuple[np.ndarray, np.ndarray, SamplingSection], number: int
) -> None:
    plate, kind, taken = given_
    batches = epoch(plate, kind, taken, number=number)
    np.testing.assert_array_equal(np.unique(batches), np.arange(len(plate)))
    classes = taken.classes or len(np.unique(kind))
    for batch in batches:
        _, of_plate = np.unique(plate[batch], return_counts=True)
        np.testing.assert_array_equal(of_plate, [classes * taken.samples] * taken.plates)


@given(ragged())
def test_a_plate_gives_each_class_alike_as_far_as_it_has_them(
    given_: tuple[np.ndarray, np.ndarray, SamplingSection],
) -> None:
    plate, kind, taken = given_
    if taken.classes is not None:
        taken = taken.model_copy(update={"classes": None})
    quota = len(np.unique(kind)) * taken.samples
    for batch in epoch(plate, kind, taken):
        for found in np.unique(plate[batch]):
            there = np.unique(kind[plate == found])
            counts = [int(((plate == found) & (kind == one))[batch].sum()) for one in there]
            assert sum(counts) == quota
            assert max(counts) - min(counts) <= 1
            if quota % len(there) == 0:
                assert set(counts) == {quota // len(there)}


@given(ragged())
def test_no_example_comes_again_before_all_of_its_cell_have_been(
    given_: tuple[np.ndarray, np.ndarray, SamplingSection],
) -> None:
    plate, kind, taken = given_
    batches = epoch(plate, kind, taken)
    for cell in {(p, k) for p, k in zip(plate, kind, strict=True)}:
        members = np.flatnonzero((plate == cell[0]) & (kind == cell[1]))
        times = np.array([(batches == one).sum() for one in members])
        assert times.max() - times.min() <= 1
        for batch in batches:
            drawn = batch[np.isin(batch, members)]
            if len(drawn) <= len(members):
                assert len(np.unique(drawn)) == len(drawn)
        # A draw may end one round and begin the next.
        seen = np.cumsum([[(batch == one).sum() for one in members] for batch in batches], axis=0)
        spread = seen.max(axis=1) - seen.min(axis=1)
        assert spread.max() <= 2


@given(ragged())
def test_with_all_classes_there_are_as_few_batches_as_can_be(
    given_: tuple[np.ndarray, np.ndarray, SamplingSection],
) -> None:
    plate, kind, taken = given_
    taken = taken.model_copy(update={"classes": None})
    classes = len(np.unique(kind))
    visits = []
    for found in np.unique(plate):
        sizes = np.sort(np.unique(kind[plate == found], return_counts=True)[1])[::-1]
        share, rest = divmod(classes * taken.samples, len(sizes))
        counts = share + (np.arange(len(sizes)) < rest)
        visits.append(max(-(-size // one) for size, one in zip(sizes, counts, strict=True) if one))
    fewest = max(max(visits), -(-sum(visits) // taken.plates))
    assert len(epoch(plate, kind, taken)) == fewest


def even(plates: int, classes: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    plate, kind = np.divmod(np.arange(plates * classes).repeat(each), classes)
    return plate, kind


def test_the_paper_s_batches_are_2_plates_of_3_classes_of_5_samples() -> None:
    plate, kind = even(plates=7, classes=3, each=20)
    batches = epoch(plate, kind, section(plates=2, samples=5))
    assert batches.shape == (14, 30)
    for batch in batches:
        cells, counts = np.unique(3 * plate[batch] + kind[batch], return_counts=True)
        assert len(cells) == 6
        np.testing.assert_array_equal(counts, 5)
    # Even cells: every example exactly once.
    assert len(np.unique(batches)) == batches.size
    pairs = {tuple(np.unique(plate[batch])) for batch in batches}
    assert len(pairs) > 7


def test_with_fewer_classes_than_there_are_all_plates_of_a_batch_bring_the_same_ones() -> None:
    plate, kind = even(plates=3, classes=6, each=8)
    batches = epoch(plate, kind, section(plates=2, classes=2, samples=4))
    assert batches.shape[1] == 16
    assert 9 <= len(batches) <= 12, "9 are needed where nothing comes twice"
    for batch in batches:
        assert len(np.unique(kind[batch])) == 2
        assert len(np.unique(6 * plate[batch] + kind[batch])) == 4
    assert len(np.unique(batches)) == len(plate)


def test_the_order_follows_from_seed_and_epoch_and_is_mixed() -> None:
    plate, kind = even(plates=4, classes=3, each=17)
    taken = section(plates=2, samples=3)
    found = epoch(plate, kind, taken, seed=1, number=2)
    np.testing.assert_array_equal(found, epoch(plate, kind, taken, seed=1, number=2))
    for other in (
        epoch(plate, kind, taken, seed=2, number=2),
        epoch(plate, kind, taken, seed=1, number=3),
    ):
        assert other.shape == found.shape
        assert (other != found).mean() > 0.9
    # Nor do the same examples of a cell come together again.
    cell = 3 * plate + kind
    other = epoch(plate, kind, taken, seed=1, number=3)
    met, again = (
        {frozenset(batch[cell[batch] == one]) for batch in batches for one in set(cell[batch])}
        for batches in (found, other)
    )
    assert len(met & again) < 0.1 * len(met)
    # Plates are not in a row within a batch, so that each device gets some of all.
    assert all(len(np.unique(plate[batch][:9])) == 2 for batch in found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"plates": 3}, "sampling.plates: 3 for each batch, but the training split has 2"),
        ({"classes": 5}, "sampling.classes: 5 for each batch, but the training split has 3"),
    ],
)
def test_more_than_there_is_is_refused(asked: dict[str, int], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_for(section(**asked), *even(plates=2, classes=3, each=4), seed=0)

"""Which examples a validation looks at."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.data.order import Chosen, even_batch


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    examples=st.integers(1, 100),
    seed=st.integers(0, 100),
)
def test_a_choice_has_the_classes_in_the_shares_of_the_split(
    counts: list[int], examples: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = Chosen(seed, labels, examples)
    places = order.places(np.arange(len(labels)))
    assert len(places) == len(set(places.tolist())) == min(examples, len(labels))
    np.testing.assert_array_equal(places, order.places(np.arange(len(labels))))
    found = np.bincount(labels[places], minlength=len(counts))
    share = np.array(counts) * len(places) / len(labels)
    assert np.abs(found - share).max() <= len(counts)
    if examples >= len(counts):
        assert found.min() >= 1


def test_the_choice_is_mixed_and_follows_from_the_seed() -> None:
    labels = np.repeat([0, 1], 500)
    found = {seed: Chosen(seed, labels, 100).places(labels) for seed in (0, 1)}
    assert set(found[0].tolist()) != set(found[1].tolist())
    batches = labels[found[0]].reshape(5, 20)
    assert (batches.mean(axis=1) > 0.15).all()
    assert (batches.mean(axis=1) < 0.85).all()


@given(examples=st.integers(1, 500), largest=st.integers(1, 64))
def test_batches_are_even(examples: int, largest: int) -> None:
    size = even_batch(examples, largest)
    assert 1 <= size <= largest
    count = -(-examples // size)
    assert count == -(-examples // largest)
    if examples > largest:
        assert size - (examples - (count - 1) * size) < count

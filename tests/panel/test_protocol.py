"""What comes next, whatever has happened: the protocol over any interleaving of annotators."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.panel.protocol import (
    AFTER,
    BEFORE,
    FRESH,
    OVERLAP,
    REPEAT,
    SHOWN,
    Answer,
    Choice,
    History,
    Rules,
    Served,
    Skip,
    Withdrawal,
    choose,
    order_of,
    trial_items,
    undoable,
)
from deadlib.panel.settings import Trial

NAMES = ("Ann", "Bob", "Cyd")
MOVES = ("give", "answer", "answer", "answer", "undo", "skip")


class Play:
    """A panel without a database: moves change the history as the panel's calls do."""

    def __init__(self, rules: Rules) -> None:
        self.history = History(rules)
        self.given: list[tuple[str, Choice, set[int]]] = []
        """Each new serving with its annotator, and what others had answered by then."""
        self.skipped: set[int] = set()
        self._servings = 0

    def give(self, name: str) -> Choice | None:
        by_others = self.history.answered_by_others(name)
        choice = choose(self.history, name)
        if choice is not None:
            self._serve(name, len(self.history.row(name)) + 1, *choice)
            self.given.append((name, choice, by_others))
        return choice

    def answer(self, name: str, response: str = "healthy") -> bool:
        """Answer the item in front, asking for one where there is none."""
        if not self.history.open_numbers(name) and self.give(name) is None:
            return False
        self.history.add(Answer(self._front(name), response))
        return True

    def undo(self, name: str) -> None:
        number = undoable(self.history, name)
        if number is not None:
            slot = self.history.row(name)[number - 1]
            self.history.add(Withdrawal(slot.serving))
            self._serve(name, number, slot.item, slot.served)

    def skip(self, name: str) -> None:
        if self.history.open_numbers(name):
            number = self.history.open_numbers(name)[0]
            self.skipped.add(self.history.row(name)[number - 1].item)
            self.history.add(Skip(self._front(name)))

    def items(self, name: str, *served: str) -> list[int]:
        return [s.item for s in self.history.row(name) if not served or s.served in served]

    def _front(self, name: str) -> str:
        return self.history.row(name)[self.history.open_numbers(name)[0] - 1].serving

    def _serve(self, name: str, number: int, item: int, served: str) -> None:
        self._servings += 1
        self.history.add(Served(str(self._servings), name, number, item, served))


def drawn_moves(seed: int, count: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(rng.choice(NAMES), rng.choice(MOVES)) for _ in range(count)]


# Many moves, as lists that hypothesis draws are mostly too short to come to a repeat.
several = settings(max_examples=50)
moves = st.builds(drawn_moves, st.integers(0, 2**32), st.integers(0, 150))
rules = st.builds(
    Rules,
    items=st.integers(1, 25),
    assignment=st.sampled_from(["shared", "everyone"]),
    overlap_every=st.integers(0, 5),
    repeat_every=st.integers(0, 4),
    repeat_after=st.integers(1, 6),
    order=st.sampled_from(["random", "listed"]),
    seed=st.integers(0, 5),
)


def played(rules: Rules, moves: Sequence[tuple[str, str]]) -> Play:
    play = Play(rules)
    for name, move in moves:
        getattr(play, move)(name)
    return play


@several
@given(rules, moves)
def test_no_item_comes_twice_but_a_repeat_that_was_asked_for(rules: Rules, moves: list) -> None:
    play = played(rules, moves)
    for name in NAMES:
        new = play.items(name, FRESH, OVERLAP)
        assert len(set(new)) == len(new)
        repeats = play.items(name, REPEAT)
        assert len(set(repeats)) == len(repeats)
        assert set(repeats) <= set(new)
        assert not repeats or rules.repeat_every


@several
@given(rules, moves)
def test_a_repeat_comes_late_enough_and_not_too_often(rules: Rules, moves: list) -> None:
    play = played(rules, moves)
    for name in NAMES:
        row = play.history.row(name)
        first = {slot.item: place for place, slot in reversed(list(enumerate(row)))}
        for place, slot in enumerate(row):
            if slot.served == REPEAT:
                assert place - first[slot.item] >= rules.repeat_after
        repeats = len(play.items(name, REPEAT))
        assert repeats * rules.repeat_every <= len(row) - repeats


@several
@given(rules, moves)
def test_overlap_is_what_another_has_answered_and_fresh_what_none_has(
    rules: Rules, moves: list
) -> None:
    for _, choice, by_others in played(rules, moves).given:
        if choice.served != REPEAT:
            assert (choice.item in by_others) == (choice.served == OVERLAP)


@several
@given(rules, moves)
def test_every_kth_new_item_overlaps_as_soon_as_another_has_answered(
    rules: Rules, moves: list
) -> None:
    if rules.assignment == "everyone":
        return
    play = Play(rules)
    for name, move in moves:
        count = len(play.items(name, FRESH, OVERLAP))
        closed = set(play.items(name)) | play.skipped
        pool = play.history.answered_by_others(name) - closed
        fresh = play.history.fresh()
        known = len(play.given)
        getattr(play, move)(name)
        if len(play.given) == known or play.given[-1][1].served == REPEAT:
            continue
        due = rules.overlap_every and (count + 1) % rules.overlap_every == 0
        overlap = play.given[-1][1].served == OVERLAP
        assert overlap == bool(pool and (due or fresh is None))


@several
@given(rules, moves)
def test_a_fresh_item_goes_to_one_annotator_while_there_are_others(
    rules: Rules, moves: list
) -> None:
    if rules.assignment == "everyone":
        return
    play = Play(rules)
    for name, move in moves:
        fresh = play.history.fresh()
        known = len(play.given)
        getattr(play, move)(name)
        if len(play.given) > known and play.given[-1][1].served == FRESH and fresh is not None:
            assert play.given[-1][1].item == fresh


@several
@given(rules, moves)
def test_a_skipped_item_is_given_to_nobody_again(rules: Rules, moves: list) -> None:
    play = Play(rules)
    for name, move in moves:
        broken = set(play.skipped)
        known = len(play.given)
        getattr(play, move)(name)
        assert not broken & {choice.item for _, choice, _ in play.given[known:]}


@several
@given(rules, moves)
def test_in_the_end_everybody_has_seen_everything(rules: Rules, moves: list) -> None:
    play = played(rules, moves)
    for name in NAMES:
        while play.answer(name):
            pass
    broken = play.skipped
    for name in NAMES:
        assert set(play.items(name)) | broken == set(range(rules.items))


def test_each_fifth_item_is_one_that_another_has_answered() -> None:
    play = Play(Rules(items=200))
    for _ in range(40):
        play.answer("Ann")
        play.answer("Bob")
    for name in ("Ann", "Bob"):
        served = [slot.served for slot in play.history.row(name)]
        assert served == ([FRESH] * 4 + [OVERLAP]) * 8


def test_alone_an_annotator_gets_fresh_items_only() -> None:
    play = Play(Rules(items=30))
    for _ in range(30):
        play.answer("Ann")
    assert set(play.items("Ann", FRESH)) == set(range(30))


def test_repeats_do_not_shift_the_overlap() -> None:
    play = Play(Rules(items=200, repeat_every=3, repeat_after=4))
    for _ in range(60):
        play.answer("Ann")
        play.answer("Bob")
    served = [slot.served for slot in play.history.row("Ann") if slot.served != REPEAT]
    assert served[4::5] == [OVERLAP] * len(served[4::5])
    assert OVERLAP not in [kind for place, kind in enumerate(served, start=1) if place % 5]


def test_an_item_left_open_is_given_to_another_when_nothing_else_is_left() -> None:
    play = Play(Rules(items=3))
    play.give("Ann")
    for _ in range(2):
        assert play.answer("Bob")
    assert play.give("Bob") == Choice(play.items("Ann")[0], FRESH)


def test_the_order_is_that_of_the_seed_and_another_for_another_seed() -> None:
    assert order_of(Rules(100, seed=1)) == order_of(Rules(100, seed=1))
    assert order_of(Rules(100, seed=1)) != order_of(Rules(100, seed=2))
    assert sorted(order_of(Rules(100, seed=1))) == list(range(100))
    assert list(order_of(Rules(5, order="listed"))) == [0, 1, 2, 3, 4]


def test_listed_items_are_given_as_they_are_listed() -> None:
    play = Play(Rules(items=12, order="listed", overlap_every=0))
    for _ in range(3):
        for name in NAMES:
            play.answer(name)
    assert [choice.item for _, choice, _ in play.given] == list(range(9))


@pytest.mark.parametrize("assignment", ["shared", "everyone"])
def test_an_undone_answer_leaves_the_pool(assignment: str) -> None:
    play = Play(Rules(items=9, assignment=assignment))
    play.answer("Ann")
    assert play.history.answered_by_others("Bob")
    play.undo("Ann")
    assert not play.history.answered_by_others("Bob")
    assert play.history.open_numbers("Ann") == [1]


@several
@given(
    st.builds(Trial, before=st.integers(1, 5), shown=st.integers(0, 6), after=st.integers(1, 5),
              same_images=st.booleans()),
    st.integers(0, 3), moves,
)  # fmt: skip
def test_a_trial_has_its_parts_in_order_and_they_share_no_image(
    trial: Trial, spare: int, moves: list
) -> None:
    rules = Rules(items=trial.images + spare, trial=trial)
    play = played(rules, [(name, move) for name, move in moves if move != "skip"])
    for name in NAMES:
        while play.answer(name):
            pass
        served = [slot.served for slot in play.history.row(name)]
        parts = [BEFORE] * trial.before + [SHOWN] * trial.shown + [AFTER] * trial.after
        assert served == parts
        assert len(set(play.items(name))) == trial.images
    same = trial_items(rules, "Ann") == trial_items(rules, "Bob")
    assert same or not trial.same_images


def test_people_of_a_trial_get_images_of_their_own() -> None:
    rules = Rules(items=600, trial=Trial())
    assert trial_items(rules, "Ann") != trial_items(rules, "Bob")


def test_what_images_taught_cannot_change_the_answers_before() -> None:
    play = Play(Rules(items=10, trial=Trial(before=2, shown=2, after=2)))
    play.answer("Ann")
    assert undoable(play.history, "Ann") == 1
    play.answer("Ann")
    assert undoable(play.history, "Ann") == 2, "the next phase has not been seen yet"
    play.give("Ann")
    assert undoable(play.history, "Ann") is None

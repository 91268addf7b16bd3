"""Who sees which item next: the protocol as functions of what has happened so far.

Of DeadNet's second data set: items come in random order, and every fifth that an annotator gets is
one that another annotator has answered. Items have numbers here, as in items.parquet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deadlib.panel.settings import PanelSettings, Trial

FRESH, OVERLAP, REPEAT = "fresh", "overlap", "repeat"
BEFORE, SHOWN, AFTER = "before", "shown", "after"


@dataclass(frozen=True)
class Rules:
    """What the protocol goes by. `items`: how many there are; `trial`: None for a panel."""

    items: int
    assignment: str = "shared"
    overlap_every: int = 5
    repeat_every: int = 0
    repeat_after: int = 20
    order: str = "random"
    seed: int = 0
    trial: Trial | None = None

    @classmethod
    def of(cls, settings: PanelSettings, items: int) -> Rules:
        """The rules that a project's settings make for so many items."""
        return cls(
            items=items,
            assignment=settings.assignment,
            overlap_every=settings.overlap_every,
            repeat_every=settings.repeat_every,
            repeat_after=settings.repeat_after,
            order=settings.order,
            seed=settings.seed,
            trial=settings.trial if settings.mode == "trial" else None,
        )


class Choice(NamedTuple):
    """The item that comes next, and as what."""

    item: int
    served: str


@dataclass
class Slot:
    """One place in the row of items that an annotator gets.

    serving: its latest name; attempt: how often its answer was taken back; response: the answer
    that stands.
    """

    item: int
    served: str
    serving: str
    attempt: int = 0
    response: str | None = None
    skipped: bool = False

    @property
    def is_open(self) -> bool:
        return self.response is None and not self.skipped


class Served(NamedTuple):
    """An item was given to an annotator, as their `number`-th, counted from 1."""

    serving: str
    annotator: str
    number: int
    item: int
    served: str


class Answer(NamedTuple):
    serving: str
    response: str


class Withdrawal(NamedTuple):
    serving: str


class Skip(NamedTuple):
    """The item cannot be shown to anybody."""

    serving: str


Event = Served | Answer | Withdrawal | Skip


@dataclass
class History:
    """What has happened, as far as it matters to what comes next. Events are added in order."""

    rules: Rules
    _rows: dict[str, list[Slot]] = field(default_factory=dict)
    _places: dict[str, tuple[str, int]] = field(default_factory=dict)
    _given: dict[int, set[str]] = field(default_factory=dict)
    _answered: dict[int, set[str]] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    """Items that cannot be shown."""
    _first_fresh: int = 0

    def add(self, event: Event) -> None:
        if isinstance(event, Served):
            self._serve(event)
            return
        annotator, number = self._places[event.serving]
        slot = self._rows[annotator][number - 1]
        if isinstance(event, Answer):
            slot.response = event.response
            self._answered.setdefault(slot.item, set()).add(annotator)
        elif isinstance(event, Withdrawal):
            slot.response = None
            if slot.served != REPEAT:
                self._answered[slot.item].discard(annotator)
        else:
            slot.skipped = True
            self.broken.add(slot.item)

    def _serve(self, event: Served) -> None:
        row = self._rows.setdefault(event.annotator, [])
        if event.number <= len(row):
            slot = row[event.number - 1]
            slot.serving, slot.attempt = event.serving, slot.attempt + 1
        else:
            row.append(Slot(event.item, event.served, event.serving))
        self._places[event.serving] = (event.annotator, event.number)
        self._given.setdefault(event.item, set()).add(event.annotator)
        order = order_of(self.rules)
        while self._first_fresh < len(order) and order[self._first_fresh] in self._given:
            self._first_fresh += 1

    def row(self, annotator: str) -> Sequence[Slot]:
        """What an annotator has been given, in order."""
        return self._rows.get(annotator, ())

    def place(self, serving: str) -> tuple[str, int] | None:
        """Whose a serving is, and the how-manieth of theirs; None where there is none."""
        return self._places.get(serving)

    def open_numbers(self, annotator: str) -> list[int]:
        """Which of an annotator's items wait for an answer, the one to be shown first."""
        return [n for n, slot in enumerate(self.row(annotator), start=1) if slot.is_open]

    def fresh(self) -> int | None:
        """The first item that nobody has been given; None where there is none."""
        order = order_of(self.rules)
        return order[self._first_fresh] if self._first_fresh < len(order) else None

    def answered_items(self) -> int:
        """How many items somebody has answered."""
        return sum(bool(who) for who in self._answered.values())

    def answered_by_others(self, annotator: str) -> set[int]:
        """The items that another annotator has answered."""
        return {item for item, who in self._answered.items() if who - {annotator}}

    def left_open(self) -> set[int]:
        """The items that were given to somebody, and answered by nobody."""
        return {item for item in self._given if not self._answered.get(item)}


def choose(history: History, annotator: str) -> Choice | None:
    """What an annotator gets next; None where there is nothing more for them.

    In a panel: every so many new items one that another annotator has answered, drawn from all of
    these, else one that nobody has been given yet; when none is left, what others have answered,
    and then what others were given and never answered. One's own items come again only where
    `repeat_every` asks for it, between the others, which are counted without them. Nothing else
    ever comes twice.
    """
    rules, row = history.rules, history.row(annotator)
    if rules.trial is not None:
        return _of_trial(history, annotator, rules.trial)
    again = _repeat(history, annotator)
    if again is not None:
        return Choice(again, REPEAT)
    closed = {slot.item for slot in row} | history.broken
    by_others = history.answered_by_others(annotator)
    if rules.assignment == "everyone":
        item = _first(order_of(rules, annotator), closed)
        return None if item is None else Choice(item, OVERLAP if item in by_others else FRESH)
    number = 1 + sum(slot.served != REPEAT for slot in row)
    pool = sorted(by_others - closed)
    if pool and rules.overlap_every and number % rules.overlap_every == 0:
        return Choice(_drawn(pool, rules.seed, annotator, number), OVERLAP)
    fresh = history.fresh()
    if fresh is not None:
        return Choice(fresh, FRESH)
    if pool:
        return Choice(_drawn(pool, rules.seed, annotator, number), OVERLAP)
    left = sorted(history.left_open() - closed)
    return Choice(left[0], FRESH) if left else None


def undoable(history: History, annotator: str) -> int | None:
    """The number of the answer that an annotator may take back: the last, None where there is none.

    In a trial an answer stands as soon as the next phase has begun, since its images teach.
    """
    row = history.row(annotator)
    given = [n for n, slot in enumerate(row, start=1) if slot.response is not None]
    if not given:
        return None
    waiting = history.open_numbers(annotator)
    phase = row[(waiting[0] if waiting else len(row)) - 1].served
    last = given[-1]
    in_phase = history.rules.trial is None or row[last - 1].served == phase
    return last if in_phase else None


def trial_items(rules: Rules, annotator: str) -> list[Choice]:
    """All that a person sees in a trial, in order; the three parts share no image."""
    trial = rules.trial
    if trial is None:
        return []
    drawn = order_of(rules) if trial.same_images else order_of(rules, annotator)
    parts = [BEFORE] * trial.before + [SHOWN] * trial.shown + [AFTER] * trial.after
    return [Choice(item, part) for item, part in zip(drawn, parts, strict=False)]


def order_of(rules: Rules, annotator: str | None = None) -> Sequence[int]:
    """All items in the order of the seed: one for all, or one of an annotator's own."""
    if rules.order == "listed":
        return range(rules.items)
    return _shuffled(rules.items, rules.seed, annotator)


@lru_cache(64)
def _shuffled(items: int, seed: int, annotator: str | None) -> list[int]:
    found: list[int] = _random(seed, annotator or "").permutation(items).tolist()
    return found


def _of_trial(history: History, annotator: str, trial: Trial) -> Choice | None:
    closed = {slot.item for slot in history.row(annotator)} | history.broken
    planned = trial_items(history.rules, annotator)
    return next((choice for choice in planned if choice.item not in closed), None)


def _repeat(history: History, annotator: str) -> int | None:
    """One of an annotator's own items that is due again and was answered long enough ago."""
    rules, row = history.rules, history.row(annotator)
    repeated = {slot.item for slot in row if slot.served == REPEAT}
    if not rules.repeat_every or (len(row) - len(repeated)) // rules.repeat_every <= len(repeated):
        return None
    old = row[: max(0, len(row) - rules.repeat_after)]
    items = [slot.item for slot in old if slot.response is not None and slot.item not in repeated]
    pool = sorted(set(items) - history.broken)
    return _drawn(pool, rules.seed, annotator, -len(row)) if pool else None


def _first(order: Iterable[int], closed: set[int]) -> int | None:
    return next((item for item in order if item not in closed), None)


def _drawn(pool: Sequence[int], seed: int, annotator: str, number: int) -> int:
    return pool[int(_random(seed, f"{number} {annotator}").integers(len(pool)))]


def _random(seed: int, key: str) -> np.random.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, np.uint32).tolist()])

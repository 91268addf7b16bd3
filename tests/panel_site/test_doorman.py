"""Who guesses tokens is slowed down, and nobody else."""

from __future__ import annotations

import pytest

from deadlib.panel.doorman import SECONDS_FOR_A_TRY, TRIES, Doorman, TooManyTriesError

TOKENS = {"right": "ana", "late": "ben"}


class Clock:
    def __init__(self) -> None:
        self.seconds = 1e6

    def __call__(self) -> float:
        return self.seconds


def guess(doorman: Doorman[str], address: str = "10.0.0.1", times: int = TRIES) -> None:
    for number in range(times):
        assert doorman.admit(f"guess {number}", address) is None


def test_after_so_many_wrong_tokens_nothing_is_looked_up() -> None:
    asked: list[str] = []
    doorman = Doorman(lambda token: asked.append(token) or TOKENS.get(token), Clock())  # type: ignore[func-returns-value]
    guess(doorman)
    with pytest.raises(TooManyTriesError, match="try again in 6 seconds"):
        doorman.admit("right", "10.0.0.1")
    assert len(asked) == TRIES


def test_a_try_comes_back_with_time() -> None:
    clock = Clock()
    doorman = Doorman(TOKENS.get, clock)
    guess(doorman)
    clock.seconds += SECONDS_FOR_A_TRY
    assert doorman.admit("right", "10.0.0.1") == "ana"


def test_who_was_let_in_before_is_not_locked_out_by_a_neighbour() -> None:
    doorman = Doorman(TOKENS.get, Clock())
    assert doorman.admit("right", "10.0.0.1") == "ana"
    guess(doorman)
    assert doorman.admit("right", "10.0.0.1") == "ana"
    with pytest.raises(TooManyTriesError):
        doorman.admit("late", "10.0.0.1")
    assert doorman.admit("late", "10.0.0.2") == "ben"


def test_a_token_that_was_taken_away_is_a_guess_like_any_other() -> None:
    tokens = dict(TOKENS)
    doorman = Doorman(tokens.get, Clock())
    assert doorman.admit("right", "10.0.0.1") == "ana"
    del tokens["right"]
    guess(doorman, times=TRIES - 1)
    assert doorman.admit("right", "10.0.0.1") is None
    with pytest.raises(TooManyTriesError):
        doorman.admit("right", "10.0.0.1")


def test_no_token_is_no_guess_and_a_huge_one_is_not_looked_up() -> None:
    asked: list[str] = []
    doorman = Doorman(asked.append, Clock())
    assert doorman.admit(None, "10.0.0.1") is None
    assert doorman.admit("", "10.0.0.1") is None
    assert doorman.admit("x" * 10_000, "10.0.0.1") is None
    assert asked == []

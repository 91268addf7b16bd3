"""What a run has reached: which epoch is best, when it is over, how history is written."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from deadlib.errors import RunError
from deadlib.training.rounds import Rounds
from deadlib.training.state import State, write_history

NAN = math.nan


@pytest.mark.parametrize(
    ("best", "value", "higher", "expected"),
    [
        (0.5, 0.6, True, True),
        (0.5, 0.5, True, False),
        (0.5, 0.4, False, True),
        (0.5, 0.6, False, False),
        (0.5, NAN, True, False),
        (NAN, 0.1, True, True),
        (NAN, NAN, True, False),
    ],
)
def test_only_a_better_epoch_is_an_improvement(
    best: float, value: float, higher: bool, expected: bool
) -> None:
    state = State(step=3, kept_step=2, kept_value=best)
    assert state.is_improvement(value, higher) is expected


def test_the_first_round_is_the_best_so_far_even_if_undefined() -> None:
    assert State().is_improvement(NAN, True)


@pytest.mark.parametrize(
    ("rounds", "kept_round", "patience", "expected"),
    [
        (0, 0, 1, False),
        (4, 4, 1, False),
        (5, 4, 1, True),
        (5, 4, 2, False),
        (9, 4, None, False),
        (10, 4, None, True),
        (10, 10, 3, True),
    ],
)
def test_training_ends_after_all_rounds_or_lost_patience(
    rounds: int, kept_round: int, patience: int | None, expected: bool
) -> None:
    history = [{"loss": 0.1}] * rounds
    in_epochs = State(step=7 * rounds, kept_step=7 * kept_round, history=history)
    assert in_epochs.is_finished(Rounds(total=70, every=7, epoch=7), patience) is expected
    # Four validations an epoch ask four times, for the same patience in epochs.
    quarters = None if patience is None else 4 * patience
    assert in_epochs.is_finished(Rounds(total=70, every=7, epoch=28), patience) is (
        rounds == 10 or (quarters is not None and 0 < quarters <= rounds - kept_round)
    )


def test_the_last_round_may_be_shorter() -> None:
    rounds = Rounds(total=25, every=10, epoch=4)
    assert [rounds.end(number) for number in (-1, 0, 1, 2)] == [0, 10, 20, 25]
    assert rounds.epochs(10) == 2.5
    assert not State(step=25, history=[{}] * 2).is_finished(rounds, None)
    assert State(step=25, history=[{}] * 3).is_finished(rounds, None)


def test_a_state_survives_json() -> None:
    state = State(3, [1.5, 2.0, 3.0, 0.5], 1.25, 0.5, 1, 0.75, [{"epoch": 1, "loss": 0.1}])
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_the_state_of_another_version_is_refused() -> None:
    with pytest.raises(RunError, match="another version"):
        State.from_json({**State().to_json(), "epoch": 2})
    with pytest.raises(RunError, match="another version"):
        State.from_json({**State().to_json(), "totals": [1.0, 2.0, 3.0]})


def test_history_is_a_table_with_a_row_per_round(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [{"epoch": 1, "a": 0.1}, {"epoch": 2, "a": NAN}])
    with open(tmp_path / "history.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"epoch": "1", "a": "0.1"}, {"epoch": "2", "a": ""}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]

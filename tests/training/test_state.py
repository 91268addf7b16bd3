"""What a run has reached: which epoch is best, when it is over, how history is written."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

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
    state = State(epoch=3, kept_epoch=2, kept_value=best)
    assert state.is_improvement(value, higher) is expected


def test_the_first_epoch_is_the_best_so_far_even_if_undefined() -> None:
    assert State().is_improvement(NAN, True)


@pytest.mark.parametrize(
    ("epoch", "kept_epoch", "patience", "expected"),
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
def test_training_ends_after_all_epochs_or_lost_patience(
    epoch: int, kept_epoch: int, patience: int | None, expected: bool
) -> None:
    state = State(epoch=epoch, kept_epoch=kept_epoch)
    assert state.is_finished(10, patience) is expected


def test_a_state_survives_json() -> None:
    state = State(2, 3, [1.5, 2.0, 3.0], 1.25, 0.5, 1, 0.75, [{"epoch": 1, "loss": 0.1}])
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_history_is_a_table_with_a_row_per_epoch(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [{"epoch": 1, "a": 0.1}, {"epoch": 2, "a": NAN}])
    with open(tmp_path / "history.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"epoch": "1", "a": "0.1"}, {"epoch": "2", "a": ""}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]

"""What a run has reached: everything that a checkpoint holds beside the variables."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from deadlib.errors import RunError
from deadlib.runs import write_text
from deadlib.training.rounds import Rounds

HistoryRow = dict[str, float]

TOTALS = ("loss", "right", "examples", "metric_loss")
"""What is summed over the examples of a round, in this order."""


@dataclass
class State:
    """How far training has come; `history` has a row for each round that is finished."""

    step: int = 0
    """Steps done since the beginning."""
    totals: list[float] = field(default_factory=lambda: [0.0] * len(TOTALS))
    """Sums over the running round, in the order of `TOTALS`."""
    seconds: float = 0.0
    """Time spent in the steps of the running round."""
    waited_seconds: float = 0.0
    """The part of it spent waiting for input."""
    kept_step: int = 0
    """The step of the weights kept; 0 before the first round is finished."""
    kept_value: float = math.nan
    history: list[HistoryRow] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> State:
        """Raises RunError for the state of another version."""
        known = {name.name for name in fields(cls)}
        if set(stored) != known or len(stored["totals"]) != len(TOTALS):
            raise RunError(
                "the checkpoint was written by another version of deadlib; go on with that one, "
                "or start again with --overwrite"
            )
        return cls(**stored)

    def is_improvement(self, value: float, higher_is_better: bool) -> bool:
        """Whether `value` beats that of the weights kept; NaN beats nothing but none at all."""
        if self.kept_step == 0 or math.isnan(value):
            return self.kept_step == 0
        if math.isnan(self.kept_value):
            return True
        return value > self.kept_value if higher_is_better else value < self.kept_value

    def is_finished(self, rounds: Rounds, patience_epochs: int | None) -> bool:
        """Whether all rounds are done, or too many epochs have brought no improvement."""
        validated = rounds.end(len(self.history) - 1)
        if validated == 0 or validated >= rounds.total or patience_epochs is None:
            return validated >= rounds.total
        return rounds.epochs(validated - self.kept_step) >= patience_epochs


def write_history(path: Path, history: list[HistoryRow]) -> None:
    """One CSV row per round; an undefined metric is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({name: "" if math.isnan(value) else value for name, value in row.items()})
    write_text(path, text.getvalue())

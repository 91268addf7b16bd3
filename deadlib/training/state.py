"""What a run has reached: everything that a checkpoint holds beside the variables."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deadlib.runs import write_text

HistoryRow = dict[str, float]


@dataclass
class State:
    """How far training has come. Epochs and steps count what is finished."""

    epoch: int = 0
    step: int = 0
    """Steps done in the running epoch."""
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Sums over the running epoch, in the order of `step.TOTALS`."""
    seconds: float = 0.0
    """Time spent in the steps of the running epoch."""
    waited_seconds: float = 0.0
    """The part of it spent waiting for input."""
    kept_epoch: int = 0
    """1-based; 0 before the first epoch is finished."""
    kept_value: float = math.nan
    history: list[HistoryRow] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> State:
        return cls(**stored)

    def is_improvement(self, value: float, higher_is_better: bool) -> bool:
        """Whether `value` beats the epoch kept so far; NaN beats nothing but no epoch at all."""
        if self.kept_epoch == 0 or math.isnan(value):
            return self.kept_epoch == 0
        if math.isnan(self.kept_value):
            return True
        return value > self.kept_value if higher_is_better else value < self.kept_value

    def is_finished(self, epochs: int, patience_epochs: int | None) -> bool:
        """Whether all epochs are done, or too many without improvement."""
        if patience_epochs is not None and self.epoch - self.kept_epoch >= patience_epochs:
            return self.epoch > 0
        return self.epoch >= epochs


def write_history(path: Path, history: list[HistoryRow]) -> None:
    """One CSV row per epoch; an undefined metric is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({name: "" if math.isnan(value) else value for name, value in row.items()})
    write_text(path, text.getvalue())

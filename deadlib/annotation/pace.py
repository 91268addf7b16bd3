"""How annotators work: the time that answers take, and whether they change on the way.

Items come in random order, so what an annotator answers should not depend on how far they are. A
trend is one of the annotator: tired, or with another idea of the classes than at the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.annotation.agreement import Indices
from deadlib.bootstrap import Resampling

# whoever takes longer than this was elsewhere; medians do not mind, and the page tells
PAUSE_SECONDS = 300.0
FEWEST_IN_STRETCH = 20
MOST_STRETCHES = 5
FEWEST_PERMUTATIONS = 4999
CHANCE = 0.05
ANSWERS_AT_ONCE = 2**18


@dataclass(frozen=True)
class Pace:
    """Seconds of the answers of one annotator, or of one kind: quartiles, None without times.

    untimed: answers without a usable time; pauses: answers of more than PAUSE_SECONDS.
    """

    name: str
    answers: int
    untimed: int
    pauses: int
    quartiles_seconds: tuple[float, float, float] | None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Stretch:
    """Consecutive answers of one annotator, the `first`th to the `last`th: what they are."""

    first: int
    last: int
    counts: dict[str, int]
    median_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Drift:
    """Whether the answers of an annotator change on the way.

    p_value: how often answers in any other order differ as much between the stretches; corrected:
    the same, counting that every annotator was asked (Holm 1979).
    """

    annotator: str
    stretches: tuple[Stretch, ...]
    p_value: float
    corrected_p_value: float

    @property
    def proved(self) -> bool:
        return self.corrected_p_value <= CHANCE

    def to_json(self) -> dict[str, Any]:
        return {
            "annotator": self.annotator,
            "p_value": self.p_value,
            "p_value_corrected_for_annotators": self.corrected_p_value,
            "stretches": [one.to_json() for one in self.stretches],
        }


def pace(log: pd.DataFrame, column: str, names: Sequence[str] = ()) -> list[Pace]:
    """Times of the answers by `column` (annotator or response), in the order of `names`, if given.

    log: answers that count, with `seconds`; what is no number from 0 on is no time.
    """
    found = {str(name): _pace(str(name), rows) for name, rows in log.groupby(column)}
    return [found[name] for name in (names or found) if name in found]


def drifts(log: pd.DataFrame, answers: Sequence[str], resampling: Resampling) -> list[Drift]:
    """Every annotator with answers enough for two stretches, in alphabetical order.

    log: answers that count, with annotator, number (their order for each annotator), response and
    seconds. Order goes by number: clocks may have been changed.
    """
    place = {name: number for number, name in enumerate(answers)}
    found = []
    for who, rows in log.sort_values("number").groupby("annotator"):
        parts = min(MOST_STRETCHES, len(rows) // FEWEST_IN_STRETCH)
        if parts < 2:
            continue
        stretch = np.arange(len(rows)) * parts // len(rows)
        said = rows["response"].map(place).to_numpy(int)
        p_value = _permutation_p(stretch, said, resampling)
        stretches = tuple(
            _stretch(rows[stretch == part], int(np.argmax(stretch == part)), answers)
            for part in range(parts)
        )
        found.append(Drift(str(who), stretches, p_value, p_value))
    return [
        Drift(one.annotator, one.stretches, one.p_value, corrected)
        for one, corrected in zip(found, holm([one.p_value for one in found]), strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    count, largest = len(p_values), 0.0
    found = [0.0] * count
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        found[place] = largest
    return found


def _pace(name: str, rows: pd.DataFrame) -> Pace:
    times = _seconds(rows)
    quartiles = np.quantile(times, [0.25, 0.5, 0.75]) if len(times) else None
    return Pace(
        name=name,
        answers=len(rows),
        untimed=len(rows) - len(times),
        pauses=int((times > PAUSE_SECONDS).sum()),
        quartiles_seconds=None
        if quartiles is None
        else (float(quartiles[0]), float(quartiles[1]), float(quartiles[2])),
    )


def _stretch(rows: pd.DataFrame, start: int, answers: Sequence[str]) -> Stretch:
    given = rows["response"].value_counts()
    times = _seconds(rows)
    return Stretch(
        first=start + 1,
        last=start + len(rows),
        counts={answer: int(given.get(answer, 0)) for answer in answers},
        median_seconds=float(np.median(times)) if len(times) else None,
    )


def _seconds(rows: pd.DataFrame) -> NDArray[np.float64]:
    if "seconds" not in rows:
        return np.zeros(0)
    times = pd.to_numeric(rows["seconds"], errors="coerce").to_numpy(np.float64)
    return times[np.isfinite(times) & (times >= 0)]


def _permutation_p(stretch: Indices, said: Indices, resampling: Resampling) -> float:
    """Of the chi-squared statistic of stretch and answer, over random orders of the answers."""
    width = int(said.max()) + 1
    lengths = np.bincount(stretch)
    expected = np.outer(lengths, np.bincount(said, minlength=width)) / len(said)
    used = expected > 0

    def statistic(orders: Indices) -> NDArray[np.float64]:
        """Of many orders of the answers at once, (B, N) -> (B,)."""
        cells = np.arange(len(orders))[:, None] * expected.size + stretch * width + orders
        counts = np.bincount(cells.ravel(), minlength=len(orders) * expected.size)
        away = counts.reshape(-1, *expected.shape) - expected
        return np.asarray((away[:, used] ** 2 / expected[used]).sum(axis=1))

    rng = np.random.default_rng(resampling.seed)
    found = float(statistic(said[None])[0])
    # equal tables may differ by rounding
    least = found - 1e-9 * max(found, 1.0)
    count = max(resampling.resamples, FEWEST_PERMUTATIONS)
    at_once = max(1, ANSWERS_AT_ONCE // len(said))
    reached = 0
    for start in range(0, count, at_once):
        orders = np.tile(said, (min(at_once, count - start), 1))
        reached += int((statistic(rng.permuted(orders, axis=1)) >= least).sum())
    return (reached + 1) / (count + 1)

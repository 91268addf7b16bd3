"""What the positions of a movie say together: curves of groups, onsets, and the known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deadlib.errors import InputError
from deadlib.heatmaps.curve import mean_limits
from deadlib.heatmaps.lapse import Lapse, Mapped

if TYPE_CHECKING:
    import pandas as pd

GROUPED_BY = ("light_dose_s", "treatment", "concentration_um", "label", "cell_line")
"""The first of these that differs between positions groups them, unless another is asked for."""
TRUTH = Path("truth") / "area.csv"
_WELL = ("plate", "well")
_UNITS = ("s", "hours")
_FEWEST_PAIRS = 3


@dataclass(frozen=True)
class Agreement:
    """Predicted against true sick area, over all frames of which both are known.

    pairs: position, time_index, time_hours, predicted, true. correlation: Pearson's, None where
    one side does not vary. error: mean absolute difference; bias: mean of predicted - true.
    """

    pairs: pd.DataFrame
    correlation: float | None
    error: float
    bias: float


def curve_table(positions: Sequence[Mapped]) -> pd.DataFrame:
    """One row per position and time, with what is known of the position."""
    import pandas as pd

    rows = [
        {**row, **{key: value for key, value in mapped.facts.items() if key not in row}}
        for mapped in positions
        for row in mapped.rows
    ]
    return pd.DataFrame(rows)


def onset_table(lapse: Lapse) -> pd.DataFrame:
    """One row per position; times are empty where the onset is not reached or not known."""
    import pandas as pd

    unit = "hours" if hours_known(lapse.positions) else "frame"
    return pd.DataFrame(
        [
            {
                "position": mapped.name,
                **mapped.facts,
                f"onset_{unit}": mapped.onset.time,
                f"last_below_{unit}": mapped.onset.last_below,
                f"low_{unit}": mapped.onset.low,
                f"high_{unit}": mapped.onset.high,
                "reached_share": mapped.onset.reached,
            }
            for mapped in lapse.positions
        ]
    )


def hours_known(positions: Sequence[Mapped]) -> bool:
    """Whether every frame has a time in hours."""
    return all(
        row["time_hours"] is not None
        for mapped in positions
        for row in mapped.rows
        if row["frame"] is not None
    )


def column_title(name: str) -> str:
    """The name of a column for a person: `light_dose_s` is "light dose (s)"."""
    words = name.split("_")
    if len(words) > 1 and words[-1] in _UNITS:
        words[-1] = f"({words[-1]})"
    return " ".join(words)


def group_column(facts: Sequence[Mapping[str, Any]], asked: str | None) -> str | None:
    """The column that groups positions, None where none differs. facts: what is known of each.

    Raises InputError for one that is not known.
    """
    known = dict.fromkeys(name for each in facts for name in each)
    if asked is not None:
        if asked not in known:
            found = ", ".join(known) or "nothing"
            raise InputError(
                f"--group-by {asked}: not known of these positions; known are: {found}; give a "
                "table with this column"
            )
        return asked
    for name in GROUPED_BY:
        if len({str(each.get(name)) for each in facts}) > 1:
            return name
    return None


def group_table(positions: Sequence[Mapped], column: str) -> pd.DataFrame:
    """Mean sick area of each group and time: group, time_index, time_hours, wells or positions
    behind it, sick_area, low, high.

    Positions of one well share its dose and its fate, so a well counts once.
    """
    import pandas as pd

    found: dict[tuple[str, int], dict[str, list[tuple[float, float | None]]]] = {}
    for mapped in positions:
        group = str(mapped.facts.get(column, "unknown"))
        unit = unit_of(mapped)
        for row in mapped.rows:
            if row["frame"] is None:
                continue
            units = found.setdefault((group, row["time_index"]), {})
            units.setdefault(unit, []).append((row["sick_area"], row["time_hours"]))
    rows = []
    for (group, index), units in sorted(found.items(), key=lambda item: _group_key(*item[0])):
        means = [float(np.mean([area for area, _ in values])) for values in units.values()]
        hours = [hour for values in units.values() for _, hour in values if hour is not None]
        mean, low, high = mean_limits(means)
        rows.append(
            {
                column: group,
                "time_index": index,
                "time_hours": float(np.mean(hours)) if hours else None,
                "units": len(means),
                "sick_area": mean,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def unit_of(mapped: Mapped) -> str:
    """What counts as one independent observation: the well where it is known, else the position."""
    if mapped.facts.get("well") is None:
        return mapped.name
    return " ".join(str(mapped.facts[name]) for name in _WELL if mapped.facts.get(name) is not None)


def agreement(lapse: Lapse) -> Agreement | None:
    """Against `truth/area.csv` of a simulated movie; None where there is none.

    Raises InputError for a table without position, time_index and sick_area.
    """
    import pandas as pd

    path = lapse.movie.path / TRUTH
    if not path.is_file():
        return None
    truth = pd.read_csv(path)
    missing = [name for name in ("position", "time_index", "sick_area") if name not in truth]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(truth.columns)}; simulate "
            "the movie again, or remove the table"
        )
    truth = truth.rename(columns={"sick_area": "true"})[["position", "time_index", "true"]]
    truth["position"] = truth["position"].astype(str)
    curve = curve_table(lapse.positions).rename(columns={"sick_area": "predicted"})
    curve = curve[["position", "time_index", "time_hours", "predicted"]].dropna(
        subset=["predicted"]
    )
    pairs = curve.merge(truth.dropna(), on=["position", "time_index"])
    if len(pairs) < _FEWEST_PAIRS:
        return None
    predicted, true = (pairs[name].to_numpy(float) for name in ("predicted", "true"))
    varies = np.ptp(predicted) > 0 and np.ptp(true) > 0
    return Agreement(
        pairs=pairs,
        correlation=float(np.corrcoef(predicted, true)[0, 1]) if varies else None,
        error=float(np.abs(predicted - true).mean()),
        bias=float((predicted - true).mean()),
    )


def _group_key(group: str, index: int) -> tuple[Any, ...]:
    try:
        return (0, float(group), "", index)
    except ValueError:
        return (1, 0.0, group, index)

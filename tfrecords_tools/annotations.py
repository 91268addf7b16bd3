"""The annotation log: what experts said of short sequences of crops, and what they agree on.

An item is a square window of one position over consecutive frames. The log is a CSV with one row
per response and the columns

    annotator item position top_px left_px height_px width_px first_frame frames response
    [light_dose_s] [served] [timestamp]

`first_frame` counts like the images' `time_index`; `response` is healthy, sick or unsure in any
case; `served` is fresh or overlap (an item that another annotator has scored before); `timestamp`
is ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools.cut import WINDOW
from tfrecords_tools.errors import SourceError
from tfrecords_tools.table import ROW_NUMBER, as_number, check_columns, read_table

if TYPE_CHECKING:
    import pandas as pd

UNSURE = "unsure"
RESPONSES = ("healthy", "sick", UNSURE)
SERVED = ("fresh", "overlap")

PLACE = ("position", *WINDOW, "first_frame", "frames")
"""What an item is: the same in all of its rows."""

_NEEDED = ("annotator", "item", *PLACE, "response")
_OPTIONAL = ("light_dose_s", "served", "timestamp")
_ROWS_SHOWN = 20

CONCORDANT, DISAGREEMENT = "concordant", "disagreement"


def read_annotations(path: str | Path) -> pd.DataFrame:
    """The responses of a log, one row per annotator and item, in the order of the file.

    Returns the columns annotator, item, position (text), top_px, left_px, height_px, width_px,
    first_frame, frames (int64), light_dose_s (float64; NaN where absent), response (healthy, sick,
    unsure), served (fresh, overlap or None), timestamp (text or None), and `replaced`: how many
    earlier responses of this annotator to this item were left out. Whoever answers an item twice
    has changed their mind: the last answer by timestamp counts.

    Raises SourceError, naming the rows as a spreadsheet counts them, for a missing column, a value
    that is none, an item that has two windows, or two answers whose order no timestamp tells.
    """
    import pandas as pd

    path = Path(path)
    table = read_table(path)
    hint = "an annotation log has one row per response"
    check_columns(table, _NEEDED, path, hint)
    log = table[[name for name in (*_NEEDED, *_OPTIONAL) if name in table]].copy()
    for name in _OPTIONAL:
        if name not in log:
            log[name] = None
    log.insert(0, ROW_NUMBER, range(2, len(log) + 2))
    faults = [fault for row in log.to_dict("records") for fault in _faults(row)]
    if faults:
        more = f"\n  and {len(faults) - _ROWS_SHOWN} more" if len(faults) > _ROWS_SHOWN else ""
        raise SourceError(
            f"{path}: {len(faults)} values cannot be used; {hint}:\n"
            + "\n".join(f"  {fault}" for fault in faults[:_ROWS_SHOWN])
            + more
        )
    log["response"] = log["response"].str.lower()
    served = [text.lower() if text else None for text in log["served"]]
    log["served"] = pd.Series(served, index=log.index, dtype=object)
    log = log.astype({name: "int64" for name in PLACE[1:]} | {"light_dose_s": "float64"})
    _check_items(log, path)
    return _last_answers(log, path).drop(columns=ROW_NUMBER).reset_index(drop=True)


def judged(responses: pd.DataFrame) -> pd.DataFrame:
    """One row per item, in order of its first response, with what the annotators made of it.

    DeadNet's concordance filter keeps the concordant ones: an item falls if any response to it is
    unsure, and if its responses differ; a single annotator suffices.

    responses: as `read_annotations` returns them. Returns item, position, light_dose_s, the
    window (top_px, left_px, height_px, width_px), first_frame, frames, `annotators` (how many
    answered), `verdict` (concordant, unsure, disagreement) and `label` (None unless concordant).
    """
    import pandas as pd

    rows = []
    for item, answers in responses.groupby("item", sort=False):
        first = answers.iloc[0]
        said = set(answers["response"])
        verdict = CONCORDANT if len(said) == 1 else DISAGREEMENT
        if UNSURE in said:
            verdict = UNSURE
        row = {"item": item, **{name: first[name] for name in PLACE}}
        row |= {
            "light_dose_s": first["light_dose_s"],
            "annotators": len(answers),
            "verdict": verdict,
            "label": first["response"] if verdict == CONCORDANT else None,
        }
        rows.append(row)
    names = ["item", *PLACE, "light_dose_s", "annotators", "verdict"]
    # Made on its own, as pandas would turn None into NaN.
    labels = pd.Series([row["label"] for row in rows], dtype=object)
    return pd.DataFrame(rows, columns=names).assign(label=labels)


def _faults(row: Mapping[Any, Any]) -> list[str]:
    """What is wrong with the values of one row of text."""
    where = f"row {row[ROW_NUMBER]}"
    faults = [
        f"{where}: no {name}; fill it in"
        for name in ("annotator", "item", "position")
        if row[name] is None
    ]
    for name in PLACE[1:]:
        low = 1 if name in ("height_px", "width_px", "frames") else 0
        text = row[name] or "nothing"
        if not text.isdecimal() or int(text) < low:
            faults.append(f"{where}: {name} is {text}, expected a whole number from {low} on")
    for name, known in (("response", RESPONSES), ("served", SERVED)):
        text = row[name] or "nothing"
        absent = name == "served" and row[name] is None
        if not absent and text.lower() not in known:
            faults.append(f"{where}: {name} is {text}, expected one of {', '.join(known)}")
    if row["light_dose_s"] is not None and as_number(row["light_dose_s"]) is None:
        faults.append(f"{where}: light_dose_s is {row['light_dose_s']}, expected a number")
    if row["timestamp"] is not None and _moment(row["timestamp"]) is None:
        faults.append(
            f"{where}: timestamp is {row['timestamp']}, expected ISO 8601, such as "
            "2016-08-25T14:03:00"
        )
    return faults


def _moment(text: str) -> float | None:
    """An ISO 8601 time as a number; without a time zone it is taken for UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return datetime.timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _check_items(log: pd.DataFrame, path: Path) -> None:
    different = log.drop_duplicates(["item", *PLACE])
    again = different.duplicated(list(PLACE), keep=False)
    if again.any():
        one, other = different[again].sort_values([*PLACE, ROW_NUMBER]).to_dict("records")[:2]
        raise SourceError(
            f"{path}: items {one['item']} (row {one[ROW_NUMBER]}) and {other['item']} (row "
            f"{other[ROW_NUMBER]}) are the same window of the same frames; give them one name, or "
            "their annotators cannot be compared"
        )
    twice = different["item"].duplicated(keep=False)
    if not twice.any():
        return
    item = different["item"][twice].iloc[0]
    one, other = different[different["item"] == item].to_dict("records")[:2]
    name = next(name for name in PLACE if one[name] != other[name])
    raise SourceError(
        f"{path}: item {one['item']} has two windows: {name} is {one[name]} in row "
        f"{one[ROW_NUMBER]} and {other[name]} in row {other[ROW_NUMBER]}; an item is one window "
        "of one position, so give the other one a name of its own"
    )


def _last_answers(log: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The last response of each annotator to each item, with the number that it replaced."""
    kept: list[int] = []
    replaced: list[int] = []
    for _, answers in log.groupby(["annotator", "item"], sort=False):
        kept.append(_last(answers, path))
        replaced.append(len(answers) - 1)
    return log.loc[kept].assign(replaced=replaced).sort_values(ROW_NUMBER)


def _last(answers: pd.DataFrame, path: Path) -> int:
    if len(answers) == 1:
        return int(answers.index[0])
    moments: Sequence[float | None] = [
        _moment(text) if text is not None else None for text in answers["timestamp"]
    ]
    if None in moments or len(set(moments)) < len(moments):
        first = answers.iloc[0]
        rows = ", ".join(str(number) for number in answers[ROW_NUMBER])
        raise SourceError(
            f"{path}: {first['annotator']} answered item {first['item']} in rows {rows}, and no "
            "timestamp tells which answer is the last; give timestamps, or keep one of the rows"
        )
    latest = max(range(len(moments)), key=lambda place: moments[place] or 0.0)
    return int(answers.index[latest])

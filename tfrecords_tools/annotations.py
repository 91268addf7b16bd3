"""The annotation log: what experts said of images, crops or sequences, and what they agree on.

The log is a CSV with one row per response and the columns `annotator item response`, and those
that say where the item lies. An image, or a crop of it:

    [path] [top_px left_px height_px width_px]

`path` names the image as a conversion does, below the source folder; without the column the item
itself is the path.
A sequence, which is a window of one position over consecutive frames:

    position top_px left_px height_px width_px first_frame frames

`first_frame` counts like the images' `time_index`. Known as well, where the log has them, are

    light_dose_s served timestamp seconds withdrawn

`response` is the name of a class, or unsure; names that differ by capitals only are one. `served`
is fresh, overlap (another annotator has scored the item before), repeat (this one has), before,
shown or after (a trial), or adjudicated: the row then decides for the item, whoever said what.
`timestamp` is ISO 8601; a row that is `withdrawn` does not count.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools.cut import WINDOW
from tfrecords_tools.errors import SourceError
from tfrecords_tools.settings import AGREEMENTS
from tfrecords_tools.sources import natural_key
from tfrecords_tools.split import draw
from tfrecords_tools.table import ROW_NUMBER, as_number, check_columns, read_table

if TYPE_CHECKING:
    import pandas as pd

UNSURE = "unsure"
RESPONSES = ("healthy", "sick", UNSURE)
"""The published ones, which are written in small letters."""

ADJUDICATED = "adjudicated"
COUNTED = ("fresh", "overlap", "before", "after")
SERVED = (*COUNTED, "repeat", "shown", ADJUDICATED)

SERVING = "serving"
"""A panel's own name for what was shown to an annotator."""

PLACE = ("position", *WINDOW, "first_frame", "frames")
"""What a sequence is: the same in all rows of the item."""
IMAGE_PLACE = ("path", *WINDOW)
"""What an image or a crop is."""

CONCORDANCE, MAJORITY, VOTES = AGREEMENTS
CONCORDANT, DISAGREEMENT = "concordant", "disagreement"
SHARE = "votes_"
"""Before the name of a class: the manifest's column of the share of the votes for it."""

_NEEDED = ("annotator", "item", "response")
_OPTIONAL = ("light_dose_s", "served", "timestamp", "seconds", "withdrawn")
_NUMBERS = ("light_dose_s", "seconds")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_ROWS_SHOWN = 20
_HINT = "an annotation log has one row per response"


def read_annotations(path: str | Path) -> pd.DataFrame:
    """The responses of a log that count, one row per annotator and item, in the order of the file.

    Returns the columns annotator, item, path, position (text, None where not known), top_px,
    left_px, height_px, width_px, first_frame, frames (int64, Int64 where some are not known),
    light_dose_s, seconds (float64, NaN where not known), response (a class, or unsure), served
    (fresh, overlap, before, after or None), timestamp (text or None); `replaced`: how many earlier
    responses of this annotator to this item were left out; `adjudicated`: the answer that was
    decided on for the item, or None; and any other column of the log, as text. Whoever answers an
    item twice has changed their mind: the last answer by timestamp counts. Repeats, items shown
    with their label, and what was withdrawn are left out.

    Raises SourceError, naming the rows as a spreadsheet counts them, for a missing column, a value
    that is none, an item in two places, two answers whose order no timestamp tells, or an
    adjudicated item that nobody answered.
    """
    return counted(read_log(path), Path(path))


def read_log(path: str | Path) -> pd.DataFrame:
    """All rows of a log, those too that do not count; columns as those of `read_annotations`, with
    `withdrawn` (bool) and `row_number`, without replaced and adjudicated. Raises SourceError."""
    import pandas as pd

    path = Path(path)
    log = read_table(path).drop(columns=["replaced", ADJUDICATED, ROW_NUMBER], errors="ignore")
    place = _place(log)
    check_columns(log, (*_NEEDED, *(PLACE if place is PLACE else ())), path, _HINT)
    if place is IMAGE_PLACE and "path" not in log:
        log["path"] = log["item"]
    for name in (*PLACE, *IMAGE_PLACE, *_OPTIONAL):
        if name not in log:
            log[name] = _objects([None] * len(log), log)
    log.insert(0, ROW_NUMBER, range(2, len(log) + 2))
    faults = [fault for row in log.to_dict("records") for fault in _faults(row, place)]
    faults += _slips(log)
    if faults:
        more = f"\n  and {len(faults) - _ROWS_SHOWN} more" if len(faults) > _ROWS_SHOWN else ""
        raise SourceError(
            f"{path}: {len(faults)} values cannot be used; {_HINT}:\n"
            + "\n".join(f"  {fault}" for fault in faults[:_ROWS_SHOWN])
            + more
        )
    log["response"] = _one_spelling(list(log["response"]))
    log["served"] = _objects([text.lower() if text else None for text in log["served"]], log)
    log["withdrawn"] = [_TRUTH[text.lower()] if text else False for text in log["withdrawn"]]
    if place is IMAGE_PLACE:
        log["path"] = [text.replace("\\", "/").removeprefix("./") for text in log["path"]]
    for name in PLACE[1:]:
        numbers = [None if text is None else int(text) for text in log[name]]
        log[name] = pd.array(numbers, dtype="Int64" if None in numbers else "int64")
    log = log.astype(dict.fromkeys(_NUMBERS, "float64"))
    _check_items(log, path, place)
    return log


def counted(log: pd.DataFrame, origin: Path) -> pd.DataFrame:
    """The rows of a whole log that count, as `read_annotations` has them. Raises SourceError."""
    there = log[~log["withdrawn"]]
    decided = {
        str(item): answers.loc[_last(answers, origin, "adjudicated"), "response"]
        for item, answers in there[there["served"] == ADJUDICATED].groupby("item", sort=False)
    }
    there = there[there["served"].isin(COUNTED) | there["served"].isna()]
    alone = [item for item in decided if item not in set(there["item"])]
    if alone:
        raise SourceError(
            f"{origin}: item {alone[0]} is adjudicated, but has no answer of an annotator; "
            "an adjudication decides between answers, so keep these in the log"
        )
    if there.empty:
        raise SourceError(f"{origin}: no response counts; all are withdrawn, repeats or shown")
    found = _last_answers(there, origin).drop(columns=[ROW_NUMBER, "withdrawn"])
    found = found.reset_index(drop=True)
    return found.assign(adjudicated=_objects([decided.get(item) for item in found["item"]], found))


def classes_of(responses: pd.DataFrame) -> list[str]:
    """What was answered besides unsure, in natural order."""
    said = {*responses["response"]}
    if ADJUDICATED in responses:
        said |= {*responses[ADJUDICATED].dropna()}
    return sorted(said - {UNSURE}, key=natural_key)


def judged(responses: pd.DataFrame, rule: str = CONCORDANCE) -> pd.DataFrame:
    """One row per item, in order of its first response, with what the annotators made of it.

    rule: concordance, DeadNet's filter: an item falls if any response to it is unsure, and if its
    responses differ; a single annotator suffices. majority: the answer that more than half of the
    annotators gave; an item without falls, and one of which more than half are unsure. votes: the
    class with the most votes, whatever the number of those unsure; an item falls only if all are.
    Of classes with as many votes one is drawn, by the item's name alone. By every rule an
    adjudicated answer stands for all of an item's answers.

    responses: as `read_annotations` returns them. Returns item, what `responses` has of path,
    position, window (top_px, left_px, height_px, width_px), first_frame, frames and light_dose_s,
    `annotators` (how many answered), `verdict` (concordant, majority, votes or adjudicated, which
    are kept; unsure, disagreement), `label` (None unless kept), `tied` (whether it was drawn), and
    `votes_<class>` and `votes_unsure`, the shares of the answers, summing to 1; an adjudicated item
    has all of them for its answer.
    """
    import pandas as pd

    first = responses.drop_duplicates("item").set_index("item", drop=False)
    counts: dict[Hashable, Counter[str]] = {item: Counter() for item in first.index}
    for item, response in zip(responses["item"], responses["response"], strict=True):
        counts[item][response] += 1
    annotators = [counts[item].total() for item in first.index]
    if ADJUDICATED in first:
        decided = first[ADJUDICATED].dropna()
        counts |= {item: Counter({answer: 1}) for item, answer in decided.items()}
    found = [_judgement(str(item), votes, rule) for item, votes in counts.items()]
    if ADJUDICATED in first:
        kept = zip(found, first[ADJUDICATED].notna(), strict=True)
        found = [
            (ADJUDICATED if by_hand and label is not None else verdict, label, tied)
            for (verdict, label, tied), by_hand in kept
        ]
    names = [name for name in ("path", *PLACE, "light_dose_s") if name in first]
    # Made on their own, as pandas would turn None into NaN.
    verdicts, labels, tied = zip(*found, strict=True)
    shares = {
        SHARE + answer: [votes[answer] / votes.total() for votes in counts.values()]
        for answer in (*classes_of(responses), UNSURE)
    }
    return (
        first[["item", *names]]
        .reset_index(drop=True)
        .assign(
            annotators=annotators,
            verdict=verdicts,
            label=pd.Series(labels, dtype=object),
            tied=tied,
            **shares,
        )
    )


def _judgement(item: str, votes: Mapping[str, int], rule: str) -> tuple[str, str | None, bool]:
    """Verdict, label, and whether it was drawn, of how often each answer was given to an item."""
    if len(votes) == 1 and UNSURE not in votes:
        return CONCORDANT, next(iter(votes)), False
    if rule == CONCORDANCE or set(votes) == {UNSURE}:
        return UNSURE if UNSURE in votes else DISAGREEMENT, None, False
    if rule == MAJORITY:
        leading = next(
            (answer for answer in votes if 2 * votes[answer] > sum(votes.values())), None
        )
        if leading is None or leading == UNSURE:
            return leading or DISAGREEMENT, None, False
        return MAJORITY, leading, False
    sure = {answer: number for answer, number in votes.items() if answer != UNSURE}
    most = max(sure.values())
    tied = sorted(answer for answer, number in sure.items() if number == most)
    return VOTES, min(tied, key=lambda answer: draw(0, f"{item}:{answer}")), len(tied) > 1


def _place(log: pd.DataFrame) -> Sequence[str]:
    """What says where the items of a log lie."""
    of_frames = "first_frame" in log or ("frames" in log and "path" not in log)
    return PLACE if of_frames else IMAGE_PLACE


def _objects(values: Sequence[Any], like: pd.DataFrame) -> pd.Series:
    """A column in which None stays None."""
    import pandas as pd

    return pd.Series(values, index=like.index, dtype=object)


def _one_spelling(said: Sequence[str]) -> list[str]:
    """The published answers in small letters, any other as it is written first."""
    first: dict[str, str] = {text: text for text in RESPONSES}
    return [first.setdefault(text.casefold(), text) for text in said]


def _faults(row: Mapping[Any, Any], place: Sequence[str]) -> list[str]:
    """What is wrong with the values of one row of text."""
    where = f"row {row[ROW_NUMBER]}"
    named = (*_NEEDED, place[0])
    faults = [f"{where}: no {name}; fill it in" for name in named if row[name] is None]
    whole_image = place is IMAGE_PLACE and all(row[name] is None for name in WINDOW)
    for name in () if whole_image else place[1:]:
        low = 1 if name in ("height_px", "width_px", "frames") else 0
        text = row[name] or "nothing"
        # a window around an object near the border reaches out of its image
        digits = text.removeprefix("-") if place is IMAGE_PLACE and not low else text
        if not digits.isdecimal() or (int(text) < low and digits is text):
            faults.append(f"{where}: {name} is {text}, expected a whole number from {low} on")
    for name, known in (("served", SERVED), ("withdrawn", tuple(_TRUTH))):
        if row[name] is not None and row[name].lower() not in known:
            faults.append(f"{where}: {name} is {row[name]}, expected one of {', '.join(known)}")
    for name in _NUMBERS:
        if row[name] is not None and as_number(row[name]) is None:
            faults.append(f"{where}: {name} is {row[name]}, expected a number")
    if row["timestamp"] is not None and _moment(row["timestamp"]) is None:
        faults.append(
            f"{where}: timestamp is {row['timestamp']}, expected ISO 8601, such as "
            "2016-08-25T14:03:00"
        )
    return faults


def _slips(log: pd.DataFrame) -> list[str]:
    """Answers that occur once and are nearly another one: slips of the pen, and no classes.

    What was answered by buttons, as the names of servings tell, has none.
    """
    if SERVING in log:
        return []
    given = Counter(text.casefold() for text in log["response"] if text is not None)
    several = [answer for answer, number in given.items() if number > 1]
    faults = []
    for row_number, text in zip(log[ROW_NUMBER], log["response"], strict=True):
        if text is None or given[text.casefold()] > 1:
            continue
        close = difflib.get_close_matches(text.casefold(), [*several, UNSURE], n=1, cutoff=0.75)
        if close and close[0] != text.casefold():
            faults.append(
                f"row {row_number}: response is {text}, and no other row says so; did you mean "
                f"{close[0]}?"
            )
    return faults


def _moment(text: str) -> float | None:
    """An ISO 8601 time as a number; without a time zone it is taken for UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return datetime.timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _check_items(log: pd.DataFrame, path: Path, place: Sequence[str]) -> None:
    is_image = place is IMAGE_PLACE
    unit = "part of the same image" if is_image else "window of the same frames"
    whole = "image, or window of one" if is_image else "window of one position"
    known = log[[ROW_NUMBER, "item", *place]].astype(object)
    known = known.where(known.notna(), None)
    different = known.drop_duplicates(["item", *place])
    again = different.duplicated(list(place), keep=False)
    if again.any():
        _, same = next(iter(different[again].groupby(list(place), sort=False, dropna=False)))
        one, other = same.to_dict("records")[:2]
        raise SourceError(
            f"{path}: items {one['item']} (row {one[ROW_NUMBER]}) and {other['item']} (row "
            f"{other[ROW_NUMBER]}) are the same {unit}; give them one name, or "
            "their annotators cannot be compared"
        )
    twice = different["item"].duplicated(keep=False)
    if not twice.any():
        return
    item = different["item"][twice].iloc[0]
    one, other = different[different["item"] == item].to_dict("records")[:2]
    name = next(name for name in place if one[name] != other[name])
    raise SourceError(
        f"{path}: item {one['item']} has two windows: {name} is {one[name]} in row "
        f"{one[ROW_NUMBER]} and {other[name]} in row {other[ROW_NUMBER]}; an item is one {whole}, "
        "so give the other one a name of its own"
    )


def _last_answers(log: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The last response of each annotator to each item, with the number that it replaced."""
    again = log.duplicated(["annotator", "item"], keep=False)
    replaced = dict.fromkeys(log.index[~again], 0)
    for _, answers in log[again].groupby(["annotator", "item"], sort=False):
        replaced[_last(answers, path, str(answers["annotator"].iloc[0]))] = len(answers) - 1
    kept = log.loc[sorted(replaced)]
    return kept.assign(replaced=[replaced[index] for index in kept.index])


def _last(answers: pd.DataFrame, path: Path, who: str) -> int:
    """The index of the last of several answers to one item."""
    if len(answers) == 1:
        return int(answers.index[0])
    moments: Sequence[float | None] = [
        _moment(text) if text is not None else None for text in answers["timestamp"]
    ]
    if None in moments or len(set(moments)) < len(moments):
        first = answers.iloc[0]
        rows = ", ".join(str(number) for number in answers[ROW_NUMBER])
        raise SourceError(
            f"{path}: {who} answered item {first['item']} in rows {rows}, and no "
            "timestamp tells which answer is the last; give timestamps, or keep one of the rows"
        )
    latest = max(range(len(moments)), key=lambda place: moments[place] or 0.0)
    return int(answers.index[latest])

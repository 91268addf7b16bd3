"""A panel at work: servings, answers, and what is known of both.

Every call is one transaction; the database is the only state. What a process keeps in memory
follows from the rows it has read, and is brought up to date first thing in every call, so that any
number of processes may serve one panel.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deadlib.errors import PanelConflict, PanelError
from deadlib.panel import database as tables
from deadlib.panel.database import ANSWERED, SKIPPED, WITHDRAWN, Database
from deadlib.panel.items import ANSWERS
from deadlib.panel.project import Project
from deadlib.panel.protocol import (
    REPEAT,
    SHOWN,
    Answer,
    History,
    Rules,
    Served,
    Skip,
    Slot,
    Withdrawal,
    choose,
    undoable,
)
from deadlib.panel.settings import SEEN, Channel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LONGEST_NAME = 100
_LONGEST_SECONDS = 1e7


@dataclass(frozen=True)
class Serving:
    """One item before one annotator; nothing here tells which item it is.

    id: random text, all that a browser names it by; number: the how-manieth of this annotator,
    from 1; served: fresh, overlap and so on, which no annotator is to be told; frames: 1 unless it
    is a sequence; shown: metadata that may be seen; label: only where a trial shows it; phase:
    panel, before, shown or after; answers: what may be answered.
    """

    id: str
    number: int
    served: str
    frames: int
    channels: tuple[Channel, ...]
    shown: dict[str, Any]
    label: str | None
    phase: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """An answer that is on the disk. `again`: it had been before."""

    serving: str
    number: int
    response: str
    again: bool


@dataclass(frozen=True)
class Progress:
    """How far an annotator has come.

    answered: items they have answered, repeats among them; to_answer: how many these will be in
    all, None in a shared panel, where it depends on the others; items: all items of the panel;
    items_answered: those that anybody has answered; skipped: items that could not be shown; phase,
    phase_answered, phase_items: where in a trial they are. done: nothing is left for them now.
    """

    answered: int
    to_answer: int | None
    items: int
    items_answered: int
    skipped: int
    phase: str
    phase_answered: int
    phase_items: int | None
    can_undo: bool
    done: bool


class Panel:
    """The annotators of a project, and their answers. Safe to share between threads.

    Args:
        project: an open project.
        database: URL of its database; by default what panel.yaml says, else panel.sqlite.
        clock: the time, for the log only: nothing is ever ordered by it.

    Raises PanelError where the database cannot be reached, or is that of another project.
    """

    def __init__(
        self,
        project: Project,
        database: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.project = project
        url = database or project.settings.database or tables.sqlite_url(project.folder)
        self._database = Database(url, project.fingerprint)
        self._clock = clock
        self._history = History(Rules.of(project.settings, len(project.items)))
        self._read = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the database's connections back."""
        self._database.close()

    # Who may do what.

    def add_annotator(self, name: str) -> str:
        """Add an annotator and return the token of their link, which is kept nowhere.

        Raises PanelError for a name that cannot be one, or is another's (a or A is the same).
        """
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise PanelError(
                f"annotator {name[:LONGEST_NAME]!r}: expected a name of 1 to {LONGEST_NAME} letters"
            )
        _refuse_formula(name)
        token = secrets.token_urlsafe(32)
        row = {"name": name, "token_hash": _hash(token), "added": self._now()}
        with self._database.turn() as (connection, _):
            known = connection.execute(sa.select(tables.annotators.c.name)).scalars().all()
            if name.casefold() in {other.casefold() for other in known}:
                raise PanelError(f"annotator {name}: there is one of that name; choose another")
            connection.execute(sa.insert(tables.annotators).values(row))
        return token

    def new_token(self, name: str) -> str:
        """A new link for an annotator; the old one opens nothing any more. Raises PanelError."""
        token = secrets.token_urlsafe(32)
        self._set_token(name, _hash(token))
        return token

    def remove_access(self, name: str) -> None:
        """Take an annotator's link away; what they answered stays. Raises PanelError."""
        self._set_token(name, None)

    def annotators(self) -> pd.DataFrame:
        """One row per annotator, in the order in which they came: name, added, access (bool)."""
        import pandas as pd

        table = tables.annotators
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.added, table.c.name)).all()
        found = [(row.name, row.added, row.token_hash is not None) for row in rows]
        return pd.DataFrame(found, columns=["name", "added", "access"])

    def admin_token(self) -> str:
        """A new token for the administrator; the old one opens nothing any more."""
        token = secrets.token_urlsafe(32)
        with self._database.turn() as (connection, _):
            connection.execute(sa.update(tables.panel).values(administrator_hash=_hash(token)))
        return token

    def annotator_of(self, token: str) -> str | None:
        """Whose link has this token; None where nobody's. A wrong one takes as long as a right."""
        digest, found = _hash(token), None
        columns = (tables.annotators.c.name, tables.annotators.c.token_hash)
        with self._database.reading() as connection:
            for name, known in connection.execute(sa.select(*columns)):
                if known is not None and hmac.compare_digest(known, digest):
                    found = str(name)
        return found

    def is_admin(self, token: str) -> bool:
        """Whether this token is the administrator's."""
        with self._database.reading() as connection:
            known = connection.execute(sa.select(tables.panel.c.administrator_hash)).scalar_one()
        return known is not None and hmac.compare_digest(known, _hash(token))

    # What an annotator does.

    def current(self, annotator: str) -> Serving | None:
        """The item before an annotator: the same until it is answered; None when all is done.

        Raises PanelError for an unknown annotator.
        """
        return self._open(annotator, 0)

    def ahead(self, annotator: str) -> Serving | None:
        """What comes after the current item, so that it can be loaded before it is needed.

        It is theirs from now on. None where nothing more is to come, as far as is known yet.
        """
        return self._open(annotator, 1)

    def answer(self, annotator: str, serving: str, response: str, seconds: float) -> Answered:
        """Keep an answer; when this returns it is on the disk.

        seconds: what it took. The same answer again is acknowledged again, and counts once. Raises
        PanelConflict where the serving has another answer, or was skipped, and PanelError for what
        is no answer, or no serving of this annotator.
        """
        if not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0):
            raise PanelError(f"time taken: {seconds!r}, expected seconds, 0 or more")
        with self._turn() as (connection, sequence):
            number, slot = self._slot(annotator, serving)
            known = self._answers_to(slot.served)
            if response not in known:
                raise PanelError(f"answer {response[:40]!r}: expected one of {', '.join(known)}")
            given = connection.execute(
                sa.select(tables.events.c.response)
                .where(tables.events.c.serving == serving)
                .where(tables.events.c.what == ANSWERED)
            ).scalar_one_or_none()
            if given is None and slot.serving == serving and slot.is_open:
                self._add_event(
                    connection, sequence, serving, ANSWERED,
                    response=response, seconds=min(float(seconds), _LONGEST_SECONDS),
                )  # fmt: skip
            elif given != response:
                raise PanelConflict(
                    f"this item has been answered {given} already" if given else
                    "this item could not be shown and was left out"
                )  # fmt: skip
            return Answered(serving, number, response, again=given is not None)

    def undo(self, annotator: str) -> Serving | None:
        """Take the last answer back; the item is before the annotator again, under a new id.

        The log keeps both answers. None where there is none to take back: nothing is answered, or
        the next phase of a trial has begun.
        """
        with self._turn() as (connection, sequence):
            self._known(connection, annotator)
            number = undoable(self._history, annotator)
            if number is None:
                return None
            slot = self._history.row(annotator)[number - 1]
            self._add_event(connection, sequence, slot.serving, WITHDRAWN)
            return self._serve(
                connection, sequence, annotator, number, slot.item, slot.served, slot.attempt + 1
            )

    def skip(self, annotator: str, serving: str, reason: str) -> None:
        """Leave an item out that cannot be shown, for this annotator and all who have not had it.

        Said again, or of what is answered, it changes nothing. Raises PanelError as `answer`.
        """
        with self._turn() as (connection, sequence):
            _, slot = self._slot(annotator, serving)
            if slot.serving == serving and slot.is_open:
                self._add_event(connection, sequence, serving, SKIPPED, response=_plain(reason))

    def image(self, annotator: str, serving: str, frame: int) -> np.ndarray:
        """A frame of a serving, (H, W, C) uint8, uint16 or float32; frames count from 0.

        Raises PanelError where this is no serving of the annotator or it has no such frame, and
        ImageError where the image cannot be read.
        """
        with self._reading():
            _, slot = self._slot(annotator, serving)
        return self.project.image(slot.item, frame)

    def progress(self, annotator: str) -> Progress:
        """How far an annotator has come. Raises PanelError for an unknown one."""
        with self._reading() as connection:
            self._known(connection, annotator)
            history, rules = self._history, self._history.rules
            row = history.row(annotator)
            waiting = history.open_numbers(annotator)
            following = None if waiting else choose(history, annotator)
            served = row[waiting[0] - 1].served if waiting else following and following.served
            phase = self._phase(served) if served else "done"
            answered = [slot for slot in row if slot.response is not None]
            in_phase = [slot for slot in answered if rules.trial is None or slot.served == phase]
            to_answer = self._to_answer()
            return Progress(
                answered=len(answered),
                to_answer=to_answer,
                items=len(self.project.items),
                items_answered=history.answered_items(),
                skipped=sum(slot.skipped for slot in row),
                phase=phase,
                phase_answered=len(in_phase),
                phase_items=getattr(rules.trial, phase, to_answer),
                can_undo=undoable(history, annotator) is not None,
                done=served is None,
            )

    # What came of it.

    def log(self) -> pd.DataFrame:
        """Every answer that was ever given, in order.

        Returns annotator, item, serving, number, served (fresh, overlap, repeat; before, shown,
        after), response, seconds (float64), timestamp (ISO 8601, by the server's clock, which may
        have been changed: the order of the rows is that of the answers), withdrawn (bool), and the
        item's own columns of items.parquet.
        """
        import pandas as pd

        answered, withdrawn = tables.events.alias(), tables.events.alias()
        taken_back = (withdrawn.c.serving == answered.c.serving) & (withdrawn.c.what == WITHDRAWN)
        served = tables.servings.c
        query = (
            sa.select(
                served.annotator, served.item, served.id, served.number, served.served,
                answered.c.response, answered.c.seconds, answered.c.timestamp,
                withdrawn.c.sequence.is_not(None),
            )
            .join_from(answered, tables.servings)
            .outerjoin(withdrawn, taken_back)
            .where(answered.c.what == ANSWERED)
            .order_by(answered.c.sequence)
        )  # fmt: skip
        with self._database.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        found = pd.DataFrame(rows, columns=list(ANSWERS)).astype(
            {"withdrawn": bool, "seconds": float}
        )
        return found.merge(self.project.described(), on="item", how="left")

    def responses(self) -> pd.DataFrame:
        """The answers that count: one row per annotator and item, in order.

        As `tfrecords_tools.annotations.read_annotations` returns a log, with `seconds` and the
        item's own columns. `replaced`: how many answers of this annotator to this item were taken
        back. Answers to repeats are not here, as the first one was given under the same conditions
        as everybody's; nor is what a trial showed with its label.
        """
        log = self.log()
        log = log[~log["served"].isin((REPEAT, SHOWN))]
        pair = ["annotator", "item"]
        replaced = log.groupby(pair)["withdrawn"].transform("sum").astype("int64")
        kept = log.assign(replaced=replaced)[~log["withdrawn"]]
        return kept.drop(columns=["withdrawn", "serving", "number"]).reset_index(drop=True)

    def skipped(self) -> pd.DataFrame:
        """The items that could not be shown: item, annotator (who met it), reason, timestamp."""
        import pandas as pd

        served, event = tables.servings.c, tables.events.c
        query = (
            sa.select(served.item, served.annotator, event.response, event.timestamp)
            .join_from(tables.events, tables.servings)
            .where(event.what == SKIPPED)
            .order_by(event.sequence)
        )
        with self._database.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        found = pd.DataFrame(rows, columns=["item", "annotator", "reason", "timestamp"])
        return found.drop_duplicates("item").reset_index(drop=True)

    def adjudicate(self, item: str, label: str | None, by: str) -> None:
        """Settle what an item is, whatever annotators said; the last word on it counts.

        label: one of the answers; None takes an earlier word back. Raises PanelError for an item or
        a label that there is not, and for a `by` that cannot be a name.
        """
        known = self.project.settings.keys
        if label is not None and label not in known:
            raise PanelError(f"label {label[:40]!r}: expected one of {', '.join(known)}")
        if item not in self.project.number_of:
            raise PanelError(f"item {item[:200]!r}: not one of this panel")
        _refuse_formula(by.strip())
        row = {"item": item, "label": label, "by": _plain(by)[:LONGEST_NAME]}
        row["timestamp"] = self._now()
        with self._database.turn() as (connection, sequence):
            connection.execute(sa.insert(tables.adjudications).values(sequence=sequence, **row))

    def adjudications(self) -> pd.DataFrame:
        """The settled items, one row each: item, label, by, timestamp."""
        import pandas as pd

        table = tables.adjudications
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.sequence)).all()
        last = {row.item: (row.item, row.label, row.by, row.timestamp) for row in rows}
        found = [row for row in last.values() if row[1] is not None]
        return pd.DataFrame(found, columns=["item", "label", "by", "timestamp"])

    # How.

    def _open(self, annotator: str, place: int) -> Serving | None:
        """The open item at a place of the queue, given out where it is not yet; None: no more."""
        with self._reading() as connection:
            self._known(connection, annotator)
            waiting = self._history.open_numbers(annotator)
            if place < len(waiting):
                return self._serving(annotator, waiting[place])
        found = None
        for wanted in range(len(waiting), place + 1):
            with self._turn() as (connection, sequence):
                waiting = self._history.open_numbers(annotator)
                if wanted < len(waiting):
                    found = self._serving(annotator, waiting[wanted])
                    continue
                choice = choose(self._history, annotator)
                if choice is None:
                    return None
                number = len(self._history.row(annotator)) + 1
                found = self._serve(connection, sequence, annotator, number, *choice)
        return found

    def _serve(
        self,
        connection: sa.Connection,
        sequence: int,
        annotator: str,
        number: int,
        item: int,
        served: str,
        attempt: int = 0,
    ) -> Serving:
        serving = secrets.token_urlsafe(16)
        row = {
            "sequence": sequence,
            "id": serving,
            "annotator": annotator,
            "number": number,
            "attempt": attempt,
            "item": self.project.names[item],
            "served": served,
            "again": int(served == REPEAT),
        }
        connection.execute(sa.insert(tables.servings).values(row))
        return self._described(serving, number, item, served)

    def _add_event(
        self, connection: sa.Connection, sequence: int, serving: str, what: str, **values: Any
    ) -> None:
        row = {"sequence": sequence, "serving": serving, "what": what, "timestamp": self._now()}
        connection.execute(sa.insert(tables.events).values(**row, **values))

    def _serving(self, annotator: str, number: int) -> Serving:
        slot = self._history.row(annotator)[number - 1]
        return self._described(slot.serving, number, slot.item, slot.served)

    def _described(self, serving: str, number: int, item: int, served: str) -> Serving:
        project = self.project
        return Serving(
            id=serving,
            number=number,
            served=served,
            frames=project.frames(item),
            channels=project.settings.channels,
            shown=project.shown(item),
            label=project.label(item) if served == SHOWN else None,
            phase=self._phase(served),
            answers=self._answers_to(served),
        )

    def _to_answer(self) -> int | None:
        rules = self._history.rules
        if rules.trial is not None:
            return rules.trial.images
        return rules.items if rules.assignment == "everyone" else None

    def _phase(self, served: str) -> str:
        return served if self._history.rules.trial is not None else "panel"

    def _answers_to(self, served: str) -> tuple[str, ...]:
        return (SEEN,) if served == SHOWN else tuple(self.project.settings.keys)

    def _slot(self, annotator: str, serving: str) -> tuple[int, Slot]:
        """The number and slot of an annotator's own serving. Raises PanelError."""
        owner, number = self._history.place(serving) or (None, 0)
        if owner != annotator:
            raise PanelError("no such item for this annotator")
        return number, self._history.row(annotator)[number - 1]

    def _known(self, connection: sa.Connection, annotator: str) -> None:
        if self._history.row(annotator):
            return
        name = tables.annotators.c.name
        if connection.execute(sa.select(name).where(name == annotator)).first() is None:
            raise PanelError(f"annotator {annotator[:LONGEST_NAME]!r}: no such annotator")

    def _set_token(self, name: str, digest: str | None) -> None:
        change = sa.update(tables.annotators).where(tables.annotators.c.name == name)
        with self._database.turn() as (connection, _):
            done = connection.execute(change.values(token_hash=digest))
            if not done.rowcount:
                raise PanelError(f"annotator {name[:LONGEST_NAME]!r}: no such annotator")

    @contextmanager
    def _turn(self) -> Iterator[tuple[sa.Connection, int]]:
        """A transaction, knowing all that happened before."""
        with self._lock, self._database.turn() as (connection, sequence):
            self._learn(connection, sequence - 1)
            yield connection, sequence

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._lock, self._database.reading() as connection:
            self._learn(connection, self._database.sequence(connection))
            yield connection

    def _learn(self, connection: sa.Connection, upto: int) -> None:
        """Read what other calls, here or in other processes, have written since."""
        found: list[tuple[int, int, Any]] = []
        served, event = tables.servings, tables.events
        for order, table in ((1, served), (0, event)):
            between = sa.and_(table.c.sequence > self._read, table.c.sequence <= upto)
            rows = connection.execute(sa.select(table).where(between))
            found += [(row.sequence, order, row) for row in rows]
        for _, order, row in sorted(found, key=lambda entry: entry[:2]):
            self._history.add(self._as_served(row) if order else _as_event(row))
        self._read = upto

    def _as_served(self, row: Any) -> Served:
        item = self.project.number_of[row.item]
        return Served(row.id, row.annotator, row.number, item, row.served)

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")


def _as_event(row: Any) -> Answer | Withdrawal | Skip:
    if row.what == ANSWERED:
        return Answer(row.serving, row.response)
    return Withdrawal(row.serving) if row.what == WITHDRAWN else Skip(row.serving)


def _plain(text: str) -> str:
    """Text that every database takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _refuse_formula(name: str) -> None:
    """A spreadsheet that opens the export would run it."""
    if name.startswith(("=", "+", "-", "@")):
        raise PanelError(f"name {name[:LONGEST_NAME]!r}: expected one that begins with a letter")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

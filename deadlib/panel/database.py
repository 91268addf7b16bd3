"""The panel's tables, and one transaction after the other on them.

Every call that writes begins by raising one number in one row, so that all processes wait for each
other there and what they write has one order. Rows are only ever added: what is true now follows
from all rows in that order. SQLite by default, PostgreSQL by URL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from deadlib.errors import PanelError, PanelOutage

FILE = "panel.sqlite"

ANSWERED, WITHDRAWN, SKIPPED = "answered", "withdrawn", "skipped"

_WAIT_SECONDS = 60
_SCHEMA_VERSION = 1

metadata = sa.MetaData()

panel = sa.Table(
    "panel",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("administrator_hash", sa.Text),
    sa.CheckConstraint("id = 1", name="one_row"),
)

annotators = sa.Table(
    "annotators",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token_hash", sa.Text, unique=True),
    sa.Column("added", sa.Text, nullable=False),
)

servings = sa.Table(
    "servings",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("annotator", sa.ForeignKey("annotators.name"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("served", sa.Text, nullable=False),
    sa.Column("again", sa.Integer, nullable=False),
    sa.UniqueConstraint("annotator", "number", "attempt", name="one_item_for_each_number"),
    sa.UniqueConstraint("annotator", "item", "again", "attempt", name="no_item_twice"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("serving", sa.ForeignKey("servings.id"), nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("response", sa.Text),
    sa.Column("seconds", sa.Float),
    sa.Column("timestamp", sa.Text, nullable=False),
    sa.UniqueConstraint("serving", "what", name="one_answer_for_each_serving"),
)

adjudications = sa.Table(
    "adjudications",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("label", sa.Text),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("timestamp", sa.Text, nullable=False),
)


class Database:
    """The tables of one project.

    url: of SQLAlchemy, sqlite or postgresql. project: what the rows belong to; a database holds one
    project. Raises PanelError where it cannot be reached, or holds another project.
    """

    def __init__(self, url: str, project: str) -> None:
        self._engine = _engine(url)
        self._where = self._engine.url.render_as_string(hide_password=True)
        with self._told():
            with self._engine.connect() as connection:
                there = sa.inspect(connection).has_table(panel.name)
            if not there:
                self._make(project)
            with self._engine.connect() as connection:
                found = connection.execute(sa.select(panel)).one_or_none()
        if found is None or found.project != project:
            raise PanelError(
                f"{self._where}: holds the answers of another project; give each its own database"
            )
        if found.schema_version != _SCHEMA_VERSION:
            raise PanelError(
                f"{self._where}: written by another version of deadlib (tables of version "
                f"{found.schema_version}, expected {_SCHEMA_VERSION}); go on with that one"
            )

    @contextmanager
    def turn(self) -> Iterator[tuple[sa.Connection, int]]:
        """A transaction that no other runs beside, and its number; what it adds has that number.

        When it ends without an error, all is on the disk; otherwise nothing of it has happened.
        """
        raised = sa.update(panel).values(sequence=panel.c.sequence + 1)
        with self._told(), self._engine.begin() as connection:
            connection.execute(raised)
            yield connection, self.sequence(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read by."""
        with self._told(), self._engine.connect() as connection:
            yield connection

    def sequence(self, connection: sa.Connection) -> int:
        """The number of the last turn; all that has this number or a lower one can be read."""
        return int(connection.execute(sa.select(panel.c.sequence)).scalar_one())

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _make(self, project: str) -> None:
        """Make the tables; of several processes that try it at once one does."""
        row = {"id": 1, "sequence": 0, "project": project, "schema_version": _SCHEMA_VERSION}
        try:
            with self._engine.begin() as connection:
                metadata.create_all(connection)
                connection.execute(sa.insert(panel).values(row))
        except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError):
            with self._engine.connect() as connection:
                if not sa.inspect(connection).has_table(panel.name):
                    raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            reason = str(cause).strip().splitlines()[0]
            raise PanelOutage(
                f"{self._where}: the database does not answer ({reason}); try again in a moment"
            ) from None


def sqlite_url(folder: Path) -> str:
    """The URL of the database in a project's own folder."""
    return sa.URL.create("sqlite", database=str(folder / FILE)).render_as_string()


def _engine(url: str) -> sa.Engine:
    try:
        made = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise PanelError("database: no URL; expected postgresql+psycopg://user@host/name") from None
    backend = made.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise PanelError(f"database: {backend} is not known; expected postgresql or sqlite")
    try:
        if backend == "postgresql":
            made = made.set(drivername="postgresql+psycopg")
            return sa.create_engine(made, pool_pre_ping=True)
        engine = sa.create_engine(
            made, connect_args={"timeout": _WAIT_SECONDS}, pool_timeout=_WAIT_SECONDS
        )
    except ModuleNotFoundError:
        raise PanelError(
            "PostgreSQL needs an extra: pip install 'deadlib[annotate,postgresql]'"
        ) from None
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Python's own transactions would begin at another place than ours.
    connection.isolation_level = None
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")

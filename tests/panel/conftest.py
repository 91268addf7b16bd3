"""Projects of small pictures, and the two databases that a panel can have."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from picture_folder import write_pictures
from postgresql import server

from deadlib.panel import Panel, Project, create

Opened = Callable[..., Panel]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 9 x 9 px, 16 bit, in folders of two classes."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 24)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str | None]:
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, postgresql: str | None
) -> Iterator[Callable[[Path], str]]:
    """An empty database of each kind: the URL for a project's folder."""
    import sqlalchemy as sa

    if request.param == "sqlite":
        yield lambda folder: f"sqlite:///{folder / 'panel.sqlite'}"
        return
    if postgresql is None:
        pytest.skip("POSTGRESQL NOT TESTED: no initdb on this machine")
    name = f"panel_{uuid.uuid4().hex}"
    url = sa.make_url(postgresql).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield lambda folder: url.set(database=name).render_as_string()
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture
def opened(pictures: Path, tmp_path: Path) -> Iterator[Opened]:
    """Open the panel of one project as another process would: first made with these settings."""
    with _opener(pictures, tmp_path, lambda folder: None) as open_panel:
        yield open_panel


@pytest.fixture
def everywhere(pictures: Path, database: Callable[[Path], str], tmp_path: Path) -> Iterator[Opened]:
    """As `opened`, on each kind of database."""
    with _opener(pictures, tmp_path, database) as open_panel:
        yield open_panel


@contextmanager
def _opener(
    pictures: Path, tmp_path: Path, database: Callable[[Path], str | None]
) -> Iterator[Opened]:
    panels: list[Panel] = []

    def open_panel(*, clock: Callable | None = None, **settings: object) -> Panel:
        folder = tmp_path / "project"
        if not folder.exists():
            create(folder, pictures, **settings)
        more = {} if clock is None else {"clock": clock}
        panels.append(Panel(Project.open(folder), database(folder), **more))
        return panels[-1]

    yield open_panel
    for panel in panels:
        panel.close()

"""One calibrated model, exported once, for all tests of the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from finished_run import make_dataset, make_run

from deadlib.inference import calibrate_run
from deadlib.runs import Run
from deadlib.server import Settings, create_app
from deadlib.serving import export
from tfrecords_tools import ConversionSettings

Serving = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images/dead`, `images/living` (16 of each, 24 x 30 px, 16 bit) and the dataset of them."""
    folder = tmp_path_factory.mktemp("grey")
    make_dataset(folder, ConversionSettings(fractions=(0.25, 0.5, 0.25)), count=16)
    return folder


@pytest.fixture(scope="session")
def exported(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 of a calibrated model, for a network that sees 16 x 16 px of an image."""
    from tfrecords_tools.dataset import open_dataset

    dataset = open_dataset(dataset_folder / "dataset")
    run = make_run(tmp_path_factory.mktemp("run"), dataset, {"fit": "crop"})
    calibrate_run(run, coverage=0.8, warn=lambda sentence: None)
    return export(Run.open(run.folder), tmp_path_factory.mktemp("served") / "first")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A folder of versions of its own, with version 1."""
    shutil.copytree(exported, tmp_path / "first" / "1")
    return tmp_path / "first"


@pytest.fixture(scope="session")
def serving() -> Serving:
    """`serving(folder, name=..., **settings)`: a client of an application that serves it."""

    @contextmanager
    def served(folder: Path, **settings: object) -> Iterator[TestClient]:
        app = create_app({"first": folder}, Settings(**settings))  # type: ignore[arg-type]
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client

    return served


@pytest.fixture(scope="session")
def client(exported: Path, serving: Serving) -> Iterator[TestClient]:
    with serving(exported.parent) as client:
        yield client

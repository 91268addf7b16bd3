"""One run and its export, for whoever does not change them."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_run import make_dataset, make_run

from deadlib.runs import Run
from deadlib.serving import export


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("shared_run")
    return make_run(folder / "run", make_dataset(folder, count=4))


@pytest.fixture(scope="session")
def out(shared_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of versions; in it the version 1."""
    out = tmp_path_factory.mktemp("served") / "model"
    export(shared_run, out)
    return out

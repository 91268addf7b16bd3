"""deadlib-predict: a run and images in, a table and a word on it out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from finished_run import make_dataset, make_run

from deadlib.cli.predict import main
from deadlib.inference import read_metadata
from deadlib.runs import Run
from tfrecords_tools.dataset import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("grey"), count=4)


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", dataset)


def test_a_dataset_is_predicted_into_the_run(run: Run, dataset: Dataset) -> None:
    done = CliRunner().invoke(main, [str(run.folder), str(dataset.folder)])
    assert done.exit_code == 0, done.output
    table = run.folder / "predictions.parquet"
    frame = pd.read_parquet(table)
    assert set(frame["split"]) == {"test"}
    assert "predicted living" in done.stdout
    assert f"{len(frame)} images (test)" in done.stdout
    assert f"next: deadlib-evaluate {table}" in done.stderr
    assert read_metadata(table)["command"]["predict"]
    assert (run.folder / "log.txt").is_file()


def test_new_images_are_predicted_where_asked(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for path in (dataset.folder.parent / "images").rglob("*.png"):
        shutil.copy(path, fresh)
    out = tmp_path / "monday.parquet"
    done = CliRunner().invoke(main, [str(run.folder), str(fresh), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert pd.read_parquet(out)["label"].isna().all()
    assert "without a label" in done.stdout
    assert "deadlib-evaluate" not in done.stderr, "nothing to evaluate without labels"


def test_bad_images_are_left_out_where_asked(
    run: Run, dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh = Path(shutil.copytree(dataset.folder.parent / "images", tmp_path / "fresh"))
    (fresh / "dead" / "broken.png").write_bytes(b"no picture")
    arguments = [str(run.folder), str(fresh), "--on-bad-image", "skip"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "WARNING: left out, as they cannot be used: 1 of the images" in capfd.readouterr().err


def test_a_mistake_is_one_message_and_no_traceback(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    colour = make_dataset(tmp_path / "colour", count=4, channels=3)
    for arguments, message in (
        ([str(tmp_path / "none"), str(dataset.folder)], "no run directory"),
        ([str(run.folder), str(tmp_path / "none")], "not found"),
        ([str(run.folder), str(colour.folder)], "trained on intensity"),
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 1
        assert message in done.stderr
        assert "Traceback" not in done.output
    assert not (tmp_path / "none").exists()

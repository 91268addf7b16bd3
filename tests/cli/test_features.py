"""deadlib-features as it is typed: measure, classify, and mistakes in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from discs import PATTERN, RADIUS_PX, write_field
from numpy.random import default_rng

from tfrecords_tools import ConversionSettings, convert


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from deadlib.cli.features import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe and its dataset: two plates of four wells with a field each."""
    folder = tmp_path_factory.mktemp("features")
    images = folder / "images"
    images.mkdir()
    generator = default_rng(0)
    for plate in ("P1", "P2"):
        for column in range(1, 5):
            label = sorted(RADIUS_PX)[column % 2]
            write_field(images, f"{plate}_B{column:02}_1_{label}", label, generator)
    settings = ConversionSettings(
        labels="pattern", pattern=PATTERN, channels=("DNA", "ER"), fractions=(1, 0, 0)
    )
    convert(images, folder / "dataset", settings)
    recipe = f"dataset: {folder / 'dataset'}\nsplit:\n  hold_out: [plate=P2]\n  by: [plate]\n"
    (folder / "recipe.yaml").write_text(recipe + "  fractions: [1, 0, 0]\n", encoding="utf-8")
    return folder


def test_from_a_dataset_to_predictions_by_a_recipe(folder: Path) -> None:
    wells, check = folder / "wells.parquet", folder / "check.png"
    measured = run("measure", folder / "dataset", wells, "--per", "well", "--check", check)
    assert measured.returncode == 0, measured.stderr
    assert "8 rows (one per well), 32 cells" in measured.stdout
    assert "nuclei in channel DNA" in measured.stderr
    assert check.is_file()
    out = folder / "forest.parquet"
    classified = run("classify", wells, out, "--recipe", folder / "recipe.yaml")
    assert classified.returncode == 0, classified.stderr
    assert "4 rows (test) by random_forest of 4 training rows" in classified.stdout
    assert "kept; left out:" in classified.stderr
    frame = pd.read_parquet(out)
    assert set(frame["plate"]) == {"P2"}
    assert (frame["predicted"] == frame["label"]).all()


def test_tables_are_imported(folder: Path) -> None:
    (folder / "cells.csv").write_text("Barcode,Well,area\nP1,b3,1.5\nP1,b3,2.5\n")
    out = folder / "imported.parquet"
    done = run("import", folder / "cells.csv", "--out", out, "--column", "plate=Barcode")
    assert done.returncode == 0, done.stderr
    assert "1 rows (one per well), 1 features" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("measure", "dataset", "x.parquet", "--nuclei", "GFP"), 1, "no channel GFP; the images"),
        (("measure", "nowhere", "x.parquet"), 1, "no dataset directory"),
        (("classify", "nothing.parquet", "x.parquet"), 1, "no such file"),
        (
            ("import", "cells.csv", "--out", "x.parquet", "--column", "plate"),
            2,
            "expected NAME=COLUMN",
        ),
        (
            ("measure", "dataset", "x.parquet", "--whole-images", "--check", "x.png"),
            2,
            "--whole-images finds none",
        ),
    ],
)
def test_a_mistake_is_one_message(
    folder: Path, arguments: tuple[str, ...], code: int, message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("x.parquet").exists()

"""deadlib-heatmap: a run and a movie in, a report out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from finished_run import make_dataset, make_run

from deadlib.cli.heatmap import main
from deadlib.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("grey")
    return make_run(folder / "run", make_dataset(folder, count=4), {"fit": "crop"})


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "monday.tif"
    pixels = np.random.default_rng(0).integers(0, 60000, (3, 40, 48)).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def test_a_stack_is_mapped_into_the_run(run: Run, movie: Path) -> None:
    arguments = [str(run.folder), str(movie), "--stride", "8", "--interval-hours", "0.5"]
    done = CliRunner().invoke(main, [*arguments, "--mode", "exact", "--video", "gif"])
    assert done.exit_code == 0, done.output
    out = run.folder / "heatmaps" / "monday"
    assert (out / "report.html").is_file()
    assert "share of the frame called living" in done.stdout
    assert f"look at {out / 'report.html'}" in done.stdout


def test_a_mistake_is_one_sentence(run: Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(run.folder), str(tmp_path / "nowhere")])
    assert done.exit_code == 1
    assert "not found; give a folder of frames" in done.stderr
    assert "Traceback" not in done.output


def test_a_wrong_option_is_usage(run: Run, movie: Path) -> None:
    done = CliRunner().invoke(main, [str(run.folder), str(movie), "--threshold", "1.5"])
    assert done.exit_code == 2


def test_the_real_movie_runs(run: Run, real_data: Path, tmp_path: Path) -> None:
    arguments = [str(run.folder), str(real_data / "hc01501_phase_timelapse")]
    pattern = "{plate}_{channel}_{well}_{field}_{time_hours}.tif"
    arguments += ["--pattern", pattern, "--channels", "P", "--stride", "128", "--mode", "exact"]
    arguments += ["--resolution", "grid", "--video", "none"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    maps = tifffile.imread(tmp_path / "out/positions/HC01501_B2_1/probabilities.ome.tif")
    assert maps.shape == (11, 2, 9, 11)

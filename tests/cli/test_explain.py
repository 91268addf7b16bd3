"""deadlib-explain: a run and images in, pictures and a word on where the heat lies out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_run import make_dataset, make_run, write_images

from deadlib.cli.explain import main
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("explained")
    return make_run(folder / "run", make_dataset(folder, count=4))


def test_maps_are_drawn_into_the_run(run: Run) -> None:
    done = CliRunner().invoke(
        main, [str(run.folder), run.dataset["path"], "--count", "2", "--no-sanity"]
    )
    assert done.exit_code == 0, done.output
    assert "share at the border" in done.stdout
    assert f"look at {run.folder / 'maps' / 'report.html'}" in done.stdout
    assert len(list((run.folder / "maps").glob("*.png"))) == 3


def test_class_weights_say_how_well_crops_agree(tmp_path: Path) -> None:
    cut = ConversionSettings(crop_px=20, stride_px=10, fractions=(0.5, 0.25, 0.25))
    run = make_run(
        tmp_path / "run",
        make_dataset(tmp_path, cut, count=4, shape=(40, 50)),
        {"fit": "crop"},
    )
    frames = write_images(tmp_path / "frames", count=1, shape=(40, 50), seed=5)
    done = CliRunner().invoke(main, [str(run.folder), str(frames), "--frames", "--stride", "12"])
    assert done.exit_code == 0, done.output
    assert "overlapping crops agree: " in done.stdout
    assert len(list((run.folder / "maps").glob("*.ome.tif"))) == 2


def test_options_of_frames_need_frames(run: Run) -> None:
    done = CliRunner().invoke(main, [str(run.folder), run.dataset["path"], "--stride", "8"])
    assert done.exit_code == 2
    assert "belong to --frames" in done.output


def test_an_unknown_class_is_one_message(run: Run, tmp_path: Path) -> None:
    arguments = [str(run.folder), run.dataset["path"], "--target", "dying", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "a class of the run: dead, living" in done.stderr
    assert "Traceback" not in done.output


def test_bad_images_are_left_out_where_asked(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh = write_images(tmp_path / "fresh", count=1, seed=5)
    (fresh / "dead" / "broken.png").write_bytes(b"no picture")
    arguments = [str(run.folder), str(fresh), "--out", str(tmp_path / "maps")]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    done = CliRunner().invoke(main, [*arguments, "--on-bad-image", "skip"])
    assert done.exit_code == 0, done.output
    assert "WARNING: left out, as they cannot be used: 1 of the images" in capfd.readouterr().err

"""Images taken at another pixel size, or in another way, than those a run learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import make_dataset, make_run, write_images

from deadlib.acquisition import Acquisition, mismatches
from deadlib.errors import InputError
from deadlib.inference import predict
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained at 0.65 µm in phase contrast."""
    folder = tmp_path_factory.mktemp("run")
    settings = ConversionSettings(fractions=(0.5, 0.25, 0.25), pixel_size_um=0.65, modality="phase")
    dataset = make_dataset(folder, settings)
    assert dataset.pixel_size_um == 0.65
    return make_run(folder / "run", dataset, {"fit": "crop"})


@pytest.fixture(scope="module")
def enlarged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("new") / "images", count=3, shape=(48, 60))


def predicted(run: Run, images: Path, out: Path, told: Acquisition) -> tuple[list[str], Path]:
    warned: list[str] = []
    predict(run, images, out, acquisition=told, warn=warned.append)
    return warned, out


def test_another_pixel_size_is_told_with_what_to_do(
    run: Run, enlarged: Path, tmp_path: Path
) -> None:
    told = Acquisition(pixel_size_um=0.325)
    warned, _ = predicted(run, enlarged, tmp_path / "x.parquet", told)
    assert any("2 times as large" in text and "--rescale" in text for text in warned), warned


def test_rescaled_images_have_the_size_of_the_training(
    run: Run, enlarged: Path, tmp_path: Path
) -> None:
    told = Acquisition(pixel_size_um=0.325, rescale=True)
    warned, out = predicted(run, enlarged, tmp_path / "x.parquet", told)
    frame = pd.read_parquet(out)
    assert warned == []
    assert set(zip(frame["height_px"], frame["width_px"], strict=True)) == {(24, 30)}
    np.testing.assert_allclose(frame["pixel_size_um"], 0.65)


def test_the_same_pixel_size_and_modality_are_no_word(
    run: Run, enlarged: Path, tmp_path: Path
) -> None:
    told = Acquisition(pixel_size_um=0.66, modality="phase")
    assert predicted(run, enlarged, tmp_path / "x.parquet", told)[0] == []


def test_another_modality_is_told(run: Run) -> None:
    (sentence,) = mismatches(run, "movie", None, "brightfield")
    assert sentence.startswith("movie: brightfield images, but the run was trained on phase")


def test_rescaling_for_a_run_of_unknown_pixel_size_is_refused(
    enlarged: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", make_dataset(tmp_path))
    with pytest.raises(InputError, match="does not know the pixel size"):
        predict(run, enlarged, tmp_path / "x.parquet", acquisition=Acquisition(0.65, rescale=True))


def test_a_dataset_is_not_resampled(run: Run, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    with pytest.raises(InputError, match=r"convert its images again with --rescale-to-um 0\.65"):
        predict(run, dataset.folder, tmp_path / "x.parquet", acquisition=Acquisition(rescale=True))

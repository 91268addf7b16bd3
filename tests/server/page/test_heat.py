"""Windows of a large image through the export: what the run gives, and where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from finished_run import make_dataset, make_run

from deadlib.calibration import softmax
from deadlib.data.preprocess import preprocess_for
from deadlib.heatmaps.frame import FrameMapper
from deadlib.runs import DATASET, Run
from deadlib.server.heat import LONGEST_SIDE_PX, Look, corners, heat
from deadlib.serving import open_bundle
from deadlib.windows import grid_over, normalised_with, training_window, upsampled


def frame(shape: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(1)
    return generator.integers(0, 65536, (*shape, 1), dtype=np.uint16)


def cut(look: Look | None, image: np.ndarray, stride_px: int) -> np.ndarray:
    assert look is not None
    grid = look.grid(image.shape[:2], stride_px)
    assert grid is not None
    return np.stack([look.window(image, top, left) for top, left in corners(grid)])


def test_an_export_answers_windows_as_the_run_does_whole_frames(exported: Path) -> None:
    bundle, image = open_bundle(exported), frame((53, 41))
    windows = cut(Look.of(bundle.description), image, 7)
    found = bundle.signatures["serving_default"](image=windows.astype(np.float32) / 65535)
    run = Run.open(bundle.description["run"])
    expected = FrameMapper(run, mode="exact", stride_px=7).probabilities(image)
    # the run's heat maps leave its calibration out
    assert run.calibration is not None
    logits = np.log(expected.reshape(-1, 2))
    calibrated = run.calibration.probabilities(logits)
    np.testing.assert_allclose(found["probability"].numpy(), calibrated, atol=1e-4)
    assert np.ptp(expected) > 0.01


def test_windows_bring_the_surroundings_that_their_statistics_are_taken_of(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, shape=(24, 24))
    run = make_run(tmp_path / "run", dataset, {"fit": "crop", "normalise": "per_image_16bit"})
    about = json.loads((run.folder / DATASET).read_text())
    (run.folder / DATASET).write_text(json.dumps(about | {"image_shape": [24, 24]}))
    run = Run.open(run.folder)
    section, image = run.recipe.input, frame((53, 41))
    look = Look(section, training_window(run), normalised_with(run))
    assert (look.window_px, look.cut_px) == ((16, 16), (24, 24))
    seen = preprocess_for(section, run.dataset)(cut(look, image, 7))
    found = softmax(run.network().predict(np.asarray(seen), verbose=0))
    expected = FrameMapper(run, mode="exact", stride_px=7).probabilities(image)
    np.testing.assert_allclose(found, expected.reshape(-1, 2), atol=1e-5)


def test_a_picture_of_heat_has_the_size_of_its_image() -> None:
    grid = grid_over((90, 120), (16, 16), 8)
    values = np.random.default_rng(0).random((grid.rows * grid.columns, 2), np.float32)
    picture = heat(values, grid, (90, 120))
    expected = upsampled(values.reshape(grid.rows, grid.columns, 2), grid, (0, 0, 90, 120))
    np.testing.assert_array_equal(picture, expected)


def test_a_large_picture_of_heat_is_a_smaller_copy_of_the_same() -> None:
    shape = (1600, 2000)
    grid = grid_over(shape, (256, 256), 128)
    values = np.random.default_rng(0).random((grid.rows * grid.columns, 1), np.float32)
    picture = heat(values, grid, shape)
    assert max(picture.shape[:2]) <= LONGEST_SIDE_PX
    whole = upsampled(values.reshape(grid.rows, grid.columns, 1), grid, (0, 0, *shape))
    step = -(-shape[1] // picture.shape[1])
    middle = whole[step // 2 :: step, step // 2 :: step][: picture.shape[0], : picture.shape[1]]
    np.testing.assert_allclose(picture[: len(middle)], middle, atol=0.01)


def look(window: tuple[int, int], cut: tuple[int, int] | None = None) -> Look:
    described = {
        "window_px": window,
        "normalised_with_px": cut or window,
        "input": {"size_px": list(window), "fit": "crop"},
    }
    found = Look.of(described)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        ((16, 16), None),
        ((24, 30), None),
        ((12, 64), None),
        ((16, 32), (1, 2)),
        ((33, 16), (2, 1)),
        ((64, 80), (4, 5)),
    ],
)
def test_an_image_is_read_in_windows_where_two_lie_side_by_side(
    shape: tuple[int, int], windows: tuple[int, int] | None
) -> None:
    grid = look((16, 16)).grid(shape)
    assert (None if grid is None else (grid.rows, grid.columns)) == windows


def test_an_image_of_the_size_that_statistics_are_taken_of_is_one_window() -> None:
    assert look((16, 16), (40, 40)).grid((40, 40)) is None
    assert look((16, 16), (40, 40)).grid((40, 48)) is not None


def test_evidence_lies_where_the_network_looked() -> None:
    laid = look((16, 16)).placed(np.full((4, 4), 2.0, np.float32), (20, 30))
    seen = np.isfinite(laid)
    assert laid.shape == (20, 30)
    assert seen[2:18, 7:23].all()
    assert seen.sum() == 16 * 16
    np.testing.assert_allclose(laid[seen], 2.0)


def test_a_model_of_images_of_several_sizes_has_no_window() -> None:
    assert Look.of({"window_px": None}) is None

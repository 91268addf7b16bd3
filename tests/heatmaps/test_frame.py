"""A run laid over a frame: exact is prediction, dense is exact where theory says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tifffile
from finished_run import make_dataset, make_run
from keras import layers
from scipy.ndimage import gaussian_filter

from deadlib import runs
from deadlib.data.preprocess import Preprocess
from deadlib.heatmaps.frame import FrameMapper
from deadlib.heatmaps.normalise import normalised_by_windows
from deadlib.heatmaps.setting import setting_of
from deadlib.heatmaps.sliding import DenseMapper
from deadlib.inference import predict
from deadlib.runs import Run
from tfrecords_tools.dataset import Dataset

WINDOW = 16
MODES = ("dense", "exact")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """Texture under a gradient of brightness, (52, 70, 1) uint16."""
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.random((52, 70, 1)), (1, 1, 0))
    shade = np.linspace(0.4, 1, 52)[:, None, None] * np.linspace(1, 0.6, 70)[:, None]
    return (image * shade * 50000).astype(np.uint16)


def described(run: Run, **changes: Any) -> Run:
    """The run with other entries in its dataset.json."""
    path = run.folder / runs.DATASET
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return Run.open(run.folder)


def unpadded(run: Run, window: tuple[int, int] = (WINDOW, WINDOW), channels: int = 1) -> Run:
    """The run with a network that pads nothing: what dense and exact must agree on."""
    keras.utils.set_random_seed(1)
    image = keras.Input((*window, channels))
    maps = layers.Conv2D(6, 5)(image)
    maps = layers.BatchNormalization()(maps)
    maps = layers.MaxPooling2D(2)(layers.ReLU()(maps))
    maps = layers.Conv2D(8, 3, strides=2, activation="relu")(maps)
    found = layers.BatchNormalization()(layers.Dense(12)(layers.Flatten()(maps)))
    found = layers.Dropout(0.5)(layers.ReLU()(found))
    network = keras.Model(image, layers.Dense(2)(found))
    rng = np.random.default_rng(2)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, part.shape) for part in layer.get_weights()])
    network.save(run.folder / runs.MODEL)
    return run


@pytest.mark.parametrize(
    "section",
    [
        {"fit": "crop"},
        {"fit": "crop", "normalise": "half_contrast", "size_px": [16, 16]},
        {"fit": "crop", "equalise": True},
        {"fit": "resize", "normalise": "dataset"},
        {"fit": "resize", "equalise": True, "normalise": "none"},
    ],
    ids=str,
)
def test_exact_is_what_prediction_says_of_the_same_crops(
    section: dict[str, Any], dataset: Dataset, frame: np.ndarray, tmp_path: Path
) -> None:
    run = described(make_run(tmp_path / "run", dataset, section), image_shape=[24, 30])
    mapper = FrameMapper(run, mode="exact", stride_px=9, batch=5)
    window = mapper.window_px
    assert window == ((16, 16) if section["fit"] == "crop" else (24, 30))
    grid = mapper.grid(frame.shape[:2])
    # Prediction crops the stored image in the middle: what surrounds the window there is cut too.
    above, before = ((24 - window[0]) // 2, (30 - window[1]) // 2)
    (tmp_path / "crops").mkdir()
    inside = []
    for row, top in enumerate(grid.tops_px - above):
        for column, left in enumerate(grid.lefts_px - before):
            if 0 <= top <= 52 - 24 and 0 <= left <= 70 - 30:
                inside.append((row, column))
                crop = frame[top : top + 24, left : left + 30, 0]
                tifffile.imwrite(tmp_path / "crops" / f"{len(inside):03}.tif", crop)
    out = predict(run, tmp_path / "crops", tmp_path / "p.parquet", warn=lambda sentence: None)
    table = pd.read_parquet(out).sort_values("example_id")
    expected = table[[f"probability_{name}" for name in run.classes]].to_numpy()
    found = mapper.probabilities(frame)
    assert found.shape == (grid.rows, grid.columns, 2)
    assert len(inside) > 5
    np.testing.assert_allclose(found[tuple(np.transpose(inside))], expected, atol=1e-5)
    places = np.array(inside[::-3])
    np.testing.assert_allclose(mapper.at(frame, places), found[tuple(places.T)], atol=1e-6)


@pytest.mark.parametrize("stride", [4, 8, 12, 2, 1])
def test_dense_equals_exact_where_the_network_pads_nothing(
    stride: int, dataset: Dataset, frame: np.ndarray, tmp_path: Path
) -> None:
    section = {"fit": "crop", "normalise": "dataset"}
    run = unpadded(make_run(tmp_path / "run", dataset, section))
    small = frame[:40, :47]
    exact = FrameMapper(run, mode="exact", stride_px=stride).probabilities(small)
    dense = FrameMapper(run, mode="dense", stride_px=stride).probabilities(small)
    assert exact[..., 0].std() > 0.005
    np.testing.assert_allclose(dense, exact, atol=1e-5)


@pytest.mark.parametrize("normalise", ["per_image", "half_contrast", "per_image_16bit"])
def test_dense_equals_exact_where_all_windows_have_the_same_statistics(
    normalise: str, dataset: Dataset, frame: np.ndarray, tmp_path: Path
) -> None:
    section = {"fit": "crop", "normalise": normalise}
    run = unpadded(make_run(tmp_path / "run", dataset, section))
    run = described(run, image_shape=[20, 20])
    period = 20 if normalise == "per_image_16bit" else WINDOW
    periodic = np.tile(frame[:period, :period], (4, 4, 1))
    found = [FrameMapper(run, mode=mode, stride_px=4).probabilities(periodic) for mode in MODES]
    # The statistics of a stored image that would reach beyond the frame are those of its mirror.
    inner = slice(1, -1) if normalise == "per_image_16bit" else slice(None)
    np.testing.assert_allclose(found[0][inner, inner], found[1][inner, inner], atol=1e-4)
    assert found[1][..., 0].std() > 0.001


def test_a_pixel_is_normalised_by_the_mean_of_the_windows_around_it() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(14, 17)).cumsum(axis=1) + 100
    rows, columns = 4, 5
    tops, lefts = range(14 - rows + 1), range(17 - columns + 1)
    windows = {(t, s): image[t : t + rows, s : s + columns] for t in tops for s in lefts}
    expected = np.empty_like(image)
    for y, x in np.ndindex(image.shape):
        around = [w for (t, s), w in windows.items() if 0 <= y - t < rows and 0 <= x - s < columns]
        mean = np.mean([w.mean() for w in around])
        deviation = np.exp(np.mean([np.log(w.std()) for w in around]))
        expected[y, x] = (image[y, x] - mean) / deviation
    wide = np.pad(image, ((rows - 1, rows - 1), (columns - 1, columns - 1)), mode="symmetric")
    first = np.array([rows - 1, columns - 1], np.int32)
    found = normalised_by_windows(
        Preprocess((rows, columns), "crop", "per_image"),
        tf.constant(wide[None, ..., None], tf.float32),
        (rows, columns),
        first,
        first + np.array([len(tops) - 1, len(lefts) - 1], np.int32),
    )
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("section", "stride"),
    [
        ({"fit": "crop"}, 8),
        ({"fit": "crop"}, 2),
        ({"fit": "resize", "normalise": "dataset"}, 12),
        ({"fit": "resize"}, 3),
    ],
    ids=str,
)
def test_tiles_do_not_show(
    section: dict[str, Any], stride: int, dataset: Dataset, frame: np.ndarray, tmp_path: Path
) -> None:
    run = described(make_run(tmp_path / "run", dataset, section), image_shape=[24, 24])
    mapper = FrameMapper(run, stride_px=stride)
    grid = mapper.grid(frame.shape[:2])
    engine = DenseMapper(run.network(), setting_of(run), stride)
    most, least = (engine.tiling(grid, memory) for memory in (1e9, engine.needed_bytes((2, 3))))
    assert most.per_tile == most.windows
    assert np.prod(least.per_tile) <= 6
    small = engine.probabilities(frame, grid, engine.needed_bytes((2, 3)))
    np.testing.assert_allclose(small, mapper.probabilities(frame), atol=1e-5)
    assert small[..., 0].std() > 0.001

"""Items are put before annotators in the order in which a model doubts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from picture_folder import write_pictures
from scipy.stats import entropy

from deadlib.errors import PredictionError
from deadlib.panel import create
from deadlib.panel.queue import queue_of
from tfrecords_tools import ConversionSettings

Writer = Callable[..., Path]


def items(*names: str, **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"item": list(names), "frame_paths": [[[name]] for name in names]})
    return frame.assign(**columns)


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write(dead: list[float], name: str = "predictions.parquet", **columns: object) -> Path:
        frame = pd.DataFrame({"probability_dead": dead, "probability_living": 1 - np.array(dead)})
        path = tmp_path / name
        frame = frame.assign(**columns)
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        return path

    return write


@pytest.mark.parametrize("by", ["uncertainty", "entropy", "margin"])
def test_the_least_sure_come_first(write: Writer, by: str) -> None:
    table = write([0.9, 0.55, 0.02, 0.3], example_id=list("abcd"))
    found = queue_of(items(*"dcba"), table, by)
    assert found.items["item"].tolist() == list("bdac")
    assert (np.diff(found.scores[:, -1]) < 0).all()


def test_entropy_is_that_of_the_probabilities(write: Writer) -> None:
    shares = [0.9, 0.5, 0.0]
    found = queue_of(items(*"abc"), write(shares, example_id=list("abc")), "entropy")
    expected = [entropy([p, 1 - p], base=2) for p in sorted(shares, key=lambda p: abs(p - 0.5))]
    assert found.scores[:, 0] == pytest.approx(expected, abs=1e-9)


def test_what_a_calibrated_model_leaves_open_comes_first(write: Writer) -> None:
    sets = [["dead"], ["dead", "living"], [], ["living"]]
    table = write([0.6, 0.9, 0.99, 0.45], example_id=list("abcd"), prediction_set=sets)
    assert queue_of(items(*"abcd"), table).items["item"].tolist() == list("bcda")


def test_what_is_unlike_all_training_images_comes_first(write: Writer) -> None:
    table = write([0.5, 0.9], example_id=["a", "b"], out_of_distribution=[0.2, 0.99])
    found = queue_of(items("a", "b"), table, "out_of_distribution")
    assert found.items["item"].tolist() == ["b", "a"]
    with pytest.raises(PredictionError, match="no column out_of_distribution"):
        queue_of(items("a"), write([0.5], example_id=["a"]), "out_of_distribution")


def test_labels_that_a_model_contradicts_come_first(write: Writer) -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(60) % 2
    dead = np.where(truth, 0.9, 0.1) + generator.uniform(-0.05, 0.05, 60)
    labels = np.where(truth, "dead", "living").astype(object)
    labels[[7, 20]] = ["living", "dead"]
    labels[33] = None
    names = [f"e{number}" for number in range(60)]
    table = write(list(dead), example_id=names, label=labels)
    found = queue_of(items(*names), table, "label_error")
    assert set(found.items["item"][:2]) == {"e7", "e20"}
    assert found.items["item"].iloc[-1] == "e33"
    assert "1 rows have no label and are left out" in found.notes[0]
    unlabelled = write([0.5], "none.parquet", example_id=["a"], label=[None])
    with pytest.raises(PredictionError, match="so none can be wrong; order by uncertainty"):
        queue_of(items("a"), unlabelled, "label_error")


def test_unmatched_items_come_last_and_both_sides_are_told(write: Writer) -> None:
    table = write([0.5, 0.9, 0.7], example_id=["b", "c", "elsewhere"])
    found = queue_of(items(*"abcd"), table)
    assert found.items["item"][:2].tolist() == ["b", "c"]
    assert np.isnan(found.scores[2:]).all()
    assert found.notes[0].endswith("2 of 4 items are ordered by it")
    assert found.notes[1] == "2 items have no prediction and come last (a, d)"
    assert found.notes[2] == "1 rows of the predictions are about no item of this panel"


def test_the_order_of_what_is_alike_is_drawn(write: Writer) -> None:
    names = [f"e{number}" for number in range(30)]
    table = write([0.5] * 30, example_id=names)
    orders = [
        queue_of(items(*names), table, seed=seed).items["item"].tolist() for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != names


def test_nothing_in_common_is_refused_with_both_names(write: Writer) -> None:
    with pytest.raises(PredictionError, match="the table has x, the panel a"):
        queue_of(items("a"), write([0.5], example_id=["x"]))
    with pytest.raises(PredictionError, match="queue by doubt: expected one of label_error"):
        queue_of(items("a"), write([0.5], example_id=["a"]), "doubt")


def test_crops_are_found_in_their_image_by_place(write: Writer) -> None:
    place = {"top_px": [0, 0], "left_px": [0, 8], "height_px": [8, 8], "width_px": [8, 8]}
    crops = items("one", "two", **place)
    crops["frame_paths"] = [[["a.png"]], [["a.png"]]]
    table = write(
        [0.9, 0.5, 0.5],
        example_id=["a.png_1", "a.png_2", "b.png"],
        source_id=["a.png", "a.png", "b.png"],
        source_paths=[["a.png"], ["a.png"], ["b.png"]],
        **{name: [*values, 0] for name, values in place.items()},
    )
    found = queue_of(crops, table)
    assert found.items["item"].tolist() == ["two", "one"]
    assert "1 rows" in found.notes[-1]


def test_a_sequence_has_the_mean_of_its_frames(write: Writer, tmp_path: Path) -> None:
    sequences = items("calm", "doubtful")
    sequences["frame_paths"] = [[["p_0.png"], ["p_1.png"]], [["q_0.png"], ["q_1.png"]]]
    path = write([0.99, 0.9, 0.99, 0.5], "t.csv", path=["p_0.png", "p_1.png", "q_0.png", "q_1.png"])
    found = queue_of(sequences, path, "margin")
    assert found.items["item"].tolist() == ["doubtful", "calm"]
    assert found.scores[:, 0] == pytest.approx([(0.02 + 1) / 2, (0.02 + 0.2) / 2])


def test_a_panel_is_served_in_the_order_of_its_queue(write: Writer, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 8)
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    table = write(list(np.linspace(0.5, 0.9, 8)), example_id=names)
    project = create(
        tmp_path / "panel",
        pictures,
        conversion=ConversionSettings(),
        rank=lambda listed: queue_of(listed, table).items,
    )
    assert project.settings.order == "listed"
    assert project.names == names

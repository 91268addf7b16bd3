"""Five crops of an image, each with a row of its own, say together what the image's row says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from finished_run import make_dataset, make_run

from deadlib.aggregation import aggregate
from deadlib.errors import InputError
from deadlib.inference import predict
from deadlib.inference.table import answers
from deadlib.inputs import open_input
from deadlib.models import embedding_network
from deadlib.predictions import open_predictions


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("grey"), count=4)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    given = {"fit": "crop", "crops": 5, "normalise": "none"}
    return make_run(tmp_path_factory.mktemp("run"), dataset, given)


@pytest.fixture(scope="module")
def crops(run, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops") / "crops.parquet"
    return predict(
        run, dataset.folder, out, split="all", batch=3, rows_of="crops", warn=lambda s: None
    )


def test_a_crop_is_what_the_network_says_of_that_window(run, dataset, crops):
    frame = pd.read_parquet(crops)
    assert len(frame) == 5 * len(dataset.manifest)
    assert frame["example_id"].is_unique
    first = frame[frame["source_id"] == frame["source_id"].iloc[0]].sort_values("crop")
    assert first["crop"].tolist() == [1, 2, 3, 4, 5]
    row = dataset.manifest.index[dataset.manifest["source_id"] == first["source_id"].iloc[0]][0]
    image = dataset.read_example(int(row)).astype(np.float32) / 65535
    corners = [(0, 0), (0, 14), (8, 0), (8, 14), (4, 7)]
    windows = np.stack([image[top : top + 16, left : left + 16] for top, left in corners])
    _, embedding = embedding_network(run.network()).predict(windows, verbose=0)
    np.testing.assert_allclose(np.stack(first["embedding"]), embedding, atol=1e-5)
    assert np.ptp(embedding, axis=0).max() > 1e-3, "equal crops would prove nothing"


def test_the_mean_logits_of_the_crops_are_the_answer_for_the_image(run, dataset, crops, tmp_path):
    out = predict(
        run, dataset.folder, tmp_path / "x.parquet", split="all", warn=lambda sentence: None
    )
    images = open_predictions(out, heavy=("embedding",))
    found = aggregate(open_predictions(crops, heavy=("embedding",)), ["source_id"], how="logits")
    place = pd.Index(found.frame["example_id"]).get_indexer(images.frame["source_id"])
    np.testing.assert_allclose(found.probabilities[place], images.probabilities, atol=1e-5)
    np.testing.assert_allclose(found.embeddings[place], images.embeddings, atol=1e-5)
    assert found.frame["crops"].eq(5).all()
    assert "crop" not in found.frame


def test_a_run_with_one_window_has_no_crops(dataset, tmp_path):
    run = make_run(tmp_path / "run", dataset, {"fit": "crop"})
    with pytest.raises(InputError, match="one window of each image"):
        predict(run, dataset.folder, tmp_path / "x.parquet", rows_of="crops")


def test_the_network_sees_no_more_windows_at_a_time_than_asked_for(run, dataset, tmp_path):
    given = open_input(run, dataset.folder, tmp_path / "converted", warn=lambda sentence: None)
    for batch, images in ((12, 2), (3, 1)):
        assert {len(part.rows) for part in answers(given, "all", batch, 1)} == {images}

"""The pictures exist, show the image beside its heat, and follow what was asked."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import make_dataset, make_run, write_images
from PIL import Image

from deadlib.errors import InputError
from deadlib.inputs import spread_over_labels
from deadlib.interpretation import explain as explain_and_test
from deadlib.interpretation.maps import read_map
from deadlib.interpretation.pictures import as_colours, shown_size
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, DatasetError
from tfrecords_tools.dataset import Dataset

# test_trust.py is about the sanity gate.
explain = partial(explain_and_test, sanity=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), dataset)


@pytest.fixture(scope="module")
def maps(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "maps"
    explain(run, dataset.folder, out, count=4)
    return out


def halves(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image and overlay of a picture of a 24 x 30 px image, drawn nine times as large."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] == 2 * 270 + 8
    assert picture.shape[0] > 216
    return picture[:216, :270], picture[:216, 278:]


def test_each_example_has_its_picture_and_its_line(maps: Path, dataset: Dataset) -> None:
    table = pd.read_csv(maps / "maps.csv")
    assert len(table) == 4
    assert table["label"].value_counts().to_dict() == {"dead": 2, "living": 2}
    assert set(table["split"]) == {"test"}
    files = {path.name for path in maps.iterdir()}
    assert files == {*table["file"], "overview.png", "maps.csv", "report.html", "sanity.json"}
    assert table["example_id"].isin(dataset.manifest["example_id"]).all()
    assert (table["probability"] >= 0.5).all()
    assert Image.open(maps / "overview.png").width > 700


def test_the_left_half_is_the_image_and_the_right_one_has_heat(
    maps: Path, dataset: Dataset
) -> None:
    table = pd.read_csv(maps / "maps.csv")
    heated = 0
    for _, line in table[table["strongest"] > 0].iterrows():
        image, overlay = halves(maps / line["file"])
        row = int(dataset.manifest.index[dataset.manifest["example_id"] == line["example_id"]][0])
        stored = dataset.read_example(row)[..., 0].astype(float)
        assert np.corrcoef(stored.ravel(), image[4::9, 4::9, 0].ravel())[0, 1] > 0.98
        assert (image[..., 0] == image[..., 2]).all(), "a grey image stays grey"
        difference = np.abs(overlay.astype(int) - image)
        assert difference.max() > 40
        assert difference.std() > 1
        heated += 1
    assert heated >= 2


def test_the_target_is_what_was_asked_for(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    overlays, tables = {}, {}
    for target in ("dead", "living", "label"):
        explain(run, dataset.folder, tmp_path / target, count=2, target=target)
        tables[target] = pd.read_csv(tmp_path / target / "maps.csv")
        overlays[target] = [halves(tmp_path / target / name)[1] for name in tables[target]["file"]]
    assert tables["dead"]["example_id"].tolist() == tables["living"]["example_id"].tolist()
    assert set(tables["dead"]["target"]) == {"dead"}
    assert tables["label"]["target"].tolist() == tables["label"]["label"].tolist()
    pairs = zip(overlays["dead"], overlays["living"], strict=True)
    assert all((one != other).any() for one, other in pairs)


def test_the_same_seed_draws_the_same_pictures(
    run: Run, dataset: Dataset, maps: Path, tmp_path: Path
) -> None:
    explain(run.folder, dataset.folder, tmp_path / "again", count=4)
    for path in maps.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_second_call_replaces_what_the_first_left_and_nothing_else(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    explain(run, dataset.folder, out, count=3)
    (out / "notes.txt").write_text("mine")
    explain(run, dataset.folder, out, count=1, seed=5)
    assert len(list(out.glob("0*.png"))) == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_what_an_interrupted_call_left_is_taken_away(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    explain(run, dataset.folder, out, count=3, maps="tiff")
    (out / "maps.csv").unlink()
    explain(run, dataset.folder, out, count=1)
    assert len(list(out.glob("0*"))) == 1


def test_maps_are_written_in_units_of_the_score(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    explain(run, dataset.folder, tmp_path / "maps", count=2, maps="ome-tiff")
    table = pd.read_csv(tmp_path / "maps" / "maps.csv")
    for _, line in table.iterrows():
        heat = read_map(tmp_path / "maps" / line["map"])
        assert heat.shape == (1, 24, 30)
        assert 0 <= heat.max() <= line["strongest"] * 1.001


def test_the_page_tells_what_was_asked(maps: Path, run: Run) -> None:
    page = (maps / "report.html").read_text()
    for told in ("How to read it", "overview.png", "block2_2_relu", "small_cnn", "of each image"):
        assert told in page
    assert "Do overlapping windows agree?" not in page


def test_crops_that_overlap_are_compared_where_class_weights_are_asked_for(tmp_path: Path) -> None:
    cut = ConversionSettings(crop_px=20, stride_px=10, fractions=(0.5, 0.25, 0.25))
    crops = make_dataset(tmp_path, cut, count=4, shape=(40, 50))
    run = make_run(tmp_path / "run", crops, {"fit": "crop"})
    explain(run, crops.folder, tmp_path / "maps", count=2, weights="class")
    table = pd.read_csv(tmp_path / "maps" / "maps.csv")
    assert set(table["weights"]) == {"class"}
    found = json.loads((tmp_path / "maps" / "consistency.json").read_text())
    assert found["pairs"] > 0
    page = (tmp_path / "maps" / "report.html").read_text()
    assert "Both weights are the same" in page, "the score is linear in the last feature maps"
    explain(run, crops.folder, tmp_path / "maps", count=2)
    assert not (tmp_path / "maps" / "consistency.json").exists()


def test_unlabelled_images_of_four_channels_seen_through_a_window(tmp_path: Path) -> None:
    painted = make_dataset(
        tmp_path,
        ConversionSettings(channels=("dna", "er", "actin", "mito"), fractions=(0.5, 0.25, 0.25)),
        channels=4,
        count=4,
        shape=(40, 300),
    )
    run = make_run(tmp_path / "run", painted, {"fit": "crop"})
    fresh = write_images(tmp_path / "fresh", channels=4, count=1, shape=(40, 300), seed=4)
    for path in list(fresh.rglob("*.tif")):
        path.rename(fresh / path.name)
    overview = explain(run, fresh, tmp_path / "maps", target="predicted")
    table = pd.read_csv(overview.parent / "maps.csv")
    assert table["label"].isna().all()
    assert len(table) == 2
    picture = Image.open(overview.parent / table["file"][0])
    assert picture.width == 2 * 300 + 8
    with pytest.raises(InputError, match="none of the 2 examples has a label"):
        explain(run, fresh, tmp_path / "maps", target="label")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target": "dying"}, "predicted, label, or a class of the run: dead, living"),
        ({"layer": "logits"}, "no feature map of that name"),
        ({"count": 0}, "expected 1 or more"),
        ({"method": "guessing"}, "expected one of gradcam"),
        ({"weights": "plate"}, "expected one of image, class"),
        ({"method": "smoothgrad", "weights": "class"}, "belongs to Grad-CAM"),
        ({"maps": "jpeg"}, "expected one of tiff, ome-tiff"),
        ({"split": "holdout"}, "no examples in split holdout"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    run: Run, dataset: Dataset, tmp_path: Path, asked: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        explain(run, dataset.folder, tmp_path / "maps", **asked)
    assert not (tmp_path / "maps").exists()


def test_a_folder_of_others_is_refused(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"did not write .* give another --out"):
        explain(run, dataset.folder, tmp_path, count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_an_interrupted_call_left_is_no_folder_of_others(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    explain(run, dataset.folder, tmp_path, count=1)
    (tmp_path / "maps.csv").unlink()
    explain(run, dataset.folder, tmp_path, count=1)
    assert (tmp_path / "maps.csv").is_file()


def test_an_edited_shard_is_named_and_nothing_is_drawn(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset.folder, tmp_path / "copy"))
    shard = copy / dataset.shard_paths("test")[0].name
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=shard.name):
        explain(run, copy, tmp_path / "maps", count=1)
    assert not (tmp_path / "maps").exists()
    explain(run, copy, tmp_path / "maps", count=1, split="train")


def test_examples_are_spread_over_the_labels() -> None:
    examples = pd.DataFrame({"label": ["dead"] * 3 + ["living"] * 50 + [None] * 2})
    chosen = spread_over_labels(examples, 12, seed=0)
    assert chosen["label"].value_counts().to_dict() == {"living": 7, "dead": 3}
    assert chosen["label"].isna().sum() == 2
    assert len(spread_over_labels(examples, 500, seed=0)) == 55
    assert not chosen.equals(spread_over_labels(examples, 12, seed=1))


def test_channels_become_colours() -> None:
    image = np.random.default_rng(0).integers(0, 4096, (20, 20, 4), dtype=np.uint16)
    assert as_colours(image, ["a", "b", "c", "d"]).shape == (20, 20, 3)
    red = np.zeros((4, 4, 3), np.uint8)
    red[:2, :, 0] = 255
    shown = as_colours(red, ["red", "green", "blue"])
    assert (shown[:2] == [255, 0, 0]).all()
    assert (shown[2:] == 0).all()


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    assert shown_size((24, 30)) == (216, 270)
    assert shown_size((300, 700)) == (300, 700)
    assert shown_size((1024, 2048)) == (512, 1024)

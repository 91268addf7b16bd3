"""Whole frames get one map of their own size, in colours that mean the same in all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import make_dataset, make_run, write_images
from PIL import Image

from deadlib.errors import InputError
from deadlib.interpretation import explain, explain_frames
from deadlib.interpretation.maps import read_map
from deadlib.interpretation.pictures import as_colours, enlarged, with_heat
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, open_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained on windows of 16 x 16 px out of crops of 20 px."""
    folder = tmp_path_factory.mktemp("crops")
    cut = ConversionSettings(crop_px=20, stride_px=10, fractions=(0.5, 0.25, 0.25))
    dataset = make_dataset(folder, cut, count=4, shape=(40, 50))
    return make_run(folder / "run", dataset, {"fit": "crop"})


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("frames"), count=2, shape=(44, 61), seed=7)


@pytest.fixture(scope="module")
def maps(run: Run, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "maps"
    explain_frames(run, frames, out)
    return out


def test_each_frame_has_a_file_of_maps_and_a_picture_per_class(maps: Path) -> None:
    table = pd.read_csv(maps / "maps.csv")
    assert len(table) == 8
    assert table["map"].nunique() == 4
    assert set(table["target"]) == {"dead", "living"}
    assert (table["weights"] == "class").all()
    assert (table["stride_px"] == 8).all()
    for _, line in table.iterrows():
        heat = read_map(maps / line["map"])
        assert heat.shape == (2, 44, 61)
        plane = heat[["dead", "living"].index(line["target"])]
        assert plane.max() == pytest.approx(line["strongest"], rel=1e-3, abs=1e-6)
        assert Image.open(maps / line["file"]).size == (61, 44)
    names = {path.name for path in maps.iterdir()}
    others = {"overview.png", "maps.csv", "report.html", "consistency.json"}
    assert names == {*table["file"], *table["map"], *others}


def test_a_frame_of_one_window_has_the_map_of_that_image(run: Run, tmp_path: Path) -> None:
    small = write_images(tmp_path / "small", count=2, shape=(16, 16), seed=3)
    explain_frames(run, small, tmp_path / "frames", target="dead")
    cut = run.dataset["settings"] | {"crop_px": 16, "stride_px": 16}
    run.dataset["settings"], before = cut, run.dataset["settings"]
    try:
        asked = {"weights": "class", "target": "dead", "maps": "tiff"}
        explain(run, small, tmp_path / "images", **asked)
    finally:
        run.dataset["settings"] = before
    whole = pd.read_csv(tmp_path / "frames" / "maps.csv").set_index("example_id")["map"]
    single = pd.read_csv(tmp_path / "images" / "maps.csv").set_index("example_id")["map"]
    assert len(whole) == len(single) == 4
    for name, file in single.items():
        found = read_map(tmp_path / "frames" / whole[str(name).removesuffix("_y0_x0")])
        wanted = read_map(tmp_path / "images" / file)
        np.testing.assert_allclose(found, wanted, atol=1e-4 * max(wanted.max(), 1e-6) + 1e-9)


@pytest.mark.parametrize("section", [{"normalise": "per_image_16bit"}, {"equalise": True}], ids=str)
def test_statistics_are_those_of_as_much_as_in_training(
    section: dict[str, object], run: Run, tmp_path: Path
) -> None:
    """Those of crops of 20 px, of which the network sees 16: around a frame of 16 px its mirror."""
    asking = make_run(
        tmp_path / "run", open_dataset(run.dataset["path"]), {"fit": "crop", **section}
    )
    described = asking.folder / "dataset.json"
    changed = {**json.loads(described.read_text()), "image_shape": [20, 20]}
    described.write_text(json.dumps(changed))
    small = write_images(tmp_path / "small", count=2, shape=(16, 16), seed=3)
    for path in sorted(small.glob("*/*")):
        around = tmp_path / "around" / path.relative_to(small)
        around.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.pad(np.asarray(Image.open(path)), 2, mode="reflect")).save(around)
    explain_frames(asking.folder, small, tmp_path / "frames", target="dead", weights="image")
    asked = {"weights": "image", "target": "dead", "maps": "tiff"}
    explain(asking.folder, tmp_path / "around", tmp_path / "images", **asked)
    whole = pd.read_csv(tmp_path / "frames" / "maps.csv").set_index("example_id")["map"]
    single = pd.read_csv(tmp_path / "images" / "maps.csv").set_index("example_id")["map"]
    warm = 0
    for name, file in single.items():
        found = read_map(tmp_path / "frames" / whole[str(name).removesuffix("_y0_x0")])[0]
        wanted = read_map(tmp_path / "images" / file)[0, 2:-2, 2:-2]
        warm += wanted.max() > 0
        np.testing.assert_allclose(found, wanted, atol=1e-4 * max(wanted.max(), 1e-6) + 1e-9)
    assert warm


def test_one_colour_means_the_same_heat_in_every_frame(maps: Path, frames: Path) -> None:
    table = pd.read_csv(maps / "maps.csv")
    heats = {file: read_map(maps / file) for file in table["map"]}
    bright = max(float(np.percentile(heat, 99.9)) for heat in heats.values())
    for _, line in table.iterrows():
        plane = heats[line["map"]][["dead", "living"].index(line["target"])]
        image = np.asarray(Image.open(frames / line["example_id"]))[..., None]
        grey = enlarged(as_colours(image, ["grey"]), (44, 61))
        wanted = with_heat(grey, np.minimum(plane / bright, 1))
        found = Image.open(maps / line["file"])
        difference = np.asarray(found, int) - np.asarray(wanted, int)
        assert np.abs(difference).max() <= 3
    assert table["strongest"].min() < 0.8 * table["strongest"].max(), "or nothing was tested"


def test_how_well_windows_agree_is_written_and_shown(maps: Path) -> None:
    found = json.loads((maps / "consistency.json").read_text())
    assert found["pairs"] == 64
    assert found["by_class"]["correlation"] <= 1
    page = (maps / "report.html").read_text()
    assert "Do overlapping windows agree?" in page
    assert found["sentence"][1:] in page
    assert "16 x 16 px, every 8 px" in page


def test_some_frames_of_one_class_by_their_own_weights(
    run: Run, frames: Path, tmp_path: Path
) -> None:
    asked = {"target": "dead", "weights": "image", "count": 2, "maps": "tiff", "batch": 3}
    explain_frames(run, frames, tmp_path / "maps", stride_px=16, **asked)
    table = pd.read_csv(tmp_path / "maps" / "maps.csv")
    assert table["target"].tolist() == ["dead", "dead"]
    assert read_map(tmp_path / "maps" / table["map"][0]).shape == (1, 44, 61)
    assert not (tmp_path / "maps" / "consistency.json").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target": "label"}, "of whole frames, expected a class of the run: dead, living"),
        ({"stride_px": 0}, "expected 1 or more"),
        ({"count": 0}, "expected 1 or more"),
        ({"method": "scorecam", "weights": "class"}, "belongs to Grad-CAM"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    run: Run, frames: Path, tmp_path: Path, asked: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        explain_frames(run, frames, tmp_path / "maps", **asked)
    assert not (tmp_path / "maps").exists()


def test_frames_smaller_than_the_window_are_refused(run: Run, tmp_path: Path) -> None:
    small = write_images(tmp_path / "small", count=1, shape=(14, 40))
    with pytest.raises(InputError, match="smaller than the 16 x 16 px window"):
        explain_frames(run, small, tmp_path / "maps")


def test_a_run_on_images_of_many_sizes_has_no_window(frames: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, count=4)
    resized = make_run(tmp_path / "run", dataset)
    with pytest.raises(InputError, match="no size of window fits whole frames"):
        explain_frames(resized, frames, tmp_path / "maps")
    resized.dataset["image_shape"] = [24, 30]
    explain_frames(resized, frames, tmp_path / "maps", count=1)
    assert (pd.read_csv(tmp_path / "maps" / "maps.csv")["stride_px"] == 12).all()

"""The folder of class models holds what it says, and says where an ascent failed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from finished_run import make_dataset, make_run, write_images
from PIL import Image

from deadlib.errors import InputError
from deadlib.interpretation import class_models
from deadlib.interpretation.ascent import Jittered, Published, moments
from deadlib.interpretation.ascent_pictures import drawn
from deadlib.interpretation.class_model import ClassModel, sentences
from deadlib.runs import Run
from deadlib.videos import can_write_mp4
from tfrecords_tools.errors import WriteError

WAY = Published(step=0.3, iterations=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("class-model")
    return make_run(folder / "run", make_dataset(folder, count=4))


@pytest.fixture(scope="module")
def drawn_folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_models(run, tmp_path_factory.mktemp("drawn") / "models", way=WAY).parent


def test_each_class_and_start_has_its_picture_and_its_line(drawn_folder: Path) -> None:
    table = pd.read_csv(drawn_folder / "scores.csv")
    wanted = [(name, start) for name in ("dead", "living") for start in ("zeros", "opposite")]
    assert list(zip(table["class_name"], table["start"], strict=True)) == wanted
    from_images = table[table["start"] == "opposite"]
    assert (from_images["score_after"] > from_images["score_before"]).all()
    assert from_images["raised"].all()
    for _, line in table.iterrows():
        picture = Image.open(drawn_folder / line["file"])
        assert picture.size == (256, 256)
        if line["start"] == "opposite":
            assert line["start_label"] != line["class_name"]
    listed = json.loads((drawn_folder / "class_models.json").read_text())["files"]
    assert {*listed, "class_models.json"} == {path.name for path in drawn_folder.iterdir()}


def test_tiffs_hold_what_the_network_sees(drawn_folder: Path, run: Run) -> None:
    network = run.network()
    for k, line in pd.read_csv(drawn_folder / "scores.csv").iterrows():
        stem = drawn_folder / str(line["file"]).removesuffix(".png")
        values = tifffile.imread(stem.with_suffix(".tif"))
        assert values.dtype == np.float32
        scores = network.predict(values[None, ..., None], verbose=0)[0]
        assert scores[k // 2] == pytest.approx(line["score_after"], rel=1e-4, abs=1e-5)
        counts = tifffile.imread(f"{stem}-16bit.tif")
        assert counts.dtype == np.uint16
        np.testing.assert_allclose(counts / 65535 * 16 - 8, values, atol=16 / 65535)


def test_the_animation_shows_every_moment_and_ends_as_the_figure(drawn_folder: Path) -> None:
    figure = np.asarray(Image.open(drawn_folder / "class_models.png"), float)
    with Image.open(drawn_folder / "ascent.gif") as animation:
        assert animation.n_frames == len(moments(12))
        animation.seek(animation.n_frames - 1)
        last = np.asarray(animation.convert("RGB"), float)
    assert last.shape == figure.shape
    assert np.abs(last - figure).mean() < 3
    assert (drawn_folder / "ascent.mp4").is_file() == can_write_mp4()


def test_what_was_asked_is_what_is_drawn(run: Run, tmp_path: Path) -> None:
    way = Jittered(iterations=3, jitter_px=1)
    out = tmp_path / "models"
    class_models(run, out, way=way, starts=["zeros"], classes=["living"])
    table = pd.read_csv(out / "scores.csv")
    assert table[["class_name", "start"]].to_numpy().tolist() == [["living", "zeros"]]
    constants = json.loads((out / "class_models.json").read_text())["constants"]
    assert constants["jitter_px"] == 1
    (out / "notes.txt").write_text("mine")
    class_models(run, out, way=WAY, starts=["zeros"], classes=["dead"])
    assert not (out / table["file"][0]).exists(), "what an earlier call left is replaced"
    assert (out / "notes.txt").read_text() == "mine"


def test_the_image_of_another_class_comes_from_where_it_is_asked(run: Run, tmp_path: Path) -> None:
    fresh = write_images(tmp_path / "fresh", count=1, seed=7)
    out = tmp_path / "models"
    class_models(run, out, way=WAY, starts=["opposite"], source=fresh)
    assert pd.read_csv(out / "scores.csv")["start_example"].tolist() == [
        "living/living00.png",
        "dead/dead00.png",
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"classes": ["dying"]}, "expected one of dead, living"),
        ({"starts": ["noise"]}, "expected one of zeros, opposite"),
        ({"source": "nowhere"}, "use --start zeros"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    run: Run, tmp_path: Path, asked: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        class_models(run, tmp_path / "models", way=WAY, **asked)
    assert not (tmp_path / "models").exists()


def test_a_folder_of_others_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        class_models(run, tmp_path, way=WAY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen: list[str] = []
    with pytest.raises(WriteError, match="cannot be written"):
        class_models(
            run, tmp_path / "file" / "models", way=WAY, progress=lambda *told: seen.append(told[0])
        )
    assert seen == []


def line(**known: object) -> ClassModel:
    values: dict = {
        "file": "1-sick-from-zeros.png",
        "class_name": "sick",
        "start": "zeros",
        "start_example": "",
        "start_label": "",
        "score_before": 1.0,
        "score_after": 4.0,
        "probability_before": 0.5,
        "probability_after": 0.9,
        "raised": True,
        "at_limit_share": 0.0,
    }
    return ClassModel(**{**values, **known})


def test_a_failed_ascent_is_said_in_a_sentence() -> None:
    assert sentences([line()], Published()) == []
    [failed] = sentences([line(raised=False, score_after=0.5)], Published())
    assert "sick, from zeros: the ascent did not raise the score (1.00 to 0.50)" in failed
    assert "--step 1" in failed
    [unsure] = sentences([line(probability_after=0.4)], Published())
    assert "still not convinced" in unsure
    assert "more --iterations, or another --step" in unsure
    [crowded] = sentences([line(at_limit_share=0.3)], Jittered())
    assert "30% of the values stand at the limit of ±8" in crowded


def test_a_network_without_slope_at_an_empty_image_is_told_of(drawn_folder: Path) -> None:
    """Before training a rectified network is flat there: no step leads anywhere."""
    said = json.loads((drawn_folder / "class_models.json").read_text())["sentences"]
    assert len(said) == 2
    assert all("from zeros: the score has no slope at an empty image" in each for each in said)
    assert (tifffile.imread(drawn_folder / "1-dead-from-zeros.tif") == 0).all()


def test_zero_is_grey_and_stains_add_their_colours() -> None:
    grey = np.asarray(drawn(np.zeros((4, 4, 1)), 1, ["phase"]))
    assert (grey == 128).all()
    stains = np.zeros((4, 4, 4))
    stains[:2, :, 0], stains[2:, :, 1] = 1, -1
    painted = np.asarray(drawn(stains, 1, ["DNA", "ER", "AGP", "Mito"]))
    assert (painted[0, 0] == [0, 255, 255]).all()
    assert (painted[-1, -1] == 0).all()

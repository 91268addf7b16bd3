"""The page: what it says, what lies beside it, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from embedded_screen import screen
from finished_run import make_dataset

from deadlib.bootstrap import Resampling
from deadlib.embeddings import examine, figures, report
from deadlib.embeddings.maps import Setting
from deadlib.embeddings.pictures import display, shared_limits
from deadlib.errors import InputError, PredictionError
from deadlib.pages.drawing import Drawing

QUICK = {"permutations": 20, "resampling": Resampling(50), "setting": Setting("pca")}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    for name, shift in (("plain", 3.0), ("supcon", 0.0)):
        screen(plate_shift=shift).to_parquet(folder / f"{name}.parquet")
    return examine([folder / "plain.parquet", folder / "supcon.parquet"], folder / "out", **QUICK)


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of the time, and one test looks at figures."""
    for name in ("maps", "batch_effect"):
        monkeypatch.setattr(figures, name, lambda *_: Drawing("none", "none", b"", b""))


def test_two_tables_stand_in_one_and_the_difference_is_told(comparison):
    told = json.loads(comparison.with_name(report.NUMBERS).read_text())
    plain, supcon = told["tables"]["plain"], told["tables"]["supcon"]
    assert plain["questions"]["plate_controls"]["probe"]["value"] > 0.9
    gap = supcon["difference_to_first"]["plate_controls"]["probe"]
    assert gap["value"] < -0.3
    assert gap["high"] < 0
    lines = pd.read_csv(comparison.with_name(report.TABLE))
    assert set(lines["table"]) == {"plain", "supcon"}
    assert len(lines) == 2 * 7 * 3
    warned = [one["text"] for one in told["remarks"] if one["level"] == "warning"]
    assert sum("the embedding shows plate" in text for text in warned) == 1
    page = comparison.read_text()
    assert "over the same wells" in page
    assert "plain: the embedding shows plate" in page


def test_everything_lies_beside_the_page(comparison):
    names = {path.name for path in comparison.parent.iterdir()}
    assert names == {
        "embeddings.html", "embeddings.json", "batch_effect.csv", "coordinates.csv",
        "neighbours.csv", "figures", "plain_knn_1.parquet", "plain_knn_10.parquet",
        "supcon_knn_1.parquet", "supcon_knn_10.parquet",
    }  # fmt: skip
    coordinates = pd.read_csv(comparison.with_name(report.COORDINATES))
    assert len(coordinates) == 2 * 216
    assert {"table", "x", "y", "well", "label"} <= set(coordinates)
    assert {path.stem for path in (comparison.parent / "figures").iterdir()} == {
        "batch_effect", "map_plain", "map_supcon",
    }  # fmt: skip


def test_a_single_plate_is_no_error_but_says_what_to_do(write, tmp_path, no_figures):
    page = examine([write(plates=1)], tmp_path / "out", **QUICK)
    assert "nothing can be said of a batch effect" in page.read_text()


def test_unlabelled_rows_can_be_mapped(write, tmp_path, no_figures):
    frame = screen()
    frame["label"] = None
    page = examine([write(frame)], tmp_path / "out", **QUICK)
    told = json.loads(page.with_name(report.NUMBERS).read_text())["tables"].popitem()[1]
    assert set(told["questions"]) == {"plate", "plate_controls"}
    assert told["neighbours"] is None


def test_tables_of_other_wells_are_told_apart(write, tmp_path, no_figures):
    a, b = write(name="a.parquet"), write(screen(wells=12), name="b.parquet")
    page = examine([a, b], tmp_path / "out", **QUICK)
    assert "do not hold the same wells: 36 stand in all" in page.read_text()


def test_more_wells_than_a_probe_can_take_are_drawn(write, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr(report, "MOST_WELLS", 30)
    page = examine([write()], tmp_path / "out", **QUICK)
    questions = json.loads(page.with_name(report.NUMBERS).read_text())["tables"].popitem()[1]
    assert sum(questions["questions"]["class_new"]["wells"].values()) == 30


def test_a_column_or_a_well_that_is_not_there_is_named(write, tmp_path):
    path = write()
    with pytest.raises(PredictionError, match=r"no column viabilty.*did you mean viability"):
        examine([path], tmp_path / "out", colour_by=["viabilty"], **QUICK)
    with pytest.raises(InputError, match="no well P9/A01; wells are called as P1/A01"):
        examine([path], tmp_path / "out", queries=["P9/A01"], **QUICK)
    with pytest.raises(InputError, match="tell them apart with --name"):
        examine([path, path], tmp_path / "out", **QUICK)
    with pytest.raises(InputError, match="two tables are called my_net; tell them apart"):
        examine([path, path], tmp_path / "out", titles=["my net", "my_net"], **QUICK)
    assert not (tmp_path / "out").exists()


def test_pictures_of_wells_come_from_the_shards(tmp_path, no_figures):
    dataset = make_dataset(tmp_path, channels=2)
    frame = dataset.manifest[["example_id", "label", "split"]].copy()
    rng = np.random.default_rng(0)
    frame["plate"] = ["P1", "P2"] * (len(frame) // 2)
    frame["well"] = [f"A{place:02d}" for place in range(len(frame))]
    frame["embedding"] = list(rng.normal(size=(len(frame), 4)).astype(np.float32))
    frame["probability_dead"] = frame["probability_living"] = 0.5
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    page = examine([path], tmp_path / "out", dataset=dataset.folder, **QUICK).read_text()
    assert page.count("data:image/jpeg;base64,") > 12
    none = examine([path], tmp_path / "out", **QUICK).read_text()
    assert "give it with --dataset" in none
    assert "data:image/jpeg" not in none


def test_a_row_of_pictures_has_one_contrast():
    dark, bright = np.full((8, 8, 2), 10, np.uint16), np.full((8, 8, 2), 1000, np.uint16)
    limits = shared_limits([dark, bright])
    composite = [display(image, limits, "composite") for image in (dark, bright)]
    assert composite[0].max() == 0
    assert composite[1].min() > 100
    assert display(bright, limits, "grey").shape == (8, 16, 3)

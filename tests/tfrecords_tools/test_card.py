"""The data card and the contact sheet tell what the manifest and the records hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from tfrecords_tools import sheet
from tfrecords_tools.card import contact_sheet, data_card
from tfrecords_tools.dataset import open_dataset
from tfrecords_tools.errors import WriteError
from tfrecords_tools.images import examine
from tfrecords_tools.write import write_dataset


@pytest.fixture
def dataset(make_small_plan, tmp_path):
    return write_dataset(make_small_plan(), tmp_path / "out")


def test_the_card_counts_examples_by_split_and_class(dataset):
    card = data_card(dataset)
    counts = dataset.manifest.groupby(["split", "label"]).size()
    assert card["counts"] == {
        split: {label: counts.get((split, label), 0) for label in ("dead", "living")}
        for split in ("train", "validation", "test")
    }
    assert (card["examples"], card["images"], card["groups"]) == (12, 6, 6)
    assert card["example_sizes"] == [{"height_px": 12, "width_px": 12, "examples": 12}]


def test_the_card_describes_every_metadata_column(dataset):
    columns = data_card(dataset)["columns"]
    assert columns.keys() == {"well", "row", "time_hours", "treatment"}
    assert columns["well"]["by_split"] == {"train": 2, "validation": 2, "test": 2}
    assert columns["row"]["by_class"] == {"B": {"dead": 6, "living": 6}}
    assert columns["time_hours"]["absent"] == 2
    assert (columns["time_hours"]["low"], columns["time_hours"]["high"]) == (1.5, 7.5)
    assert columns["treatment"] == {
        "values": 1,
        "absent": 2,
        "by_split": {"train": 1, "validation": 1, "test": 1},
        "by_class": {"light": {"dead": 4, "living": 6}},
    }


def test_the_card_carries_proof_warnings_and_what_was_left_out(dataset):
    card = data_card(dataset)
    assert card["split"]["proof"] == ["6 wells, none in two splits"]
    assert card["warnings"] == ["the class follows the plate"]
    assert card["skipped"] == [{"path": "broken.png", "reason": "the file is empty"}]
    assert card["intensity"]["phase"] == {"low": 0.0, "high": 4095.0, "dtypes": ["uint16"]}


def test_the_card_is_plain_json(dataset):
    card = data_card(open_dataset(dataset.folder))
    assert json.loads(json.dumps(card, allow_nan=False)) == card


def test_examples_without_a_label_are_counted_apart(make_small_plan, tmp_path):
    plan = make_small_plan()
    plan.examples.loc[:2, "label"] = None
    plan.examples.loc[:2, "class_index"] = -1
    dataset = write_dataset(plan, tmp_path / "unlabelled")
    assert data_card(dataset)["counts"]["train"]["unlabelled"] == 3
    assert contact_sheet(dataset, tmp_path / "sheet.png").exists()


def test_the_sheet_has_a_row_of_pictures_for_every_class(dataset, tmp_path):
    path = contact_sheet(dataset, tmp_path / "new" / "sheet.png", per_class=3)
    again = contact_sheet(dataset, tmp_path / "again.png", per_class=3)
    other = contact_sheet(dataset, tmp_path / "other.png", per_class=3, seed=1)
    assert path.read_bytes() == again.read_bytes() != other.read_bytes()
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    inked = (pixels < 255).any(axis=(1, 2))
    blocks = np.flatnonzero(np.diff(inked.astype(int)) == 1)
    assert pixels.shape[0] > 2 * 132
    assert len(blocks) >= 4  # title and two classes


def test_the_sheet_shows_one_of_every_group_before_a_second_of_any(dataset):
    chosen = sheet._choose(dataset, per_class=3, seed=0)
    for rows in chosen.values():
        assert dataset.manifest["group"].iloc[rows].nunique() == 3


def test_the_sheet_shows_each_channel_by_itself_and_together(make_small_plan, tmp_path):
    plan = make_small_plan(images=2)
    rng = np.random.default_rng(0)
    for number in range(2):
        planes = rng.integers(0, 4000, (4, 12, 24), dtype=np.uint16)
        path = plan.source / f"image{number}.tif"
        tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
        mine = plan.examples["source_id"] == f"image{number}.png"
        facts = examine([path])
        plan.examples.loc[mine, ["image_sha256", "image_crc32c"]] = facts.sha256, facts.crc32c
    plan.examples["source_paths"] = [
        [file.replace(".png", ".tif")] for file in plan.examples["source_id"]
    ]
    four = replace(plan, channels=("DNA", "ER", "AGP", "Mito"))
    one = contact_sheet(write_dataset(make_small_plan(), tmp_path / "one"), tmp_path / "one.png")
    many = contact_sheet(write_dataset(four, tmp_path / "four"), tmp_path / "four.png")
    with Image.open(one) as small, Image.open(many) as large:
        assert large.height > 3.5 * small.height


def test_contrast_is_stretched_between_percentiles_and_flat_images_are_grey():
    values = np.r_[np.linspace(100, 200, 999), 60000.0].reshape(25, 40)
    stretched = sheet.stretched(values, *sheet.stretch_limits(values))
    assert stretched.min() == 0
    assert 0.4 < np.median(stretched) < 0.6
    flat = np.full((3, 3), 7, np.uint8)
    assert (sheet.stretched(flat, *sheet.stretch_limits(flat)) == 0.5).all()


def test_long_names_keep_their_ends():
    short = sheet.shortened("U2_DMSO2_1H_RGB_0052_N3.png_01_02", sheet.font(11), 132)
    assert short.startswith("U2")
    assert short.endswith("01_02")
    assert sheet.font(11).getlength(short) <= 132


def test_a_sheet_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"sheet.png: the picture cannot be written"):
        contact_sheet(dataset, tmp_path / "file" / "sheet.png")

"""Images and crops that annotators settled become examples; sequences are in test_sequences.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfrecords_tools.append import addition_settings, plan_addition
from tfrecords_tools.conversion import convert
from tfrecords_tools.dataset import open_dataset
from tfrecords_tools.errors import ImageError, PlanError
from tfrecords_tools.plan import make_plan
from tfrecords_tools.records import decode_example
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.tfrecord import read_record
from tfrecords_tools.verify import verify_dataset
from tfrecords_tools.view import View, viewed

SETTINGS = ConversionSettings(
    labels="annotations", annotations="log.csv", fractions=(0.5, 0.25, 0.25), find_similar=False
)
NAMES = [f"field/{number:02}.png" for number in range(12)]
HEADER = "annotator,item,path,top_px,left_px,height_px,width_px,response,served"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images of 16 x 24 px."""
    source = tmp_path / "images"
    (source / "field").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (16, 24), dtype=np.uint8)).save(source / name)
    return source


def write_log(folder: Path, said: dict[str, str], *more: str) -> None:
    """The answers to whole images: a letter for each annotator, ? for unsure."""
    answer = {"?": "Unsure"}
    rows = [
        f"annotator{place},{name},{name},,,,,{answer.get(letter, letter)},fresh"
        for name, letters in said.items()
        for place, letter in enumerate(letters)
    ]
    (folder / "log.csv").write_text("\n".join([HEADER, *rows, *more]) + "\n")


CLEAR = {name: "AA" if place % 2 else "BB" for place, name in enumerate(NAMES[:8])}
DOUBTED = {NAMES[8]: "AAB", NAMES[9]: "AB", NAMES[10]: "A?", NAMES[11]: "??"}


def test_whole_images_take_the_label_that_all_gave(folder: Path) -> None:
    write_log(folder, CLEAR | DOUBTED)
    plan = make_plan(folder, SETTINGS)
    labels = dict(zip(plan.examples["example_id"], plan.examples["label"], strict=True))
    assert labels == {name: letters[0] for name, letters in CLEAR.items()}
    assert set(plan.examples["width_px"]) == {24}
    assert not plan.examples.filter(like="votes_").size
    assert plan.audit["notes"][-1].endswith(
        "4 A and 4 B kept; left out are 2 with an unsure answer and 2 with answers that differ"
    )


def test_votes_keep_the_shares_in_manifest_records_and_views(folder: Path, tmp_path: Path) -> None:
    write_log(folder, CLEAR | DOUBTED)
    dataset = convert(folder, tmp_path / "dataset", replace(SETTINGS, agreement="votes"))
    manifest = dataset.manifest.set_index("example_id")
    assert len(manifest) == 11
    shares = manifest[["votes_A", "votes_B", "votes_unsure"]]
    assert shares.loc[NAMES[8]].tolist() == [2 / 3, 1 / 3, 0]
    assert shares.loc[NAMES[10]].tolist() == [0.5, 0, 0.5]
    place = manifest.loc[NAMES[8]]
    record = read_record(dataset.folder / str(place["shard"]), int(place["index"]))
    _, features = decode_example(record)
    assert features["metadata"]["votes_A"] == pytest.approx(2 / 3)
    assert verify_dataset(dataset.folder).damaged == []
    seen = viewed(open_dataset(dataset.folder), View(where=("votes_unsure == 0",)))
    assert seen.manifest.loc[seen.manifest["split"].notna(), "votes_A"].notna().all()
    assert not any("votes" in sentence for sentence in dataset.info["audit"]["warnings"])


def test_a_longer_log_adds_its_items_with_their_shares(folder: Path, tmp_path: Path) -> None:
    write_log(folder, CLEAR)
    dataset = convert(folder, tmp_path / "dataset", replace(SETTINGS, agreement="votes"))
    write_log(folder, CLEAR | DOUBTED)
    plan = plan_addition(dataset, folder, addition_settings(dataset, {}))
    assert plan.new_examples == 3
    shares = plan.examples.set_index("example_id")["votes_A"]
    assert shares[NAMES[8]] == pytest.approx(2 / 3)
    assert shares[NAMES[0]] == 0


def test_an_adjudicated_image_is_kept_with_the_answer_decided_on(folder: Path) -> None:
    write_log(folder, CLEAR | DOUBTED, f"zoe,{NAMES[9]},{NAMES[9]},,,,,B,adjudicated")
    plan = make_plan(folder, SETTINGS)
    labels = plan.examples.set_index("example_id")["label"]
    assert labels[NAMES[9]] == "B"
    assert plan.audit["notes"][-1].endswith("1 are adjudicated")


def test_crops_are_cut_where_they_were_seen_and_named_as_they_were(folder: Path) -> None:
    rows = [
        f"anna,{item},{name},8,8,8,8,{'AB'[place % 2]},fresh"
        for place, name in enumerate(NAMES)
        for item in [f"{name}_y8_x8" if place < 6 else f"cell{place}"]
    ]
    write_log(folder, {}, *rows)
    plan = make_plan(folder, SETTINGS)
    examples = plan.examples
    assert set(zip(examples["top_px"], examples["left_px"], strict=True)) == {(8, 8)}
    assert f"{NAMES[0]}_y8_x8" in set(examples["example_id"])
    assert f"{NAMES[7]}_cell7" in set(examples["example_id"])
    assert plan.settings.crop_px == 8


def test_channel_files_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    for number in range(8):
        for channel in ("DNA", "ER"):
            pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"f{number}_{channel}.png")
    said = {f"f{number}_{{channel}}.png": "AB"[number % 2] for number in range(4)}
    said |= {f"f{number}_ER.png": "AB"[number % 2] for number in range(4, 8)}
    write_log(tmp_path, said)
    settings = replace(SETTINGS, pattern="{field}_{channel}.png", channels=("DNA", "ER"))
    examples = make_plan(tmp_path, settings).examples
    assert len(examples) == 8
    assert all(len(paths) == 2 for paths in examples["source_paths"])


def test_an_image_that_is_not_there_is_named_with_the_nearest(folder: Path) -> None:
    write_log(folder, CLEAR | {"field/{0}7x.png": "A"})
    with pytest.raises(ImageError, match=r"no image field/\{0\}7x.png; did you mean field/07.png"):
        make_plan(folder, SETTINGS)
    left = make_plan(folder, replace(SETTINGS, on_bad_image="skip"))
    assert len(left.examples) == len(CLEAR)


def test_a_log_of_other_images_names_them(folder: Path) -> None:
    write_log(folder, {"elsewhere/00.png": "A", "elsewhere/01.png": "B"})
    with pytest.raises(ImageError, match=r"no image elsewhere/01.png; did you mean field/01.png"):
        make_plan(folder, SETTINGS)


def test_a_window_outside_of_the_image_is_named(folder: Path) -> None:
    write_log(folder, CLEAR, f"anna,far,{NAMES[8]},8,24,8,8,A,fresh")
    with pytest.raises(ImageError, match=r"item far.*leaves the frame"):
        make_plan(folder, SETTINGS)


def test_a_window_over_the_border_is_mirrored_there(folder: Path, tmp_path: Path) -> None:
    write_log(folder, CLEAR, f"anna,{NAMES[8]}_box1,{NAMES[8]},-2,20,8,8,A,fresh")
    dataset = convert(folder, tmp_path / "dataset", replace(SETTINGS, allow_mixed=True))
    row = dataset.manifest["example_id"].tolist().index(f"{NAMES[8]}_box1")
    pixels = np.asarray(Image.open(folder / NAMES[8]))
    expected = pixels[np.ix_([2, 1, 0, 1, 2, 3, 4, 5], [20, 21, 22, 23, 22, 21, 20, 19])]
    assert (dataset.read_example(row)[..., 0] == expected).all()


def test_items_that_would_have_one_name_are_refused(folder: Path) -> None:
    other = f"anna,b,{NAMES[8]},0,0,8,8,A,fresh"
    write_log(folder, CLEAR, other, f"anna,{NAMES[8]}_b,{NAMES[8]},8,8,8,8,A,fresh")
    with pytest.raises(PlanError, match=r"two items would both become example field/08\.png_b"):
        make_plan(folder, SETTINGS)


def test_agreement_is_asked_of_annotators_only() -> None:
    with pytest.raises(PlanError, match="agreement votes is one of annotators"):
        ConversionSettings(agreement="votes")
    with pytest.raises(PlanError, match="agreement: 'most'; expected one of concordance"):
        replace(SETTINGS, agreement="most")


def test_what_was_read_is_what_was_written(folder: Path, tmp_path: Path) -> None:
    """A log that pandas writes back gives the same plan."""
    write_log(folder, CLEAR | DOUBTED)
    first = make_plan(folder, SETTINGS).examples
    pd.read_csv(folder / "log.csv").to_csv(folder / "log.csv", index=False)
    assert make_plan(folder, SETTINGS).examples.equals(first)

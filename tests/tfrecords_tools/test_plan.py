"""The plan as a whole: real small images in, an audited table of examples out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from tfrecords_tools import ConversionSettings, ImageError, LeakError, Plan, PlanError, make_plan
from tfrecords_tools.images import read_stack


def write_image(
    path: Path, number: int, *, side_px: int = 8, dtype: str = "uint8", channels: int = 1
) -> None:
    """A small image whose pixels differ with `number` in every place."""
    rng = np.random.default_rng(number)
    shape = (side_px, side_px, channels) if channels > 1 else (side_px, side_px)
    pixels = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        planar = {"planarconfig": "contig"} if channels > 1 else {}
        tifffile.imwrite(path, pixels, photometric="minisblack", **planar)
    else:
        Image.fromarray(pixels).save(path)


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for number in range(20):
        write_image(source / ("dead", "living")[number % 2] / f"image{number}.png", number)
    return source


def by_split(plan: Plan, column: str) -> dict[str, set[str]]:
    return {name: set(found) for name, found in plan.examples.groupby("split")[column]}


def test_a_plan_says_all_of_every_example(two_classes: Path) -> None:
    plan = make_plan(two_classes)
    assert list(plan.examples) == [
        *("example_id", "split", "label", "class_index", "group", "source_id", "source_paths"),
        *("top_px", "left_px", "height_px", "width_px", "image_sha256", "image_crc32c"),
        *("shard", "index"),
    ]
    assert len(plan.examples) == 20
    assert (plan.classes, plan.channels, plan.name) == (
        ("dead", "living"),
        ("intensity",),
        "source",
    )
    splits = by_split(plan, "label")
    assert set(splits) == {"train", "validation", "test"}
    assert all(labels == {"dead", "living"} for labels in splits.values())
    for row in plan.examples.itertuples():
        assert plan.classes[row.class_index] == row.label == row.source_id.split("/")[0]
        assert (row.height_px, row.width_px, row.source_paths) == (8, 8, [row.source_id])
    assert plan.facts["sizes"] == [{"height_px": 8, "width_px": 8, "images": 20}]
    json.dumps([plan.split_info, plan.audit, plan.facts, plan.skipped])


def test_a_plan_depends_on_files_and_settings_alone(two_classes: Path) -> None:
    first, again = (make_plan(two_classes, workers=workers) for workers in (1, 2))
    pd.testing.assert_frame_equal(first.examples, again.examples)
    assert (first.split_info, first.audit, first.facts) == (
        again.split_info,
        again.audit,
        again.facts,
    )


def test_a_pool_of_processes_gives_the_same_plan(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = make_plan(two_classes)
    monkeypatch.setattr("tfrecords_tools.examine._IMAGES_WORTH_A_POOL", 1)
    pd.testing.assert_frame_equal(make_plan(two_classes, workers=2).examples, alone.examples)


def test_identical_images_go_to_one_split_whatever_their_names(two_classes: Path) -> None:
    for copy in range(4):
        image = Image.open(two_classes / "dead" / "image0.png")
        image.save(two_classes / "dead" / f"other{copy}.bmp")
    plan = make_plan(two_classes)
    copies = plan.examples[plan.examples["source_id"].str.contains("other|image0.png")]
    assert len(copies) == 5
    assert copies["split"].nunique() == copies["group"].nunique() == 1
    assert plan.audit["identical_groups"][0][0] == "dead/image0.png"
    assert any("identical images" in warning for warning in plan.audit["warnings"])


def test_identical_images_with_different_labels_are_listed(two_classes: Path) -> None:
    (two_classes / "living" / "copy.png").write_bytes(
        (two_classes / "dead" / "image0.png").read_bytes()
    )
    plan = make_plan(two_classes)
    (pair,) = plan.audit["conflicting_labels"]
    assert {item["label"] for item in pair} == {"dead", "living"}
    assert any(
        "dead/image0.png (dead) = living/copy.png" in text for text in plan.audit["warnings"]
    )


def test_blank_images_are_said_and_join_nothing(two_classes: Path) -> None:
    for number in range(8):
        blank = Image.fromarray(np.full((8, 8), 7, dtype=np.uint8))
        blank.save(two_classes / "dead" / f"blank{number}.png")
    plan = make_plan(two_classes)
    assert plan.examples["group"].nunique() == 28
    assert any("8 images are blank" in warning for warning in plan.audit["warnings"])


def test_holding_out_one_of_two_identical_images_is_refused(two_classes: Path) -> None:
    (two_classes / "dead" / "copy.png").write_bytes(
        (two_classes / "dead" / "image0.png").read_bytes()
    )
    settings = ConversionSettings(hold_out=("source_id=dead/copy.png",))
    with pytest.raises(LeakError, match=r"dead/image0.png; test: dead/copy.png"):
        make_plan(two_classes, settings)


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    """Two plates of wells with two fields each; two channel files per field; labels in a table."""
    source, rows = tmp_path / "plates", []
    for number in range(32):
        plate, well, field = number // 16 + 1, f"B{number // 2 % 8 + 1:02}", number % 2 + 1
        name = f"P{plate}/{well}_f{field}"
        for place, channel in enumerate(("DNA", "ER")):
            write_image(source / f"{name}_{channel}.tif", 100 * place + number, dtype="uint16")
        label = ("dead", "living")[number // 2 % 2]
        rows.append((f"{name}_{{channel}}.tif", label, plate, well))
    table = pd.DataFrame(rows, columns=["path", "label", "plate", "well"])
    table.to_csv(source / "labels.csv", index=False)
    return source


def plate_settings(**more: Any) -> ConversionSettings:
    return ConversionSettings(
        **{"labels": "table", "table": "labels.csv", "channels": ("ER", "DNA"), **more}
    )


def test_channel_files_become_the_channels_of_one_image(plates: Path) -> None:
    plan = make_plan(plates, plate_settings())
    assert plan.channels == ("ER", "DNA")
    row = plan.examples.iloc[0]
    stack = read_stack([plates / path for path in row["source_paths"]])
    assert [path[-6:] for path in row["source_paths"]] == ["ER.tif", "NA.tif"]
    assert stack.shape == (8, 8, 2)
    assert plan.facts["intensity"]["DNA"]["dtypes"] == ["uint16"]


def test_a_well_never_crosses_splits(plates: Path) -> None:
    plan = make_plan(plates, plate_settings())
    assert plan.split_info["by"] == ["plate", "well"]
    wells = plan.examples.groupby(["plate", "well"])
    assert wells.ngroups == 16
    assert wells["split"].nunique().max() == 1
    assert any("16 groups (plate / well)" in sentence for sentence in plan.split_info["proof"])


def test_a_whole_plate_is_held_out_by_name(plates: Path) -> None:
    plan = make_plan(plates, plate_settings(hold_out=("plate=2",)))
    assert by_split(plan, "plate")["test"] == {"2"}
    assert by_split(plan, "plate")["train"] == {"1"}


def test_a_missing_channel_stops_the_plan_by_name(plates: Path) -> None:
    (plates / "P1" / "B01_f1_ER.tif").unlink()
    with pytest.raises(ImageError, match=r"B01_f1_\{channel\}.tif: channel ER is missing"):
        make_plan(plates, plate_settings())
    plan = make_plan(plates, plate_settings(on_bad_image="skip"))
    assert len(plan.examples) == 31
    assert plan.skipped[0]["path"] == "P1/B01_f1_{channel}.tif"


def test_a_plate_of_each_class_is_said_loudly(plates: Path) -> None:
    table = pd.read_csv(plates / "labels.csv")
    table["label"] = table["plate"].map({1: "dead", 2: "living"})
    table.to_csv(plates / "labels.csv", index=False)
    plan = make_plan(plates, plate_settings())
    (found,) = plan.audit["confounding"]
    assert (found["column"], found["accuracy_from_column"], found["cramers_v"]) == ("plate", 1, 1)
    assert found["sentence"] in plan.audit["warnings"]


def test_images_of_each_class_in_another_format_are_said_loudly(tmp_path: Path) -> None:
    for number in range(40):
        label, dtype = (("dead", "uint8"), ("living", "uint16"))[number % 2]
        write_image(tmp_path / label / f"{number}.png", number, dtype=dtype, side_px=8 + number % 2)
    plan = make_plan(tmp_path)
    assert {item["column"] for item in plan.audit["confounding"]} == {"bit_depth", "image_size"}


def test_bad_images_are_named_together_with_what_to_do(two_classes: Path) -> None:
    truncated = (two_classes / "dead" / "image2.png").read_bytes()[:60]
    (two_classes / "dead" / "image2.png").write_bytes(truncated)
    (two_classes / "dead" / "image4.png").write_bytes(b"")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(two_classes / "dead" / "jpeg.jpg")
    (two_classes / "dead" / "jpeg.jpg").rename(two_classes / "dead" / "image6.png")
    write_image(two_classes / "living" / "image1.png", 1, side_px=9)
    nan = np.full((8, 8), np.nan, np.float32)
    tifffile.imwrite(two_classes / "living" / "nan.tif", nan)
    write_image(two_classes / "living" / "rgb.png", 5, channels=3)
    with pytest.raises(ImageError) as caught:
        make_plan(two_classes)
    message = str(caught.value)
    lines = message.splitlines()
    assert lines[0] == "6 images or rows cannot be used:"
    expected = {
        "dead/image2.png": "damaged or cut",
        "dead/image4.png": "0 bytes",
        "dead/image6.png": "content is JPEG",
        "living/image1.png": "9 x 9 px (rows x columns), expected 8 x 8 px",
        "living/nan.tif": "not finite",
        "living/rgb.png": "3 channels, expected 1",
    }
    for line, (path, reason) in zip(lines[1:7], expected.items(), strict=True):
        assert line.startswith(f"  {path}: ")
        assert reason in line
    assert "--on-bad-image skip" in message
    plan = make_plan(two_classes, ConversionSettings(on_bad_image="skip"))
    assert {item["path"] for item in plan.skipped} == set(expected)
    assert len(plan.examples) == 16


def test_one_image_of_another_depth_is_refused_unless_accepted(two_classes: Path) -> None:
    write_image(two_classes / "dead" / "deep.png", 50, dtype="uint16")
    with pytest.raises(ImageError, match=r"dead/deep.png: uint16 pixels, expected uint8"):
        make_plan(two_classes)
    assert len(make_plan(two_classes, ConversionSettings(allow_mixed=True)).examples) == 21


def test_one_odd_image_among_few_is_refused(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", number, side_px=9 if number == 2 else 8)
    with pytest.raises(ImageError, match=r"2.png: 9 x 9 px"):
        make_plan(tmp_path, ConversionSettings(labels="none"))


def test_truly_mixed_sizes_are_accepted(two_classes: Path) -> None:
    for number in range(5):
        write_image(two_classes / "dead" / f"large{number}.png", 60 + number, side_px=12)
    assert len(make_plan(two_classes).facts["sizes"]) == 2


def test_as_many_names_as_channels(two_classes: Path) -> None:
    with pytest.raises(PlanError, match=r"names 2 .*the images have 1"):
        make_plan(two_classes, ConversionSettings(channels=("a", "b")))
    assert make_plan(two_classes, ConversionSettings(channels=("phase",))).channels == ("phase",)


@pytest.mark.parametrize(
    ("suffix", "channels", "names"),
    [
        (".png", 3, ("red", "green", "blue")),
        (".tif", 5, tuple(f"channel_{n}" for n in range(1, 6))),
    ],
)
def test_channels_without_names_get_some(
    tmp_path: Path, suffix: str, channels: int, names: tuple[str, ...]
) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}{suffix}", number, channels=channels)
    assert make_plan(tmp_path, ConversionSettings(labels="none")).channels == names


def test_tiles_of_an_image_stay_together(two_classes: Path) -> None:
    plan = make_plan(two_classes, ConversionSettings(tile=(2, 2)))
    assert len(plan.examples) == 80
    assert plan.examples.groupby("source_id")["split"].nunique().max() == 1
    first = plan.examples[plan.examples["source_id"] == "dead/image0.png"]
    assert first["example_id"].tolist() == [
        f"dead/image0.png_{row:02}_{column:02}" for row in (1, 2) for column in (1, 2)
    ]
    assert first[["tile_row", "tile_column"]].values.tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert first[["top_px", "left_px"]].values.tolist() == [[0, 0], [0, 4], [4, 0], [4, 4]]


def test_parting_tiles_must_be_asked_for_and_is_warned_of(two_classes: Path) -> None:
    plan = make_plan(two_classes, ConversionSettings(tile=(2, 2), split_by=("example",)))
    assert plan.examples.groupby("source_id")["split"].nunique().max() > 1
    assert any("split by example" in warning for warning in plan.audit["warnings"])


def test_an_image_too_small_for_a_crop_is_a_problem(two_classes: Path) -> None:
    write_image(two_classes / "dead" / "small.png", 99, side_px=4)
    with pytest.raises(ImageError, match=r"dead/small.png: 4 x 4 px, too small for a crop of 6 px"):
        make_plan(two_classes, ConversionSettings(crop_px=6))


@pytest.fixture
def cells(two_classes: Path) -> Path:
    rows = ["path,label,xmin,ymin,xmax,ymax"]
    for number in range(20):
        folder = ("dead", "living")[number % 2]
        rows += [f"{folder}/image{number}.png,{name},0,2,4,6" for name in ("dead", "living")]
    (two_classes / "cells.csv").write_text("\n".join(rows))
    return two_classes


def test_each_box_is_an_example(cells: Path) -> None:
    settings = ConversionSettings(labels="boxes", table="cells.csv", context=0.5)
    plan = make_plan(cells, settings)
    first = plan.examples[plan.examples["source_id"] == "dead/image0.png"]
    assert first["example_id"].tolist() == ["dead/image0.png_box1", "dead/image0.png_box2"]
    assert first["label"].tolist() == ["dead", "living"]
    assert (
        first[["top_px", "left_px", "height_px", "width_px"]].values.tolist() == [[1, -1, 6, 6]] * 2
    )
    assert plan.examples.groupby("source_id")["split"].nunique().max() == 1
    assert plan.settings.table == "cells.csv"


def test_a_box_outside_its_image_is_a_problem_of_that_row(cells: Path) -> None:
    with (cells / "cells.csv").open("a") as file:
        file.write("\ndead/image0.png,dead,4,4,9,6\ndead/image0.png,dead,4,4,4,6\n")
    settings = ConversionSettings(labels="boxes", table="cells.csv", on_bad_image="skip")
    plan = make_plan(cells, settings)
    assert len(plan.examples) == 40
    reasons = [item["reason"] for item in plan.skipped]
    assert any("row 42" in text and "leaves the image (8 wide, 8 high)" in text for text in reasons)
    assert any("row 43" in text and "is empty" in text for text in reasons)


def test_new_images_are_planned_as_a_run_was_trained(cells: Path, tmp_path: Path) -> None:
    trained = make_plan(cells, ConversionSettings(labels="boxes", table="cells.csv", context=0.5))
    plan = make_plan(cells, trained.settings.for_prediction(), classes=("living", "dead"))
    assert set(plan.examples["split"]) == {"test"}
    assert plan.classes == ("living", "dead")
    assert set(zip(plan.examples["label"], plan.examples["class_index"], strict=True)) == {
        ("living", 0),
        ("dead", 1),
    }
    write_image(tmp_path / "new" / "a.png", 1)
    unlabelled = make_plan(
        tmp_path / "new", ConversionSettings().for_prediction(), classes=("dead", "living")
    )
    assert unlabelled.examples["label"].tolist() == [None]
    assert unlabelled.examples["class_index"].tolist() == [-1]


def test_one_class_is_no_classification(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png", 1)
    with pytest.raises(PlanError, match="every label is images, expected two classes"):
        make_plan(tmp_path)


def test_a_class_with_one_image_is_refused_by_name(two_classes: Path) -> None:
    write_image(two_classes / "sick" / "only.png", 77)
    with pytest.raises(PlanError, match=r"class sick: 1 group \(image\) with 1 example"):
        make_plan(two_classes)


def test_shards_are_of_like_length_and_hold_both_classes(two_classes: Path) -> None:
    plan = make_plan(two_classes, ConversionSettings(examples_per_shard=5, name="cells"))
    train = plan.examples[plan.examples["split"] == "train"]
    assert train["shard"].unique().tolist() == [
        f"cells-train.tfrecord-{place:05}" for place in range(3)
    ]
    sizes = train.groupby("shard").size()
    assert sizes.max() - sizes.min() <= 1
    assert train["label"].iloc[:7].nunique() == 2
    for _, rows in plan.examples.groupby("shard"):
        assert rows["index"].tolist() == list(range(len(rows)))


def test_a_name_that_is_no_file_name_is_refused(two_classes: Path) -> None:
    with pytest.raises(PlanError, match="letters, digits"):
        make_plan(two_classes, ConversionSettings(name="a/b"))


def test_the_real_boxes_are_planned_with_their_traps(real_data: Path) -> None:
    source = real_data / "ldc_brightfield_livedead"
    if not source.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {source} not found")
    plan = make_plan(source, ConversionSettings(labels="boxes", table="cells.csv", context=0.5))
    assert plan.examples["label"].value_counts().to_dict() == {"living": 2781, "dead": 749}
    assert plan.facts["dtypes"].keys() == {"uint8", "uint16"}
    published = pd.read_csv(source / "metadata.csv")
    pixels = dict(zip(published["path"], published["pixel_md5"], strict=True))
    by_pixels = plan.examples["source_id"].map(pixels)
    assert plan.examples.groupby(by_pixels)["split"].nunique().max() == 1
    assert plan.examples.groupby(by_pixels)["image_sha256"].nunique().max() == 1
    conflicts = {
        item["example_id"].split("_box")[0] for c in plan.audit["conflicting_labels"] for item in c
    }
    assert {"images/image281.png", "images/image_1030.png"} <= conflicts


def test_the_confounded_real_images_are_said_to_be(real_data: Path) -> None:
    source = real_data / "celldeath_u2os" / "images"
    if not source.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {source} not found")
    plan = make_plan(source, ConversionSettings(labels="pattern", pattern="celldeath", tile=(2, 2)))
    (found,) = plan.audit["confounding"]
    assert found["column"] == "experiment"
    assert found["accuracy_from_column"] > 0.9
    assert "No honest split by experiment exists" in found["sentence"]

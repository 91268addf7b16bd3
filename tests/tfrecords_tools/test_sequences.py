"""Sequences of crops: listed for annotation, and made into examples by an annotation log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfrecords_tools.append import addition_settings, plan_addition
from tfrecords_tools.conversion import convert
from tfrecords_tools.discover import discover
from tfrecords_tools.errors import ImageError, PlanError, SourceError
from tfrecords_tools.plan import make_plan
from tfrecords_tools.sequences import sequence_table
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.verify import verify_dataset

PATTERN = "{position}_t{time_index}.png"
SETTINGS = ConversionSettings(
    labels="annotations",
    annotations="log.csv",
    pattern=PATTERN,
    fractions=(0.5, 0.25, 0.25),
)
POSITIONS = [f"P{number:02}" for number in range(1, 9)]
FRAMES = 5
HEIGHT, WIDTH, SIDE = 16, 24, 8


@pytest.fixture
def lapses(tmp_path: Path) -> Path:
    """Eight positions of five frames, 16 x 24 px: six crops of 8 px that do not overlap."""
    folder = tmp_path / "lapses"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for position in POSITIONS:
        for frame in range(FRAMES):
            pixels = rng.integers(0, 4096, (HEIGHT, WIDTH), dtype=np.uint16)
            Image.fromarray(pixels).save(folder / f"{position}_t{frame:03}.png")
    rows = [f"{name},{0 if place < 4 else 40}" for place, name in enumerate(POSITIONS)]
    (folder / "positions.csv").write_text("\n".join(["position,light_dose_s", *rows]) + "\n")
    return folder


def items(folder: Path, frames: int = 3) -> pd.DataFrame:
    settings = ConversionSettings(labels="none", pattern=PATTERN, crop_px=SIDE)
    return sequence_table(folder, settings, frames=frames)


def write_log(folder: Path, responses: list[dict[str, Any]]) -> None:
    pd.DataFrame(responses).to_csv(folder / "log.csv", index=False)


def answers(table: pd.DataFrame, *said: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Rows of a log: (annotator, item, response)."""
    known = table.set_index("item", drop=False).drop(columns="paths")
    return [
        known.loc[item].to_dict() | {"annotator": who, "response": what} for who, item, what in said
    ]


def one_item_each(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The upper left crop of every position, healthy in the first four, sick in the others."""
    return [
        ("anna", f"{name}_t000_y0_x0", "Healthy" if place < 4 else "Sick")
        for place, name in enumerate(POSITIONS)
    ]


def test_a_frame_of_the_deadnet_microscope_has_20_sequences_of_10_frames(tmp_path: Path) -> None:
    for frame in range(20):
        Image.fromarray(np.full((1024, 1344), frame, np.uint16)).save(
            tmp_path / f"P1_t{frame:03}.tif", compression="tiff_lzw"
        )
    settings = ConversionSettings(
        labels="none", pattern="{position}_t{time_index}.tif", crop_px=256
    )
    table = sequence_table(tmp_path, settings)
    assert table.groupby("first_frame").size().to_dict() == {0: 20, 10: 20}
    assert set(table["frames"]) == {10}
    places = list(zip(table["top_px"][:20], table["left_px"][:20], strict=True))
    assert places == [(top, left) for top in range(0, 1024, 256) for left in range(0, 1280, 256)]
    assert table["paths"][20] == ";".join(f"P1_t{frame:03}.tif" for frame in range(10, 20))
    assert table["item"].is_unique


def test_a_gap_begins_a_new_sequence_and_conditions_choose_frames(lapses: Path) -> None:
    (lapses / "P02_t001.png").unlink()
    settings = replace(
        SETTINGS, crop_px=SIDE, table="positions.csv"
    )  # the log of the settings is yet to be written
    table = sequence_table(lapses, settings, frames=2, where=["light_dose_s == 0"])
    starts = table.groupby("position")["first_frame"].unique()
    assert {name: list(found) for name, found in starts.items()} == {
        "P01": [0, 2],
        "P02": [2],
        "P03": [0, 2],
        "P04": [0, 2],
    }
    assert set(table["light_dose_s"]) == {0}


def test_all_frames_of_an_item_take_the_label_its_annotators_agree_on(lapses: Path) -> None:
    table = items(lapses)
    log = answers(
        table,
        *one_item_each(table),
        ("bert", "P01_t000_y0_x0", "healthy"),
        ("anna", "P01_t000_y8_x8", "healthy"),
        ("bert", "P01_t000_y8_x8", "sick"),
        ("anna", "P02_t000_y8_x8", "unsure"),
    )
    write_log(lapses, log)
    plan = make_plan(lapses, SETTINGS)
    examples = plan.examples
    assert len(examples) == 8 * 3
    assert (examples.groupby("item").size() == 3).all()
    first = examples[examples["item"] == "P01_t000_y0_x0"]
    assert sorted(first["time_index"]) == [0, 1, 2]
    assert set(first["annotators"]) == {2}
    assert set(first["label"]) == {"healthy"}
    assert set(zip(first["height_px"], first["width_px"], strict=True)) == {(SIDE, SIDE)}
    assert plan.split_info["by"] == ["position"]
    assert (
        "log.csv: 10 items by 2 annotators, 4 healthy and 4 sick kept; left out are 1 with an "
        "unsure answer and 1 with answers that differ"
    ) in plan.audit["notes"]


def test_a_lattice_in_time_may_begin_anywhere(lapses: Path) -> None:
    table = items(lapses)
    late = [
        row | {"first_frame": 2, "light_dose_s": 40}
        for row in answers(table, *one_item_each(table))
    ]
    write_log(lapses, late)
    examples = make_plan(lapses, SETTINGS).examples
    assert sorted(set(examples["time_index"])) == [2, 3, 4]
    assert set(examples["light_dose_s"]) == {40}


def test_rules_add_windows_that_nobody_annotated(lapses: Path) -> None:
    table = items(lapses)
    write_log(lapses, answers(table, *one_item_each(table), ("anna", "P01_t000_y8_x8", "unsure")))
    settings = replace(
        SETTINGS,
        table="positions.csv",
        label_rules=("healthy: light_dose_s == 0",),
        crop_px=SIDE,
        stride_px=4,
    )
    examples = make_plan(lapses, settings).examples
    beside = examples[examples["item"].isna()]
    assert set(beside["label"]) == {"healthy"}
    assert set(beside["position"]) == set(POSITIONS[:4])
    places = {
        key: set(zip(found["top_px"], found["left_px"], strict=True))
        for key, found in beside.groupby(["position", "time_index"])
    }
    lattice = {(top, left) for top in (0, 4, 8) for left in (0, 4, 8, 12, 16)}
    # Frames 3 and 4 hold no annotated window.
    assert places["P02", 3] == lattice
    assert places["P02", 0] == {(top, left) for top, left in lattice if top >= 8 or left >= 8}
    assert places["P01", 2] == {(0, 8), (0, 12), (0, 16), (4, 16), (8, 16), (8, 0)}


def test_new_images_are_cut_as_the_annotated_windows(lapses: Path, tmp_path: Path) -> None:
    table = items(lapses)
    write_log(lapses, answers(table, *one_item_each(table)))
    dataset = convert(lapses, tmp_path / "dataset", SETTINGS)
    settings = ConversionSettings.from_json(dataset.info["settings"]).for_prediction()
    new = make_plan(lapses, settings, classes=("healthy", "sick")).examples
    assert len(new) == 8 * FRAMES * 6
    assert new["label"].isna().all()


def test_later_items_are_added_and_the_dataset_stays_sound(lapses: Path, tmp_path: Path) -> None:
    table = items(lapses)
    log = answers(table, *one_item_each(table))
    write_log(lapses, log)
    dataset = convert(lapses, tmp_path / "dataset", SETTINGS)
    assert verify_dataset(dataset.folder).damaged == []
    write_log(lapses, [*log, *answers(table, ("anna", "P05_t000_y8_x16", "sick"))])
    plan = plan_addition(dataset, lapses, addition_settings(dataset, {}))
    assert plan.new_examples == 3
    assert set(plan.examples["item"][-3:]) == {"P05_t000_y8_x16"}


def test_a_later_item_is_added_to_a_frame_that_rules_have_cut(lapses: Path, tmp_path: Path) -> None:
    table = items(lapses)
    log = answers(table, *one_item_each(table))
    write_log(lapses, log)
    rules = ("healthy: light_dose_s == 0",)
    settings = replace(SETTINGS, table="positions.csv", label_rules=rules, crop_px=SIDE)
    dataset = convert(lapses, tmp_path / "dataset", settings)
    write_log(lapses, [*log, *answers(table, ("anna", "P01_t000_y8_x16", "healthy"))])
    plan = plan_addition(dataset, lapses, addition_settings(dataset, {}))
    assert plan.new_examples == 3
    assert set(plan.examples["item"][-3:]) == {"P01_t000_y8_x16"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": "P99"}, "log.csv, position P99: 1 items lie there, but no image does"),
        ({"frames": 9}, "frame 5, 6, 7, 8 of position P01 is missing"),
        ({"left_px": 17}, "left_px 17, height_px 8, width_px 8) leaves the frame"),
    ],
)
def test_items_that_do_not_fit_the_frames_are_named(
    lapses: Path, change: dict[str, Any], message: str
) -> None:
    table = items(lapses)
    log = answers(table, *one_item_each(table))
    log[0] |= change
    write_log(lapses, log)
    with pytest.raises(ImageError) as refused:
        make_plan(lapses, SETTINGS)
    assert message in str(refused.value)
    left = make_plan(lapses, replace(SETTINGS, on_bad_image="skip")).examples
    assert left["item"].nunique() == 7


def test_images_without_position_or_time_are_explained(lapses: Path) -> None:
    write_log(lapses, answers(items(lapses), ("anna", "P01_t000_y0_x0", "sick")))
    with pytest.raises(PlanError, match="no time_index, by which sequences are found"):
        discover(lapses, replace(SETTINGS, pattern="{position}_t{*}.png"))


def test_two_wells_with_one_name_of_a_position_are_refused(lapses: Path) -> None:
    with pytest.raises(PlanError, match="are both frame 0 of position P"):
        sequence_table(
            lapses,
            ConversionSettings(
                labels="none", pattern="{position}0{*}_t{time_index}.png", crop_px=8
            ),
        )


def test_a_log_that_is_not_there_is_named(lapses: Path) -> None:
    with pytest.raises(SourceError, match="no such annotation log; deadlib-convert sequences"):
        make_plan(lapses, SETTINGS)


def test_no_agreement_leaves_nothing(lapses: Path) -> None:
    write_log(lapses, answers(items(lapses), ("anna", "P01_t000_y0_x0", "unsure")))
    with pytest.raises(PlanError, match=r"1 with an unsure answer .* none is left"):
        make_plan(lapses, SETTINGS)


def test_a_rule_beside_annotations_keeps_to_their_classes(lapses: Path) -> None:
    table = items(lapses)
    write_log(lapses, answers(table, *one_item_each(table)))
    rules = ("living: light_dose_s == 0",)
    settings = replace(SETTINGS, table="positions.csv", label_rules=rules, crop_px=SIDE)
    with pytest.raises(PlanError, match="classes are healthy and sick"):
        discover(lapses, settings)

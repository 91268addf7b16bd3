"""Adding later: what is there keeps its row, split and bytes; what is new joins it without leak."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tfrecords_tools import (
    ConversionSettings,
    Dataset,
    DatasetError,
    LeakError,
    PlanError,
    convert,
    open_dataset,
    plan_addition,
    write_dataset,
)
from tfrecords_tools.append import addition_settings
from tfrecords_tools.records import decode_example
from tfrecords_tools.shards import write_whole
from tfrecords_tools.tfrecord import read_records
from tfrecords_tools.verify import verify_dataset

PATTERN = "{label}_{plate}_{well}_{n:d}.png"
SETTINGS = ConversionSettings(
    labels="pattern", pattern=PATTERN, split_by=("well",), examples_per_shard=6
)

Cell = tuple[str, str, str, int]
"""label, plate, well, and the number that its pixels come from."""


def write_cells(folder: Path, cells: Iterable[Cell], first: int = 0, side_px: int = 6) -> Path:
    folder.mkdir(exist_ok=True)
    for number, (label, plate, well, content) in enumerate(cells, start=first):
        pixels = np.random.default_rng(content).integers(0, 255, (side_px,) * 2, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{label}_{plate}_{well}_{number}.png")
    return folder


def plate(name: str, wells: int = 8, first_content: int = 0) -> list[Cell]:
    return [
        (("dead", "living")[well % 2], name, f"B{well:02}", first_content + 2 * well + field)
        for well in range(wells)
        for field in range(2)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return convert(write_cells(tmp_path / "source", plate("p1")), tmp_path / "out", SETTINGS)


def add(dataset: Dataset, source: Path) -> Dataset:
    return write_dataset(plan_addition(dataset, source), dataset.folder)


def assert_is_continued(before: pd.DataFrame, after: pd.DataFrame) -> None:
    there = after.iloc[: len(before)]
    for name in before:
        pd.testing.assert_series_equal(before[name], there[name], check_dtype=False)


def test_a_further_plate_leaves_what_is_there_untouched(dataset: Dataset, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in dataset.folder.glob("*.tfrecord-*")}
    times = {path: path.stat().st_mtime_ns for path in before}
    manifest = dataset.manifest
    write_cells(tmp_path / "source", plate("p2", first_content=100), first=100)
    added = add(dataset, tmp_path / "source")
    assert len(added.manifest) == 32
    assert_is_continued(manifest, added.manifest)
    assert {path: path.stat().st_mtime_ns for path in before} == times
    assert all(path.read_bytes() == data for path, data in before.items())
    assert added.fingerprint != dataset.fingerprint
    assert verify_dataset(added.folder).damaged == []
    assert not (added.folder / ".progress").exists()


def test_the_records_of_a_split_are_its_rows_in_order(dataset: Dataset, tmp_path: Path) -> None:
    write_cells(tmp_path / "source", plate("p2", first_content=100), first=100)
    added = add(dataset, tmp_path / "source")
    for name in added.splits:
        rows = [
            decode_example(data)[1]["row"]
            for path in added.shard_paths(name)
            for data in read_records(path)
        ]
        assert rows == list(added.manifest.index[added.manifest["split"] == name])
    assert added.splits == ["train", "validation", "test"]


def test_new_images_of_a_known_well_join_its_split(dataset: Dataset, tmp_path: Path) -> None:
    wells = dataset.manifest.groupby("well")["split"].first()
    next_day = [
        (("dead", "living")[int(well[1:]) % 2], "p1", well, 500 + number)
        for number, well in enumerate(wells.index)
    ]
    added = add(dataset, write_cells(tmp_path / "day2", next_day, first=50))
    new = added.manifest.iloc[16:]
    assert len(new) == 8
    assert dict(zip(new["well"], new["split"], strict=True)) == dict(wells)
    assert [Path(part["folder"]).name for part in added.sources] == ["source", "day2"]
    assert [part["examples"] for part in added.sources] == [16, 8]


def test_shards_count_on_where_they_ended(dataset: Dataset, tmp_path: Path) -> None:
    for number in (2, 3):
        cells = plate(f"p{number}", first_content=100 * number)
        dataset = add(dataset, write_cells(tmp_path / "source", cells, first=100 * number))
    train = [path.name for path in dataset.shard_paths("train")]
    assert train == [f"source-train.tfrecord-{place:05}" for place in range(len(train))]
    assert len(train) > 3
    assert len(dataset.manifest) == 48


def test_the_shares_of_the_whole_come_near_what_was_asked(tmp_path: Path) -> None:
    source = write_cells(tmp_path / "source", plate("p1", wells=8))
    dataset = convert(source, tmp_path / "out", SETTINGS)
    write_cells(source, plate("p2", wells=60, first_content=100), first=100)
    plan = plan_addition(dataset, source)
    shares = plan.examples["split"].value_counts(normalize=True)
    assert abs(shares["train"] - 0.7) < 0.03
    assert abs(shares["test"] - 0.15) < 0.03
    for label in ("dead", "living"):
        of_class = plan.examples[plan.examples["label"] == label]["split"]
        assert abs((of_class == "train").mean() - 0.7) < 0.06


def test_a_split_that_has_its_share_gets_no_more(dataset: Dataset, tmp_path: Path) -> None:
    wells = dataset.manifest.groupby("split")["group"].nunique()
    assert dict(wells) == {"train": 4, "validation": 2, "test": 2}
    source = write_cells(tmp_path / "day2", plate("p2", first_content=100), first=100)
    assert set(plan_addition(dataset, source).examples["split"].iloc[16:]) == {"train"}


def test_new_images_of_a_well_that_was_joined_with_others_join_them(tmp_path: Path) -> None:
    copied = [("dead", "p1", "B02", 0), ("dead", "p1", "B04", 0)]
    source = write_cells(tmp_path / "source", [*plate("p1"), *copied])
    dataset = convert(source, tmp_path / "out", SETTINGS)
    there = dataset.manifest[dataset.manifest["well"] == "B04"]
    assert set(there["group"]) == {"p1/B00 + p1/B02 + p1/B04"}
    cells = [("dead", "p1", "B04", 100), ("living", "p1", "B01", 101)]
    plan = plan_addition(dataset, write_cells(source, cells, first=100))
    (new,) = plan.examples.iloc[18:].query("well == 'B04'").to_dict("records")
    assert (new["group"], new["split"]) == (there["group"].iloc[0], there["split"].iloc[0])


def test_copies_of_known_images_are_left_out_and_told(dataset: Dataset, tmp_path: Path) -> None:
    cells = [*plate("p2", first_content=100), ("dead", "p2", "C01", 0)]
    plan = plan_addition(dataset, write_cells(tmp_path / "day2", cells, first=100))
    assert plan.new_examples == 16
    (told,) = plan.skipped
    assert told["path"] == "dead_p2_C01_116.png"
    assert "dead_p1_B00_0.png, which is there already" in told["reason"]


def test_a_group_with_a_copy_follows_the_known_image(dataset: Dataset, tmp_path: Path) -> None:
    held = dataset.manifest[dataset.manifest["split"] == "test"].iloc[0]
    content = int(held["source_id"].removesuffix(".png").rsplit("_", 1)[1])
    cells = [("dead", "p2", "C01", content), ("dead", "p2", "C01", 900)]
    plan = plan_addition(dataset, write_cells(tmp_path / "day2", cells, first=100))
    new = plan.examples.iloc[16:]
    assert list(new["split"]) == ["test"]
    assert list(new["group"]) == [held["group"]]


def test_a_group_between_two_splits_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    first = dataset.manifest.groupby("split")["source_id"].first()
    contents = [int(first[name].removesuffix(".png").rsplit("_", 1)[1]) for name in first.index]
    cells = [("dead", "p2", "C01", content) for content in contents]
    with pytest.raises(
        LeakError, match=r"p2/C01 holds images identical or similar to .*leave them"
    ):
        plan_addition(dataset, write_cells(tmp_path / "day2", cells, first=100))


def test_blank_images_are_no_copies_of_each_other(tmp_path: Path) -> None:
    source = write_cells(tmp_path / "source", plate("p1"))
    blank = Image.fromarray(np.zeros((6, 6), np.uint8))
    blank.save(source / "dead_p1_B00_90.png")
    dataset = convert(source, tmp_path / "out", SETTINGS)
    blank.save(source / "dead_p1_B02_91.png")
    blank.save(source / "dead_p2_B04_92.png")
    plan = plan_addition(dataset, source)
    assert plan.new_examples == 2
    assert plan.audit["blank"] == [
        f"dead_p{p}_B0{w}_9{n}.png" for p, w, n in ((1, 0, 0), (1, 2, 1), (2, 4, 2))
    ]


def test_a_new_class_comes_last_and_is_told(dataset: Dataset, tmp_path: Path) -> None:
    cells = [("blebbing", "p2", f"C{n:02}", 100 + n) for n in range(8)]
    plan = plan_addition(dataset, write_cells(tmp_path / "day2", cells, first=100))
    assert plan.classes == ("dead", "living", "blebbing")
    assert any("class blebbing is new: it is class 2" in text for text in plan.audit["warnings"])
    added = write_dataset(plan, dataset.folder)
    last = list(read_records(added.shard_paths("train")[-1]))[-1]
    assert decode_example(last)[1]["class_index"] == 2


def test_held_out_plates_stay_the_only_ones_in_their_split(tmp_path: Path) -> None:
    cells = [*plate("p1"), *plate("p2", first_content=50)]
    source = write_cells(tmp_path / "source", cells)
    asked = replace(SETTINGS, hold_out=("plate=p2",))
    dataset = convert(source, tmp_path / "out", asked)
    cells = [*plate("p2", wells=12, first_content=200), *plate("p3", first_content=100)]
    plan = plan_addition(dataset, write_cells(source, cells, first=100))
    new = plan.examples.iloc[32:]
    assert set(new["split"][new["plate"] == "p2"]) == {"test"}
    assert "test" not in set(new["split"][new["plate"] == "p3"])


def test_nothing_new_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.folder.iterdir()}
    plan = plan_addition(dataset, tmp_path / "source")
    assert plan.new_examples == 0
    assert "16 images are in the dataset already" in plan.audit["notes"]
    write_dataset(plan, dataset.folder)
    assert {path: path.stat().st_mtime_ns for path in dataset.folder.iterdir()} == before


def test_a_moved_source_holds_nothing_new(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "source").rename(tmp_path / "moved")
    assert plan_addition(dataset, tmp_path / "moved").new_examples == 0


def test_the_images_of_another_day_may_have_the_same_names(
    dataset: Dataset, tmp_path: Path
) -> None:
    source = write_cells(tmp_path / "day2", plate("p1", first_content=100))
    added = add(dataset, source)
    new = added.manifest.iloc[16:]
    assert new["source_id"].iloc[0] == f"day2/{new['source_paths'].iloc[0][0]}"
    assert (new["example_id"] == new["source_id"]).all()
    wells = dict(zip(dataset.manifest["well"], dataset.manifest["split"], strict=True))
    assert [wells[well] for well in new["well"]] == list(new["split"])
    found = verify_dataset(added.folder)
    assert (found.damaged, found.compared) == ([], 32)
    write_cells(source, [("dead", "p1", "B00", 900)], first=16)
    plan = plan_addition(added, source)
    assert list(plan.examples["source_id"].iloc[32:]) == ["day2/dead_p1_B00_16.png"]


def test_another_image_of_a_known_name_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    changed = [(*cell[:3], 500) if number == 3 else cell for number, cell in enumerate(plate("p1"))]
    with pytest.raises(PlanError, match=r"1 image has the name of another one .*other pixels: liv"):
        plan_addition(dataset, write_cells(tmp_path / "copy", changed))


def test_a_column_that_changes_its_kind_is_refused(tmp_path: Path) -> None:
    settings = replace(SETTINGS, pattern="{label}_{dose}_{well}_{n:d}.png")
    source = write_cells(tmp_path / "source", plate("7"))
    dataset = convert(source, tmp_path / "out", settings)
    other = write_cells(tmp_path / "other", plate("high", first_content=100), first=100)
    with pytest.raises(PlanError, match=r"column dose: numbers \(such as 7\) in the dataset, text"):
        plan_addition(dataset, other)


def test_options_that_contradict_the_dataset_are_refused_by_name(dataset: Dataset) -> None:
    with pytest.raises(PlanError, match=r"--crop-px 4: .* was made with none"):
        addition_settings(dataset, {"crop_px": 4})
    chosen = addition_settings(dataset, {"seed": 0, "name": "source", "allow_mixed": True})
    assert chosen == replace(SETTINGS, allow_mixed=True)


def test_an_image_of_another_size_is_odd_among_those_that_are_there(
    dataset: Dataset, tmp_path: Path
) -> None:
    cells = [("dead", "p2", "C01", 300)]
    source = write_cells(tmp_path / "day2", cells, first=100, side_px=9)
    with pytest.raises(Exception, match=r"9 x 9 px .*expected 6 x 6 px"):
        plan_addition(dataset, source)


def test_images_that_cannot_be_used_are_named_and_not_taken_for_known(
    dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "source" / "dead_p1_B02_99.png").write_bytes(b"cut")
    chosen = addition_settings(dataset, {"on_bad_image": "skip"})
    plan = plan_addition(dataset, tmp_path / "source", chosen)
    assert plan.new_examples == 0
    assert [item["path"] for item in plan.skipped] == ["dead_p1_B02_99.png"]
    assert "16 images are in the dataset already" in plan.audit["notes"]


def test_an_addition_that_is_given_up_makes_way_for_another(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    first = write_cells(tmp_path / "day2", plate("p2", first_content=100), first=100)
    with monkeypatch.context() as patch:
        patch.setattr("tfrecords_tools.write._tidy", interrupt)
        patch.setattr("tfrecords_tools.write.fingerprint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            add(dataset, first)
    assert open_dataset(dataset.folder).fingerprint == dataset.fingerprint
    second = write_cells(tmp_path / "day3", plate("p3", first_content=200), first=200)
    added = add(open_dataset(dataset.folder), second)
    assert set(added.manifest["plate"]) == {"p1", "p3"}
    listed = {shard["file"] for shard in added.info["shards"]}
    assert {path.name for path in added.folder.glob("*.tfrecord-*")} == listed


def test_an_interrupted_addition_leaves_nothing_damaged(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_cells(tmp_path / "day2", plate("p2", first_content=100), first=100)

    def all_but_the_last(path: Path, data: bytes, scratch: Path) -> None:
        if path == dataset.folder / "deadlib.json":
            raise KeyboardInterrupt
        write_whole(path, data, scratch)

    with monkeypatch.context() as patch:
        patch.setattr("tfrecords_tools.write.write_whole", all_but_the_last)
        with pytest.raises(KeyboardInterrupt):
            add(dataset, source)
    found = verify_dataset(dataset.folder)
    assert (found.damaged, found.compared) == ([], 16)
    assert any("an addition or an end was interrupted" in note for note in found.notes)


def test_a_dataset_that_changed_since_planning_is_not_added_to(
    dataset: Dataset, tmp_path: Path
) -> None:
    plans = [
        plan_addition(dataset, write_cells(tmp_path / name, plate(name, 8, content), content))
        for name, content in (("p2", 100), ("p3", 200))
    ]
    write_dataset(plans[0], dataset.folder)
    with pytest.raises(DatasetError, match="has changed since the addition was planned"):
        write_dataset(plans[1], dataset.folder)


def test_new_boxes_of_a_known_image_are_new(tmp_path: Path) -> None:
    source = write_cells(tmp_path / "source", plate("p1"))
    names = sorted(path.name for path in source.glob("*.png"))
    table = source / "cells.csv"
    header = "path,label,xmin,ymin,xmax,ymax\n"
    boxes = [f"{name},{name.split('_')[0]},0,0,3,3\n" for name in names]
    table.write_text(header + "".join(boxes))
    asked = ConversionSettings(labels="boxes", table="cells.csv")
    dataset = convert(source, tmp_path / "out", asked)
    table.write_text(header + "".join(boxes) + f"{names[0]},dead,2,2,5,5\n")
    plan = plan_addition(dataset, source)
    (new,) = plan.examples.iloc[16:].to_dict("records")
    assert new["example_id"] == f"{names[0]}_box2"
    there = plan.examples.iloc[:16]
    assert [new["split"]] == list(there["split"][there["source_id"] == names[0]])


cells = st.lists(
    st.tuples(
        st.sampled_from(["dead", "living"]),
        st.sampled_from(["p1", "p2", "p3"]),
        st.sampled_from(["B00", "B03", "B07", "C01", "C02"]),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12)
@given(additions=st.lists(cells, min_size=1, max_size=2))
def test_whatever_is_added_known_groups_stay_and_nothing_leaks(
    additions: list[list[Cell]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = write_cells(Path(folder) / "source", plate("p1"))
        dataset = convert(source, Path(folder) / "out", SETTINGS)
        for number, new in enumerate(additions, start=1):
            before = dataset.manifest
            write_cells(source, new, first=100 * number)
            try:
                plan = plan_addition(dataset, source)
            except LeakError:
                assume(False)
            dataset = write_dataset(plan, dataset.folder)
            after = dataset.manifest
            assert_is_continued(before, after)
            for unit in (["plate", "well"], ["group"], ["image_sha256"]):
                assert after.groupby(unit)["split"].nunique().max() == 1
            left_out = {item["path"] for item in plan.skipped}
            images = {path.name for path in source.glob("*.png")}
            assert set(after["source_id"]) | left_out == images
            assert after["example_id"].is_unique
        assert verify_dataset(dataset.folder).damaged == []


def write_doses(folder: Path, doses: list[str], first: int) -> Path:
    cells = plate(f"p{first}", first_content=first)
    write_cells(folder, cells, first)
    lines = [
        f"{label}_{name}_{well}_{number}.png,{label},{name},{well},{doses[number % len(doses)]}\n"
        for number, (label, name, well, _) in enumerate(cells, start=first)
    ]
    (folder / "doses.csv").write_text("path,label,plate,well,dose\n" + "".join(lines))
    return folder


def test_whole_numbers_may_be_followed_by_fractions(tmp_path: Path) -> None:
    chosen = ConversionSettings(labels="table", table="doses.csv", examples_per_shard=6)
    dataset = convert(write_doses(tmp_path / "day1", ["1", "10"], 0), tmp_path / "out", chosen)
    before = {path: path.read_bytes() for path in dataset.folder.glob("*.tfrecord-*")}
    for day, doses in ((2, ["0.5", "1"]), (3, ["5"])):
        folder = write_doses(tmp_path / f"day{day}", doses, 100 * day)
        dataset = write_dataset(plan_addition(dataset, folder), dataset.folder)
    assert set(dataset.manifest["dose"]) == {0.5, 1.0, 5.0, 10.0}
    assert [part.get("whole") for part in dataset.sources] == [["dose"], None, None]
    # Records of one column then differ in type, which TensorFlow Datasets cannot read.
    assert "dose" not in (dataset.folder / "features.json").read_text()
    after = {path: path.read_bytes() for path in dataset.folder.glob("*.tfrecord-*")}
    assert after.items() > before.items()
    assert verify_dataset(dataset.folder).damaged == []
    for path in after:
        path.unlink()
    assert verify_dataset(dataset.folder, repair=True).damaged == []
    assert {path: path.read_bytes() for path in after} == after

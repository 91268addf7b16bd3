"""Reading back: every kind of damage is named, and repaired only to the promised bytes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from real_conversions import write_images

from tfrecords_tools import ConversionSettings, convert
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.errors import DatasetError
from tfrecords_tools.manifest import parquet_bytes
from tfrecords_tools.records import decode_example, encode_example
from tfrecords_tools.shards import ShardFacts, file_hash
from tfrecords_tools.tfds import tfds_documents
from tfrecords_tools.tfrecord import read_records, write_records
from tfrecords_tools.verify import verify_dataset
from tfrecords_tools.write import fingerprint, json_bytes, write_dataset


@pytest.fixture
def dataset(make_small_plan, tmp_path) -> Dataset:
    return write_dataset(make_small_plan(shard_size=3), tmp_path / "out")


@pytest.mark.parametrize("encoding", ["png", "jpeg:60"])
def test_pixels_are_compared_as_the_encoding_keeps_them(two_kinds, encoding, tmp_path):
    settings = ConversionSettings(encoding=encoding)
    dataset = convert(two_kinds, tmp_path / "encoded", settings)
    found = verify_dataset(dataset.folder)
    assert (found.damaged, found.compared) == ([], 12)


@pytest.fixture
def two_kinds(tmp_path) -> Path:
    return write_images(tmp_path / "images", 12, side_px=16)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def promise(dataset: Dataset) -> None:
    """deadlib.json with the checksums of what is there now, as if it had been written so."""
    info = json.loads((dataset.folder / "deadlib.json").read_text())
    for shard in info["shards"]:
        path = dataset.folder / shard["file"]
        shard |= {"bytes": path.stat().st_size, "sha256": file_hash(path)}
    info["fingerprint"] = fingerprint(info, [shard["sha256"] for shard in info["shards"]])
    (dataset.folder / "deadlib.json").write_bytes(json_bytes(info))
    shards = [ShardFacts(**shard) for shard in info["shards"]]
    names = info["name"], info["classes"], info["encoding"]
    rows = pq.read_table(dataset.manifest_path)
    for name, data in tfds_documents(*names, 1, list(info["dtypes"]), rows, shards).items():
        (dataset.folder / name).write_bytes(data)


def rewrite(dataset: Dataset, change: Callable[[dict, np.ndarray], tuple[dict, np.ndarray]]) -> str:
    """Change the second record of the first shard and make all checksums agree with it."""
    path = dataset.shard_paths("train")[0]
    records = list(read_records(path))
    image, found = decode_example(records[1])
    columns = {"example_id": found["example_id"], **found["metadata"]}
    columns |= {"row_number": found["row"], "class_index": found["class_index"]}
    columns, image = change(columns, image)
    row, class_index = columns.pop("row_number"), columns.pop("class_index")
    data = encode_example(columns, image, "raw", row=row, class_index=class_index)
    records[1] = b"".join(data)
    write_records(path, [[data] for data in records])
    promise(dataset)
    return path.name


def the_only_damage(dataset: Dataset, **more: object) -> str:
    (damage,) = verify_dataset(dataset.folder, **more).damaged
    return str(damage)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_is_sound_in_every_pixel(dataset, workers):
    stages = []
    found = verify_dataset(
        dataset.folder, workers=workers, progress=lambda *stage: stages.append(stage)
    )
    assert (found.damaged, found.notes, found.repaired) == ([], [], [])
    assert (found.examples, found.compared) == (12, 12)
    assert stages[-1] == ("verifying", 6, 6)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda shard: flip(shard, 40), "damaged or edited: .*record 0 is damaged: its bytes"),
        (lambda shard: flip(shard, 3), "damaged or edited: .*record 0 is damaged: its length"),
        (lambda shard: flip(shard, -30), "damaged or edited: .*record 2 is damaged"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-7]), "cut or edited: .*ends after"),
        (lambda shard: shard.write_bytes(b""), "cut or edited: 0 bytes.*0 records, expected 3"),
        (lambda shard: shard.unlink(), r"missing, deadlib.json lists it"),
    ],
)
def test_a_damaged_shard_is_named_and_repaired_to_its_bytes(dataset, damage, said):
    shard = dataset.shard_paths("train")[0]
    whole = shard.read_bytes()
    others = {path: path.stat().st_mtime_ns for path in dataset.folder.iterdir() if path != shard}
    damage(shard)
    (found,) = verify_dataset(dataset.folder).damaged
    assert found.file == shard.name
    assert re.search(said, found.fault), found.fault
    repaired = verify_dataset(dataset.folder, repair=True)
    assert repaired.repaired == [shard.name]
    assert repaired.damaged == []
    assert shard.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert sorted(dataset.folder.iterdir()) == sorted([shard, *others])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row, image: (row | {"row_number": 9}, image), "row 9, manifest.parquet says 1"),
        (lambda row, image: (row | {"example_id": "x"}, image), "example_id x, manifest.parquet"),
        (lambda row, image: (row | {"class_index": 0}, image), "class_index 0, manifest.parquet"),
        (lambda row, image: (row | {"well": "H12"}, image), "well H12, manifest.parquet says B0"),
        (lambda row, image: (row | {"dose": 3}, image), "dose 3, manifest.parquet says absent"),
        (lambda row, image: (row | {"top_px": 1}, image), "top_px 1, manifest.parquet says 0"),
        (lambda row, image: (row, image[:-1]), r"size \(11, 12, 1\), manifest.parquet says \(12"),
        (lambda row, image: (row, image + 1), "its pixels are not those of image0.png"),
    ],
)
def test_a_record_that_is_not_its_row_or_image_is_named_though_checksums_agree(
    dataset, change, said
):
    file = rewrite(dataset, change)
    text = the_only_damage(dataset)
    assert text.startswith(f"{file}: record 1 (image0_01_02): ")
    assert re.search(said, text), text


def test_an_edited_deadlib_json_is_named(dataset):
    path = dataset.folder / "deadlib.json"
    info = json.loads(path.read_text())
    path.write_bytes(json_bytes(info | {"split": info["split"] | {"seed": 7}}))
    assert the_only_damage(dataset).startswith("deadlib.json: edited: the plan in it")
    path.write_bytes(json_bytes(info | {"fingerprint": "0" * 64}))
    assert the_only_damage(dataset).startswith("deadlib.json: edited: its checksums")


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-40], lambda text: text.replace('"shards"', '"shreds"')]
)
def test_a_damaged_deadlib_json_is_said_clearly(dataset, damage):
    path = dataset.folder / "deadlib.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(DatasetError, match=r"deadlib.json: damaged"):
        verify_dataset(dataset.folder)


def test_a_damaged_manifest_is_named_and_shards_are_still_checked(dataset):
    flip(dataset.folder / "manifest.parquet", 30)
    shard = dataset.shard_paths("test")[0]
    flip(shard, 60)
    found = verify_dataset(dataset.folder, repair=True)
    assert [item.file for item in found.damaged] == ["manifest.parquet", shard.name]
    assert "Not repaired: manifest.parquet is damaged" in found.damaged[1].fault
    assert found.repaired == []
    assert "records were not compared with manifest.parquet" in found.notes[0]


def test_a_shard_that_no_list_names_is_damage_and_other_files_are_told(dataset):
    stray = dataset.folder / "small-train.tfrecord-00007"
    stray.write_bytes(b"")
    (dataset.folder / "notes.txt").write_text("mine")
    found = verify_dataset(dataset.folder)
    assert [item.file for item in found.damaged] == [stray.name]
    assert found.notes == ["notes.txt: not part of the dataset"]


def test_documents_that_follow_from_others_are_compared_and_written_again(dataset):
    (dataset.folder / "features.json").unlink()
    whole = (dataset.folder / "dataset_info.json").read_bytes()
    flip(dataset.folder / "dataset_info.json", 20)
    found = verify_dataset(dataset.folder)
    assert {item.file for item in found.damaged} == {"features.json", "dataset_info.json"}
    found = verify_dataset(dataset.folder, repair=True)
    assert (found.damaged, len(found.repaired)) == ([], 2)
    assert (dataset.folder / "dataset_info.json").read_bytes() == whole
    assert verify_dataset(dataset.folder).damaged == []


def test_a_damaged_table_of_intensities_is_named(dataset):
    flip(dataset.folder / "intensity.parquet", 40)
    assert the_only_damage(dataset).startswith("intensity.parquet: damaged or edited")


def test_a_moved_source_is_found_where_it_is_said_to_be(dataset, tmp_path):
    shutil.move(tmp_path / "source0", tmp_path / "elsewhere")
    shard = dataset.shard_paths("train")[0]
    whole = shard.read_bytes()
    flip(shard, 50)
    lost = verify_dataset(dataset.folder, repair=True)
    assert lost.compared == 0
    assert "say where they lie now with --source" in lost.notes[0]
    assert "Not repaired: its source images were not found" in lost.damaged[0].fault
    found = verify_dataset(dataset.folder, sources=[tmp_path / "elsewhere"], repair=True)
    assert (found.damaged, found.repaired) == ([], [shard.name])
    assert shard.read_bytes() == whole


def test_a_folder_that_holds_no_image_of_the_dataset_is_told(dataset, tmp_path):
    (tmp_path / "mistaken").mkdir()
    found = verify_dataset(dataset.folder, sources=[tmp_path / "mistaken"])
    assert not found.damaged
    assert found.compared == len(dataset.manifest)
    assert f"none of {tmp_path / 'mistaken'} holds the images" in found.notes[0]


def test_a_changed_source_image_is_named_and_the_shard_left_alone(dataset, tmp_path):
    image = tmp_path / "source0" / "image0.png"
    with Image.open(image) as picture:
        Image.fromarray(np.asarray(picture) + 1).save(image)
    sound = verify_dataset(dataset.folder)
    assert sound.damaged == []
    assert f"{image} has changed since it was converted" in sound.notes[0]
    assert sound.compared == 10
    shard = dataset.shard_paths("train")[0]
    flip(shard, 50)
    before = shard.read_bytes()
    found = verify_dataset(dataset.folder, repair=True)
    assert f"Not repaired: {image}: the pixels have changed" in found.damaged[0].fault
    assert shard.read_bytes() == before


def test_bytes_that_were_not_promised_do_not_take_the_place_of_a_shard(dataset):
    rewrite(dataset, lambda row, image: (row, image + 1))
    shard = dataset.shard_paths("train")[0]
    before = shard.read_bytes()
    found = verify_dataset(dataset.folder, repair=True)
    assert "not what deadlib.json promises" in found.damaged[0].fault
    assert shard.read_bytes() == before


def test_a_manifest_of_other_rows_is_no_manifest(dataset):
    path = dataset.folder / "manifest.parquet"
    path.write_bytes(parquet_bytes(pq.read_table(path).slice(0, 5)))
    assert the_only_damage(dataset).startswith("manifest.parquet: cut or edited")

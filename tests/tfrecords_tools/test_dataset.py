"""Opening a dataset: whole, or refused with the file that is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tfrecords_tools.dataset import open_dataset
from tfrecords_tools.errors import DatasetError
from tfrecords_tools.intensity import read_intensity
from tfrecords_tools.records import parse
from tfrecords_tools.write import write_dataset


@pytest.fixture
def dataset(make_small_plan, tmp_path):
    return write_dataset(make_small_plan(shard_size=3), tmp_path / "out")


def test_an_opened_dataset_is_the_written_one(dataset):
    opened = open_dataset(dataset.folder)
    assert opened.info == dataset.info
    assert opened.classes == ["dead", "living"]
    assert opened.channels == ["phase"]
    assert opened.splits == ["train", "validation", "test"]
    opened.verify_checksums()


def test_shards_in_order_hold_the_rows_of_the_split_in_order(dataset):
    manifest = dataset.manifest
    for split in dataset.splits:
        records = tf.data.TFRecordDataset([str(path) for path in dataset.shard_paths(split)])
        found = [
            (int(record["row"]), record["example_id"].numpy().decode())
            for record in records.map(parse)
        ]
        expected = manifest[manifest["split"] == split]["example_id"]
        assert found == list(expected.items())


def test_a_split_that_is_not_there_is_named(dataset):
    with pytest.raises(DatasetError, match="no split 'valid'; it has train, validation, test"):
        dataset.shard_paths("valid")


def test_an_edited_shard_is_named_by_its_checksum(dataset):
    shard = dataset.shard_paths("train")[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    opened = open_dataset(dataset.folder)  # its size is right
    with pytest.raises(DatasetError, match=rf"{shard.name}: damaged or edited"):
        opened.verify_checksums()


def test_an_edited_manifest_is_noticed(dataset):
    path = dataset.folder / "manifest.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"manifest.parquet: damaged or edited"):
        open_dataset(dataset.folder).verify_checksums()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: shutil.rmtree(out), r"no dataset directory \(no deadlib.json\)"),
        (lambda out: (out / "deadlib.json").unlink(), "no dataset directory"),
        (lambda out: _cut(out / "deadlib.json"), "deadlib.json: damaged"),
        (lambda out: (out / "manifest.parquet").unlink(), r"manifest.parquet: missing"),
        (lambda out: _cut(out / "manifest.parquet"), r"manifest.parquet: cut or edited"),
        (
            lambda out: next(out.glob("*-test.tfrecord-00001")).unlink(),
            r"small-test.tfrecord-00001: missing",
        ),
        (
            lambda out: _cut(next(out.glob("*-test.tfrecord-00001"))),
            r"small-test.tfrecord-00001: cut or edited: \d+ bytes",
        ),
    ],
)
def test_what_is_not_whole_is_refused_by_name(dataset, damage, said):
    damage(dataset.folder)
    with pytest.raises(DatasetError, match=said):
        open_dataset(dataset.folder)


@pytest.mark.parametrize("name", ["manifest.parquet", "intensity.parquet"])
def test_a_damaged_table_is_named(dataset, name):
    path = dataset.folder / name
    data = bytearray(path.read_bytes())
    data[4:-200] = bytes(len(data) - 204)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read"):
        read_intensity(open_dataset(dataset.folder))


def test_a_dataset_of_another_schema_is_refused(dataset):
    path = dataset.folder / "deadlib.json"
    path.write_text(json.dumps(dataset.info | {"schema_version": 99}))
    with pytest.raises(DatasetError, match="schema version 99, this deadlib reads 1"):
        open_dataset(dataset.folder)


def test_a_moved_dataset_stays_whole(dataset, tmp_path):
    moved = tmp_path / "elsewhere" / "data"
    shutil.copytree(dataset.folder, moved)
    opened = open_dataset(moved)
    opened.verify_checksums()
    assert opened.read_example(3).shape == (12, 12, 1)
